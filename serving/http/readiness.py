"""Decides whether the server is ready: the golden image is answered as released, and it is not stopping."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from modelparity.serving.http.admission import Admission
from modelparity.serving.http.engine import Engine
from modelparity.serving.http.golden import GoldenVerdict, difference, verdict_of

AGAIN_SECONDS = 60.0  # a run costs as much as a request


class Readiness:
    """Runs the golden image at the start, and at most once per minute when the state is asked for."""

    def __init__(self, engine: Engine, admission: Admission, released: GoldenVerdict | None) -> None:
        self._engine, self._admission, self._released = engine, admission, released
        self._checked_at = 0.0
        self._golden = "not run yet"
        self._ready = False
        self._running: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Runs the golden image. If that raises anything, the server is not ready."""
        try:
            self._ready, self._golden = await self._engine.work(self._verdict)
        except Exception as error:
            self._ready, self._golden = False, f"the golden image could not be run: {type(error).__name__}"
        self._checked_at = time.monotonic()

    def _verdict(self) -> tuple[bool, str]:
        with self._engine.predictor() as predictor:
            now = verdict_of(predictor)
        answer = now.label if now.score is None else f"{now.label}, {now.score:.4f}"
        if self._released is None:
            return True, f"{answer}; no released verdict lies beside the file to hold it against"
        off = difference(now, self._released)
        return off is None, off or f"{answer}, as released"

    def state(self) -> tuple[bool, dict[str, Any]]:
        """The state as of the last run; starts another run if that is more than a minute old."""
        if time.monotonic() - self._checked_at > AGAIN_SECONDS and (
            self._running is None or self._running.done()
        ):
            self._running = asyncio.get_running_loop().create_task(self.check())
        stopping = self._admission.is_draining
        words = "the server is being stopped" if stopping else self._golden
        ready = self._ready and not stopping
        return ready, {"ready": ready, "golden": words}
