"""Admits or refuses requests by their headers alone, before any of the body is read."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from modelparity.serving.http.limits import Limits
from modelparity.serving.http.refusals import RefusalError, busy, draining, too_large, unsupported

OCTETS = "application/octet-stream"
FORM = "multipart/form-data"
IMAGES = ("image/jpeg", "image/png", "image/webp")


class Rates:
    """A token bucket per address (Turner, 1986): `rate` tokens per second, at most `burst`."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = (
            OrderedDict()
        )  # tokens, and when they were counted

    def wait_of(self, client: str) -> float:
        """Takes a token and returns 0; if there is none, returns the seconds until there is."""
        rate, burst = self._limits.rate, self._limits.burst
        if not rate:
            return 0.0
        now = self._clock()
        tokens, since = self._buckets.pop(client, (float(burst), now))
        tokens = min(float(burst), tokens + (now - since) * rate)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - allowed, now)
        while len(self._buckets) > self._limits.clients:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / rate


class Admission:
    """Counts uploads in progress, and requests that wait or are being processed.

    Everything here runs on the event loop, so a check and its count cannot be separated by another request.
    """

    def __init__(self, limits: Limits, api_key: str | None = None) -> None:
        self.limits = limits
        self.is_draining = False
        self.accepted = self.answered = 0
        self._key = api_key.encode() if api_key else None
        self._rates = Rates(limits)
        self._uploads = self._inside = 0

    @property
    def waiting(self) -> int:
        return max(0, self._inside - self.limits.workers)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being read, waits or is being processed."""
        return not self._uploads and not self._inside

    def check(self, client: str, headers: Mapping[str, str], types: tuple[str, ...]) -> None:
        """Raises `RefusalError` for a request whose body is not to be read."""
        if self.is_draining:
            raise draining()
        self.check_key(headers)
        if wait := self._rates.wait_of(client):
            raise busy("rate", "too many requests from this address", int(wait) + 1)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise unsupported("send the body as it is, without a Content-Encoding")
        kind = headers.get("content-type", OCTETS).partition(";")[0].strip().lower()
        if kind not in types:
            raise unsupported(f"send {', '.join(types)}")
        self._check_length(headers.get("content-length", "0"))
        self._check_places()
        if self._uploads >= self.limits.uploads:
            raise busy("uploads", "too many uploads are on their way")

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Raises `RefusalError` if the server has an API key and the request does not."""
        if self._key is None:
            return
        bearer = headers.get("authorization", "")
        key = bearer[7:] if bearer[:7].lower() == "bearer " else headers.get("x-api-key", "")
        if not hmac.compare_digest(key.encode("latin-1"), self._key):
            words = "an API key is needed: send it as `Authorization: Bearer KEY`"
            raise RefusalError(401, "key", words, {"WWW-Authenticate": "Bearer"})

    def _check_length(self, text: str) -> None:
        if not (text.isascii() and text.isdigit() and len(text) <= 20):
            raise RefusalError(400, "length", "the Content-Length is not a number")
        if int(text) > self.limits.body_bytes:
            raise too_large("bytes", f"at most {self.limits.body_bytes:,} bytes are read")

    def _check_places(self) -> None:
        if self._inside >= self.limits.workers + self.limits.queue:
            raise busy("queue", "all workers are busy and the queue is full")

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Counts an upload while its body is being read."""
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue or at a worker.

        A request with a place is accepted, and it is answered even if the server is being stopped.

        Raises:
            RefusalError: no place is left.
        """
        self._check_places()
        self._inside += 1
        self.accepted += 1
        try:
            yield
        except asyncio.CancelledError:  # the stop took too long
            self.answered -= 1
            raise
        finally:
            self._inside -= 1
            self.answered += 1
