"""Runs the clients of the server benchmark: reads a plan on stdin, writes what they measured to stdout.

Connects to the loopback interface only. It speaks HTTP/1.1 without a library, because client libraries cost
as much time as the server.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
TIMEOUT_S = 30.0


@dataclass
class Seen:
    """What clients measured; `seconds` are for answers with 200, code 0 stands for a broken connection."""

    codes: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    other_seconds: list[float] = field(default_factory=list)
    live_seconds: list[float] = field(default_factory=list)
    inference_ms: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    wall: float = 0.0

    def saw(self, status: int, seconds: float, body: bytes = b"") -> None:
        self.codes[status] += 1
        (self.seconds if status == 200 else self.other_seconds).append(seconds)
        if status == 200 and body[:1] == b"{":
            self.inference_ms.append(json.loads(body)["timings_ms"]["inference"])


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, bytes, float]:
        """Sends a request; returns the status (0 if the connection broke), the body and the seconds."""
        start = time.perf_counter()
        try:
            status, answer = await asyncio.wait_for(self._ask(method, path, body, headers), TIMEOUT_S)
        except (OSError, EOFError, ValueError, asyncio.TimeoutError):
            self.close()
            status, answer = 0, b""
        return status, answer, time.perf_counter() - start

    async def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await reader.readexactly(length)
        if b"connection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1]), answer

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
            self._streams = None


async def closed(seen: Seen, port: int, *, body: bytes, clients: int, count: int, seconds: float) -> None:
    """Each client sends a request when the last one was answered; `count` in all, or for `seconds`."""
    left = iter(range(count)) if count else iter(int, 1)
    end = time.perf_counter() + (seconds or 3600)

    async def one() -> None:
        client = Client(port)
        for _ in left:
            if time.perf_counter() > end:
                break
            status, answer, spent = await client.ask("POST", "/v1/detect", body, Content_Type="image/jpeg")
            seen.saw(status, spent, answer)
            if status == 0:
                break
        client.close()

    await asyncio.gather(*(one() for _ in range(clients)))


async def open_loop(seen: Seen, port: int, *, body: bytes, rate: float, seconds: float) -> None:
    """Sends a request every 1/rate seconds, answered or not, and ten liveness probes per second."""
    end = time.perf_counter() + seconds
    idle: list[Client] = []
    running: set[asyncio.Task[None]] = set()

    async def one() -> None:
        client = idle.pop() if idle else Client(port)
        status, answer, spent = await client.ask("POST", "/v1/detect", body, Content_Type="image/jpeg")
        seen.saw(status, spent, answer)
        idle.append(client)

    async def probe() -> None:
        client = Client(port)
        while time.perf_counter() < end:
            status, _, spent = await client.ask("GET", "/v2/health/live")
            if status != 200:
                seen.wrong.append(f"liveness {status}")
            seen.live_seconds.append(spent)
            await asyncio.sleep(0.1)
        client.close()

    probing = asyncio.create_task(probe())
    start, sent = time.perf_counter(), 0
    while time.perf_counter() < end:
        task = asyncio.create_task(one())
        running.add(task)
        task.add_done_callback(running.discard)
        sent += 1
        await asyncio.sleep(max(0.0, start + sent / rate - time.perf_counter()))
    await asyncio.gather(probing, *running)
    for client in idle:
        client.close()


async def hostile(seen: Seen, port: int, seed: int, count: int) -> None:
    """Sends hostile uploads one after another, each on a new connection."""
    from modelparity.fixtures.hostile_uploads import hostile_uploads

    for number, upload in enumerate(hostile_uploads(seed, count)):
        client = Client(port)
        headers = {"Content-Type": upload.content_type, **upload.headers}
        status, _, spent = await client.ask("POST", "/v1/detect", upload.data, **headers)
        client.close()
        seen.saw(status, spent)
        if not (400 <= status < 500 or (status == 200 and not upload.rejected)):
            seen.wrong.append(f"upload {number} of seed {seed}, {upload.name}: {status}")


PHASES = {"closed": closed, "open": open_loop, "hostile": hostile}


def main() -> None:
    plan: dict[str, Any] = json.load(sys.stdin)
    phase = PHASES[plan.pop("phase")]
    if "body" in plan:
        plan["body"] = Path(plan["body"]).read_bytes()
    seen = Seen()
    start = time.perf_counter()
    asyncio.run(phase(seen, **plan))  # type: ignore[operator]
    seen.wall = time.perf_counter() - start
    json.dump(vars(seen), sys.stdout)


if __name__ == "__main__":
    main()
