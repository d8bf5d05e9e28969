"""Runs the application under uvicorn, and answers all accepted requests before it stops."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from modelparity.serving.http.app import Server, create_app

HEAD_SECONDS = 10.0
CONNECTIONS = 512  # half of the usual limit of open files per process
# New requests get 503 for this long before the socket closes, so that a load balancer can switch over.
_GRACE_SECONDS = 0.5


def listening(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 chooses a free port. Raises OSError if the address is not available."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


def serve(server: Server, at: socket.socket, version: str, say: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT, and then until every accepted request is answered.

    `say` is called with the address when the server listens, and at the end with the number of answers.
    """
    Process(server, create_app(server, version), say).run([at])


class Process(uvicorn.Server):
    """After SIGTERM, answers 503 to new requests, finishes accepted ones and stops; a second one ends it."""

    def __init__(self, server: Server, app: Any, say: Callable[[str], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=PatientProtocol,
                ws="none",
                lifespan="on",
                log_level="warning",
                access_log=False,  # a query may contain private data
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=int(server.limits.drain_seconds),
            )
        )
        self._server, self._say = server, say
        self._drain_since: float | None = None

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._say(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")

    def handle_exit(self, sig: int, frame: Any) -> None:
        del sig, frame
        if self._drain_since is not None:
            self.should_exit = self.force_exit = True
        self.drain()

    def drain(self) -> None:
        self._server.admission.is_draining = True
        self._drain_since = self._drain_since or time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        if self._drain_since is not None:
            spent = time.monotonic() - self._drain_since
            late = spent > self._server.limits.drain_seconds
            if late or (spent > _GRACE_SECONDS and self._server.admission.is_idle):
                self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: Any = None) -> None:
        await super().shutdown(sockets)
        admission = self._server.admission
        self._say(f"stopped: {admission.accepted} requests accepted, {admission.answered} answered")


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP protocol, with a time limit of `HEAD_SECONDS` for the head of a request.

    The limit also holds for the rest of a refused request's body, which uvicorn discards.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # asyncio sets it only for sockets created with a protocol number. Without it, each answer waits 40 ms
        # for an acknowledgement, because its head and body are two writes.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Runs a timer while no request is being answered."""
        waits = self.cycle is None or self.cycle.response_complete
        if waits and self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._late)
        elif not waits and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
