"""A server's beginning and end: the golden image, and a stop that answers what was accepted."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meta_tests.miniatures.miniature_predictor import MiniaturePredictor
from meta_tests.miniatures.running_server import file_of, photograph, running
from modelparity.serving.http.golden import difference, golden_image, read_verdict, verdict_of, verdict_path

ROOT = Path(__file__).parents[2]
PNG = file_of(photograph())
RELEASED = verdict_of(MiniaturePredictor())


def readiness(server):
    status, _, body = server.ask("GET", "/v2/health/ready")
    return status, json.loads(body)["golden"]


def test_ready_if_the_golden_image_is_answered_as_released():
    with running(released=RELEASED) as server:
        status, words = readiness(server)
        assert status == 200
        assert words.endswith("as released")
        assert server.counter("modelparity_ready") == 1


def test_ready_without_a_released_verdict_but_it_says_so():
    with running() as server:
        assert readiness(server)[0] == 200
        assert "no released verdict" in readiness(server)[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "6" * 64}, "666666666666 was released"),
        ({"label": "tampered" if RELEASED.label == "authentic" else "authentic"}, "was released"),
        ({"samples": {"score": RELEASED.samples["score"]}}, "outputs score, mask"),
        ({"samples": {**RELEASED.samples, "mask": RELEASED.samples["mask"][::-1]}}, "mask is off"),
        ({"samples": {**RELEASED.samples, "mask": RELEASED.samples["mask"][:3]}}, "another shape"),
    ],
)
def test_not_ready_if_it_is_answered_otherwise(change, words):
    with running(released=replace(RELEASED, **change)) as server:
        assert readiness(server)[0] == 503
        assert words in readiness(server)[1]
        assert server.counter("modelparity_ready") == 0
        assert server.ask("GET", "/v2/models/miniature/ready")[0] == 503
        assert server.ask("GET", "/v2/health/live")[0] == 200


def test_not_ready_if_the_runtime_fails():
    with running(MiniaturePredictor(broken=True)) as server:
        assert readiness(server) == (503, "the golden image could not be run: RuntimeError")


def test_the_golden_image_is_run_again(monkeypatch):
    monkeypatch.setattr("modelparity.serving.http.readiness.AGAIN_SECONDS", 0.0)
    with running(released=RELEASED) as server:
        server.predictor.broken = True
        deadline = time.monotonic() + 5
        while readiness(server)[0] == 200:
            assert time.monotonic() < deadline
        server.predictor.broken = False
        while readiness(server)[0] == 503:
            assert time.monotonic() < deadline


def test_the_bound_of_readiness_lies_between_rounding_and_another_file():
    samples = np.array(RELEASED.samples["mask"])
    spread = float(np.ptp(samples))

    def off(share: float):
        moved = {**RELEASED.samples, "mask": (samples + share * spread).tolist()}
        return difference(replace(RELEASED, samples=moved), RELEASED)

    assert off(0.09) is None
    assert "0.11 of its spread" in off(0.11)
    assert off(float("nan")) is not None


def test_a_verdict_is_read_as_it_was_written(tmp_path):
    path = verdict_path(tmp_path / "of.onnx")
    assert read_verdict(path) is None
    path.write_text(RELEASED.as_json())
    assert read_verdict(path) == RELEASED
    path.write_text('{"label": "x"}')
    with pytest.raises(ValueError, match="make it again"):
        read_verdict(path)


def test_the_golden_image_is_the_same_everywhere():
    image = golden_image()
    assert image.shape == (240, 320, 3)
    assert image[60:140, 40:150].std() > 70 > image[120:210, 190:290, 0].std()
    assert image.tobytes() == golden_image().tobytes()


@contextlib.contextmanager
def process(slow: float):
    """The miniature's server in a process, and its port."""
    command = [sys.executable, "-m", "meta_tests.miniatures.serve_miniature", str(slow)]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        yield started, int(started.stdout.readline().rpartition(":")[2])
    finally:
        started.kill()
        started.wait()
        for stream in (started.stdout, started.stderr):
            stream.close()


def ask(port: int) -> int:
    """The status of one upload; 0 where nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return 0
    try:
        connection.request("POST", "/v1/detect", PNG)
        return connection.getresponse().status
    finally:
        connection.close()


def test_sigterm_under_load_answers_every_accepted_request():
    with process(slow=0.15) as (started, port):
        found: list = []
        stop = threading.Event()

        def client():
            while not stop.is_set():
                try:
                    found.append(ask(port))
                except (
                    OSError
                ) as error:  # in the backlog of a socket that closes: never read, so not accepted
                    found.append(type(error).__name__)
                if found[-1] == 0:
                    return

        threads = [threading.Thread(target=client) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.8)
        started.send_signal(signal.SIGTERM)
        assert started.wait(10) == 0
        stop.set()
        for thread in threads:
            thread.join()
        accepted, answered = (int(word) for word in started.stdout.read().split() if word.isdigit())
        assert accepted == answered == found.count(200) > 0
        assert found.count(503) > 0, "what comes after the signal hears that the server stops"
        assert set(found) <= {200, 429, 503, 0, "ConnectionResetError"}
        assert started.stderr.read() == ""


def test_while_it_drains_it_is_alive_and_not_ready():
    with running() as server:
        server.predictor.gate.clear()
        thread = threading.Thread(target=server.detect, args=(PNG,))
        thread.start()
        while not server.server.admission.accepted:
            time.sleep(0.01)
        server.process.drain()
        status, headers, body = server.ask("POST", "/v1/detect", PNG)
        assert (status, json.loads(body)["reason"]) == (503, "draining")
        assert headers["Connection"] == "close"
        assert readiness(server) == (503, "the server is being stopped")
        assert server.ask("GET", "/v2/health/live")[0] == 200
        server.predictor.gate.set()
        thread.join()
