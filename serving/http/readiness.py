"""Whether requests may be sent here: the golden image is answered as released, and no stop is under way."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from modelparity.serving.http.admission import Admission
from modelparity.serving.http.engine import Engine
from modelparity.serving.http.golden import Verdict, difference, verdict_of

AGAIN_SECONDS = 60.0  # a run costs as much as a request


class Readiness:
    """Runs the golden image at the start and, when it is asked, once a minute."""

    def __init__(self, engine: Engine, admission: Admission, released: Verdict | None) -> None:
        self._engine, self._admission, self._released = engine, admission, released
        self._checked_at = 0.0
        self._golden = "not run yet"
        self._ready = False
        self._running: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Runs the golden image. Whatever the runtime raises is a reason not to be ready."""
        try:
            self._ready, self._golden = await self._engine.work(self._verdict)
        except Exception as error:
            self._ready, self._golden = False, f"the golden image could not be run: {type(error).__name__}"
        self._checked_at = time.monotonic()

    def _verdict(self) -> tuple[bool, str]:
        with self._engine.predictor() as predictor:
            now = verdict_of(predictor)
        said = now.label if now.score is None else f"{now.label}, {now.score:.4f}"
        if self._released is None:
            return True, f"{said}; no released verdict lies beside the file to hold it against"
        off = difference(now, self._released)
        return off is None, off or f"{said}, as released"

    def state(self) -> tuple[bool, dict[str, Any]]:
        """As of the last run; starts another one where that is more than a minute old."""
        if time.monotonic() - self._checked_at > AGAIN_SECONDS and (
            self._running is None or self._running.done()
        ):
            self._running = asyncio.get_running_loop().create_task(self.check())
        stopping = self._admission.is_draining
        words = "the server is being stopped" if stopping else self._golden
        ready = self._ready and not stopping
        return ready, {"ready": ready, "golden": words}
