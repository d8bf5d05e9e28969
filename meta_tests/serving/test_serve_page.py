"""The page at `/`: by its HTTP anywhere, and in a real browser where there is one."""

from __future__ import annotations

import os
import re
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from meta_tests.miniatures.running_server import file_of, photograph, running
from modelparity.serving.http.limits import Limits

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def server():
    with running(limits=Limits(rate=0)) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/docs", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/docs.js", "text/javascript"),
    ],
)
def test_the_page_comes_whole_and_bound_to_this_server(server, path, kind):
    status, headers, body = server.ask("GET", path)
    assert status == 200
    assert headers["Content-Type"].startswith(kind)
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    text = body.decode()
    assert not re.search(r"(src|href)=\"(https?:)?//|@import|url\(", text), "something comes from elsewhere"
    for name in re.findall(r'(?:src|href)="(/[^"]+)"', text):
        assert server.ask("GET", name)[0] == 200, name


def test_every_element_that_the_script_asks_for_is_there(server):
    page, script = (server.ask("GET", path)[2].decode() for path in ("/", "/page.js"))
    asked = set(re.findall(r'at\("(\w+)"\)', script))
    assert len(asked) > 10
    assert asked <= set(re.findall(r'id="(\w+)"', page))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (BROWSER and DRIVER):
        pytest.skip("chromium and chromedriver are not installed")
    if not find_spec("selenium"):
        pytest.skip("selenium is not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    flags = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
    quiet = ("disable-background-networking", "disable-component-update", "disable-dev-shm-usage")
    for flag in (
        *flags,
        *quiet,
        f"user-data-dir={tmp_path_factory.mktemp('browser')}",
        "window-size=1180,1000",
    ):
        options.add_argument(f"--{flag}")
    os.environ.setdefault("NO_PROXY", "127.0.0.1,localhost")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.implicitly_wait(5)
    yield driver
    driver.quit()


def find(browser, name: str):
    return browser.find_element("id", name)


def until(condition, words: str):
    import time

    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, words
        time.sleep(0.05)


def overlay_of(browser) -> np.ndarray:
    """What the canvas shows, RGB [H, W, 3]."""
    script = """
    const c = document.getElementById("canvas");
    return [c.width, c.height, Array.from(c.getContext("2d").getImageData(0, 0, c.width, c.height).data)];
    """
    width, height, data = browser.execute_script(script)
    return np.uint8(data).reshape(height, width, 4)[..., :3]


def slide(browser, percent: int) -> None:
    script = """
    const slider = document.getElementById("opacity");
    slider.value = arguments[0];
    slider.dispatchEvent(new Event("input"));
    """
    browser.execute_script(script, percent)


def test_a_person_drops_an_image_and_sees_the_overlay(server, browser, tmp_path):
    """Half of the photograph is red; the miniature's mask is its red channel."""
    pixels = np.full((200, 300, 3), (20, 120, 160), np.uint8)
    pixels[:, 150:] = (255, 120, 160)
    path = tmp_path / "half.png"
    path.write_bytes(file_of(pixels))
    browser.get(f"http://127.0.0.1:{server.port}/")
    until(lambda: find(browser, "state").text == "ready", "the page does not say that the server is ready")
    assert "Miniature" in find(browser, "title").text
    find(browser, "file").send_keys(str(path))
    until(lambda: find(browser, "label").text, "no answer is shown")
    assert find(browser, "label").text in ("tampered", "authentic")
    assert "tampered area" in find(browser, "facts").text
    assert "50.0 %" in find(browser, "facts").text
    assert "300 × 200" in find(browser, "facts").text
    assert "inference" in find(browser, "timings").text
    slide(browser, 0)
    bare = overlay_of(browser)
    assert np.abs(bare.astype(int) - pixels).max() <= 2
    slide(browser, 100)
    marked = overlay_of(browser)
    # At probability 1 the overlay covers: (220, 0, 40). At 20/255 it hardly tints.
    assert np.abs(marked[:, 160:].astype(int) - (220, 0, 40)).max() <= 3
    assert np.abs(marked[:, :140].astype(int) - bare[:, :140]).max() < 40
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    if folder := os.environ.get("MODELPARITY_SCREENSHOTS"):
        browser.save_screenshot(f"{folder}/page.png")


def test_an_image_can_be_dropped(server, browser):
    """The drop itself: an event with a file, as a browser makes one."""
    browser.get(f"http://127.0.0.1:{server.port}/")
    data = list(file_of(photograph(30, 40), "JPEG"))
    browser.execute_script(
        """
        const moved = new DataTransfer();
        moved.items.add(new File([new Uint8Array(arguments[0])], "dropped.jpg", {type: "image/jpeg"}));
        document.getElementById("drop").dispatchEvent(
          new DragEvent("drop", {dataTransfer: moved, bubbles: true, cancelable: true}));
        """,
        data,
    )
    until(lambda: "40 × 30" in find(browser, "facts").text, "the dropped image is not answered")


def test_a_refusal_is_shown_in_words(server, browser, tmp_path):
    path = tmp_path / "no.gif"
    path.write_bytes(file_of(Image.new("L", (4, 4)), "GIF"))
    browser.get(f"http://127.0.0.1:{server.port}/")
    find(browser, "file").send_keys(str(path))
    until(lambda: find(browser, "error").text, "no error is shown")
    assert find(browser, "error").text == "not a JPEG, PNG or WebP image"
    assert not find(browser, "answer").is_displayed()


def test_the_api_is_described(server, browser):
    browser.get(f"http://127.0.0.1:{server.port}/docs")
    until(lambda: "/v1/detect" in find(browser, "routes").text, "the routes are not listed")
    assert "429" in find(browser, "routes").text
    if folder := os.environ.get("MODELPARITY_SCREENSHOTS"):
        browser.save_screenshot(f"{folder}/docs.png")
