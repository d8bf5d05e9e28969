"""A server of the miniature on a free port of the loopback, and a client without a library."""

from __future__ import annotations

import http.client
import io
import json
import threading
from contextlib import contextmanager

import numpy as np
from PIL import Image

from meta_tests.miniatures.miniature_predictor import MiniaturePredictor


class Running:
    """`ask` sends one request on a connection of its own: status, headers, body."""

    def __init__(self, process, server, predictor, port: int) -> None:
        self.process, self.server, self.predictor, self.port = process, server, predictor, port

    def ask(self, method: str, path: str, body=None, **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def detect(self, data: bytes, query: str = "", **headers: str):
        """Status and the JSON of an answer."""
        status, _, body = self.ask("POST", f"/v1/detect{query}", data, **headers)
        return status, json.loads(body)

    def counter(self, line: str) -> float:
        """A value of /metrics, by its name and labels as they are written there; 0 if it is not."""
        _, _, body = self.ask("GET", "/metrics")
        for text in body.decode().splitlines():
            if text.startswith(f"{line} "):
                return float(text.rpartition(" ")[2])
        return 0.0


@contextmanager
def running(predictor=None, limits=None, **options):
    """Starts a server in a thread, and stops it as SIGTERM would."""
    from modelparity.serving.http.app import Server, create_app
    from modelparity.serving.http.server import Process, listening

    predictor = predictor or MiniaturePredictor()
    server = Server([predictor], limits, **options)
    said: list[str] = []
    process = Process(server, create_app(server, "1.2.3"), said.append)
    thread = threading.Thread(target=process.run, args=([listening("127.0.0.1", 0)],), daemon=True)
    thread.start()
    while not said and thread.is_alive():
        thread.join(0.01)
    try:
        yield Running(process, server, predictor, int(said[0].rpartition(":")[2]))
    finally:
        process.drain()
        thread.join(20)
        assert not thread.is_alive(), "the server does not stop"


def photograph(height: int = 48, width: int = 64, seed: int = 0):
    """Smooth random colours, uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def file_of(pixels, format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(stream, format, **options)
    return stream.getvalue()


def form_of(data: bytes, name: str = "image", boundary: str = "frontier") -> tuple[bytes, str]:
    """A multipart form with one file, and its content type."""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="x.jpg"\r\n\r\n'.encode()
    return head + data + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
