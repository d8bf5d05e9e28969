"""What a server turns away, and what it leaves behind: nothing."""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from meta_tests.miniatures.miniature_predictor import MiniaturePredictor
from meta_tests.miniatures.running_server import file_of, form_of, photograph, running
from modelparity import serving
from modelparity.fixtures.hostile_uploads import hostile_uploads
from modelparity.serving.http.limits import Limits

OPEN = Limits(rate=0)
PNG = file_of(photograph())
HEAD = f"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: {len(PNG)}\r\n\r\n".encode()
TRACE = re.compile(rb"Traceback|File \"|\.py|secret|0x[0-9a-f]{6}")


@pytest.fixture(scope="module")
def server():
    with running(limits=OPEN) as server:
        yield server


def test_hostile_uploads_are_refused(server):
    for number, upload in enumerate(hostile_uploads(seed=5, count=104)):
        names = {name.replace("-", "_"): value for name, value in upload.headers.items()}
        status, _, body = server.ask(
            "POST", "/v1/detect", upload.data, Content_Type=upload.content_type, **names
        )
        where = f"upload {number}, {upload.name}: {status} {body[:200]!r}"
        assert 400 <= status < 500 or (status == 200 and not upload.rejected), where
        if status != 200:
            assert set(json.loads(body)) == {"error", "reason"}, where
            assert not TRACE.search(body), where


BIG = Image.new("L", (12_001, 8))
MANY = Image.new("1", (6_000, 4_001))
ANIMATED = file_of(
    Image.fromarray(photograph()), "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 48))]
)
REFUSED = {
    "wide": (file_of(BIG), 413, "side"),
    "many pixels": (file_of(MANY), 413, "pixels"),
    "many deep pixels": (file_of(Image.new("I;16", (3_000, 2_001))), 413, "pixels"),
    "long": (PNG + b"\0" * (10 << 20), 413, "bytes"),
    "animated": (ANIMATED, 422, "animated"),
    "cut off": (PNG[:-40], 422, "damaged"),
    "empty": (b"", 400, "empty"),
    "GIF": (file_of(photograph(), "GIF"), 415, "format"),
    "PDF before PNG": (b"%PDF-1.4\n" + PNG, 415, "format"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_its_reason(server, name):
    data, status, reason = REFUSED[name]
    found, body = server.detect(data)
    assert (found, body["reason"]) == (status, reason)


def test_caps_hold_to_the_pixel(server):
    assert server.detect(file_of(Image.new("L", (12_000, 8))), "?mask=none")[0] == 200


def test_a_body_without_a_length_is_counted(server):
    pieces = iter([b"\xff\xd8\xff" + b"\0" * (1 << 20)] * 11)
    status, _, body = server.ask("POST", "/v1/detect", pieces)
    assert (status, json.loads(body)["reason"]) == (413, "bytes")


def raw(server, text: bytes, wait: float = 0.0) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    connection.sendall(text)
    time.sleep(wait)
    return connection


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml"])
def test_nothing_of_a_body_is_read_before_it_is_admitted(server, kind):
    """The body is announced and never sent: who waits for it never answers."""
    head = f"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 5000\r\n\r\n"
    with raw(server, head.encode()) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 415")


def test_answers_do_not_wait_for_acknowledgements(server):
    with raw(server, b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        (kept,) = server.process.server_state.connections
        assert kept.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_who_asks_first_is_not_told_to_go_on(server):
    head = b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    with raw(server, head) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_slow_body_is_given_up():
    with running(limits=replace(OPEN, body_seconds=0.3)) as server:
        head = b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nabc"
        with raw(server, head) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_slow_head_is_given_up(monkeypatch):
    monkeypatch.setattr("modelparity.serving.http.server.HEAD_SECONDS", 0.3)
    with running() as server, raw(server, b"POST /v1/det") as connection:
        assert connection.recv(100) == b""


def until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_beyond_the_queue_there_is_429_and_all_that_is_inside_is_answered():
    with running(limits=replace(OPEN, workers=2, queue=1)) as server:
        found = []

        def one():
            status, headers, _ = server.ask("POST", "/v1/detect", PNG)
            found.append((status, headers.get("Retry-After")))

        server.predictor.gate.clear()
        threads = [threading.Thread(target=one) for _ in range(8)]
        for thread in threads:
            thread.start()
        until(lambda: len(found) == 5)
        assert server.ask("GET", "/v2/health/live")[0] == 200, "alive while all workers are busy"
        assert server.counter("modelparity_queue_depth") == 1
        with raw(server, HEAD) as connection:  # without its body
            assert connection.recv(100).startswith(b"HTTP/1.1 429")
        server.predictor.gate.set()
        for thread in threads:
            thread.join()
        assert sorted(found, key=str) == [(200, None)] * 3 + [(429, "1")] * 5
        assert server.counter('modelparity_rejected_total{reason="queue"}') == 6
        assert server.detect(PNG)[0] == 200


def test_bodies_that_arrive_together_share_the_places():
    """All are let in by their heads; whose body is whole first has the place."""
    with running(limits=replace(OPEN, workers=1, queue=0)) as server:
        server.predictor.gate.clear()
        connections = [raw(server, HEAD + PNG[:-1]) for _ in range(3)]
        until(lambda: server.server.admission._uploads == 3)
        for connection in connections:
            connection.sendall(PNG[-1:])
        until(lambda: len(select.select(connections, [], [], 0)[0]) == 2)
        server.predictor.gate.set()
        found = sorted(connection.recv(100)[9:12] for connection in connections)
        for connection in connections:
            connection.close()
    assert found == [b"200", b"429", b"429"]


def test_bodies_on_their_way_are_counted():
    with running(limits=replace(OPEN, uploads=1)) as server, raw(server, HEAD, 0.2):
        status, body = server.detect(PNG)
        assert (status, body["reason"]) == (429, "uploads")


def test_an_encoded_body_is_not_decoded(server):
    status, body = server.detect(PNG, Content_Encoding="gzip")
    assert (status, body["reason"]) == (415, "format")
    assert server.detect(PNG, Content_Encoding="identity")[0] == 200


def test_one_address_is_held_to_its_rate():
    with running(limits=Limits(rate=0.5, burst=3)) as server:
        found = [server.ask("POST", "/v1/detect", PNG) for _ in range(5)]
        assert [status for status, _, _ in found] == [200, 200, 200, 429, 429]
        assert json.loads(found[-1][2])["reason"] == "rate"
        assert int(found[-1][1]["Retry-After"]) == 2


def test_rates_are_kept_apart_and_forgotten():
    from modelparity.serving.http.admission import Rates

    now = [0.0]
    rates = Rates(Limits(rate=2, burst=1, clients=2), lambda: now[0])
    assert rates.wait_of("a") == 0
    assert rates.wait_of("a") == pytest.approx(0.5)
    assert rates.wait_of("b") == 0
    now[0] = 0.5
    assert rates.wait_of("a") == 0
    rates.wait_of("c")  # "b" was silent longest
    assert rates.wait_of("b") == 0


def test_a_key_is_asked_where_there_is_one():
    with running(api_key="Schlüssel") as server:
        key = "Bearer Schlüssel".encode().decode("latin-1")
        assert server.ask("POST", "/v1/detect", PNG)[0] == 401
        assert server.ask("POST", "/v1/detect", PNG, Authorization="Bearer wrong")[0] == 401
        assert server.ask("GET", "/metrics")[0] == 401
        assert (
            server.ask("POST", "/v2/models/miniature/infer", b"{}", Content_Type="application/json")[0] == 401
        )
        assert server.ask("POST", "/v1/detect", PNG, Authorization=key)[0] == 200
        assert server.ask("GET", "/v2/health/live")[0] == 200


def test_a_fault_of_the_network_shows_nothing(capfd):
    predictor = MiniaturePredictor()
    with running(predictor) as server:
        predictor.broken = True
        status, _, body = server.ask("POST", "/v1/detect", PNG)
        assert (status, json.loads(body)) == (500, {"error": "the server failed", "reason": "internal"})
        predictor.broken = False
        assert server.detect(PNG)[0] == 200
    said = capfd.readouterr()
    assert "RuntimeError" in said.err
    assert "secret" not in said.err + said.out


def test_an_answer_that_is_not_finite_is_no_answer(server):
    original = server.predictor.run
    server.predictor.run = lambda images: {name: value * np.nan for name, value in original(images).items()}
    try:
        status, body = server.detect(PNG)
    finally:
        server.predictor.run = original
    assert (status, body["reason"]) == (422, "not_finite")


_WRITES: list[str] | None = None


def _watch(event: str, arguments: tuple) -> None:
    if _WRITES is not None and event == "open" and arguments[1] and set("wax+") & set(str(arguments[1])):
        _WRITES.append(str(arguments[0]))


def test_an_upload_touches_neither_disk_nor_log(server, capfd, caplog):
    global _WRITES
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1200, 3), np.uint8)
    data = file_of(noise)
    assert len(data) > 3_000_000
    body, kind = form_of(data)
    body = body.replace(b"x.jpg", b"a-telling-name.jpg")
    sys.addaudithook(_watch)
    _WRITES = []
    try:
        assert server.detect(body, Content_Type=kind)[0] == 200
        assert server.detect(b"--frontier quite wrong", Content_Type=kind)[0] == 400
        assert server.detect(data[:-9], "?mask=a-telling-name")[0] == 422
        written, _WRITES = _WRITES, None
    finally:
        _WRITES = None
    assert written == []
    said = capfd.readouterr()
    assert said.out + said.err + caplog.text == ""


def test_a_progressive_photograph_has_few_scans_and_a_bomb_many():
    from modelparity.serving.http.uploads import _few_scans

    plain = file_of(photograph(400, 600), "JPEG", progressive=True)
    assert _few_scans(plain, 64)
    scan = plain[plain.rindex(b"\xff\xda") : -2]
    assert not _few_scans(plain[:-2] + scan * 64 + plain[-2:], 64)
    assert _few_scans(plain + b"\xff\xda" * 500, 64), "what follows the end is not the image"
    segments = b"\xff\xe0\0\2" * 20_000
    assert not _few_scans(plain[:2] + segments + plain[2:], 64)


def test_no_webp_is_decoded_before_its_size_is_known():
    """Pillow makes room for a WebP's frames on opening; that room must not be touched."""
    from modelparity.serving.http.refusals import RefusalError
    from modelparity.serving.http.uploads import picture_of

    data = bytearray(file_of(photograph(), "WEBP"))
    data[26:30] = b"\xff\x3f\xff\x3f"
    psutil = pytest.importorskip("psutil")
    before = psutil.Process().memory_info().rss
    with pytest.raises(RefusalError, match="pixels"), picture_of(bytes(data), OPEN):
        pass
    assert psutil.Process().memory_info().rss - before < 50 << 20


def test_forms_have_bounds():
    with running(limits=OPEN) as server:
        parts = b"".join(b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n' for _ in range(9))
        status, body = server.detect(parts + b"--b--\r\n", Content_Type="multipart/form-data; boundary=b")
        assert (status, body["reason"]) == (400, "form")
        assert "8 parts" in body["error"]


def test_a_form_that_is_cut_off_is_no_form(server):
    """Its image is whole, but nobody can know."""
    body, kind = form_of(PNG)
    status, answer = server.detect(body.removesuffix(b"--frontier--\r\n"), Content_Type=kind)
    assert (status, answer["reason"]) == (400, "form")
    assert "cut off" in answer["error"]


def test_a_client_that_leaves_is_no_error(server, capfd):
    with raw(server, b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nabc", 0.1):
        pass
    time.sleep(0.2)
    assert server.detect(PNG)[0] == 200
    assert capfd.readouterr().err == ""


def test_decoding_is_off_the_event_loop(server, monkeypatch):
    seen = []
    decode = serving.decode

    def watched(picture):
        seen.append(threading.current_thread().name)
        return decode(picture)

    monkeypatch.setattr(serving, "decode", watched)
    assert server.detect(PNG)[0] == 200
    assert [name.partition("_")[0] for name in seen] == ["worker"]
