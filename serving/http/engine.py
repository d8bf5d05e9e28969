"""The worker threads: bytes of an image to an answer, off the event loop from decoding to JSON."""

from __future__ import annotations

import asyncio
import json
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from modelparity import serving
from modelparity.serving.http.limits import Limits
from modelparity.serving.http.metrics import Metrics
from modelparity.serving.http.refusals import unreadable
from modelparity.serving.http.replies import reply
from modelparity.serving.http.uploads import picture_of

Answer = TypeVar("Answer")


class Engine:
    """Runs requests on `limits.workers` threads; one of `predictors` serves one thread at a time.

    With one predictor a request decodes and packs while another's inference has the cores.
    """

    def __init__(self, predictors: Sequence[Any], limits: Limits, metrics: Metrics) -> None:
        self.card = predictors[0].card
        self._limits, self._metrics = limits, metrics
        self._threads = ThreadPoolExecutor(limits.workers, thread_name_prefix="worker")
        self._predictors: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for predictor in predictors:
            self._predictors.put(predictor)

    async def work(self, job: Callable[..., Answer], *arguments: Any) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, job, *arguments)

    def close(self) -> None:
        self._threads.shutdown()

    @contextmanager
    def predictor(self) -> Iterator[Any]:
        taken = self._predictors.get()
        try:
            yield taken
        finally:
            self._predictors.put(taken)

    def detect(self, data: bytes, mask: str, arrived: float) -> bytes:
        """An uploaded image to the JSON of its answer. `arrived` is a `time.perf_counter`.

        Raises `RefusalError` for what is no image that can be looked at.
        """
        clock = _Clock(arrived)
        clock.lap("queue")
        with picture_of(data, self._limits) as (picture, format):
            pixels = serving.decode(picture)
        clock.lap("decode")
        height, width = pixels.shape[:2]
        with self.predictor() as predictor:
            clock.lap("wait")
            feed = predictor.prepare(pixels)
            clock.lap("prepare")
            outputs = self.run(predictor, feed)
            clock.lap("inference")
            result = predictor.answer(outputs, original_size=(height, width))
        body = reply(result, self.card, mask)
        clock.lap("answer")
        body["image"] = {"width": width, "height": height, "format": format}
        body["timings_ms"] = clock.milliseconds()
        return json.dumps(body, allow_nan=False).encode()

    def run(self, predictor: Any, feed: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """The file's outputs, by name. Raises `RefusalError` if they are not finite."""
        start = time.perf_counter()
        outputs: dict[str, np.ndarray[Any, Any]] = predictor.run(feed)
        self._metrics.inference.observe(time.perf_counter() - start)
        if not all(np.isfinite(value).all() for value in outputs.values()):
            raise unreadable("not_finite", "the network's answer to this input is not finite")
        return outputs


class _Clock:
    """Seconds between laps, by the lap's name."""

    def __init__(self, start: float) -> None:
        self._start = self._last = start
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name] = now - self._last
        self._last = now

    def milliseconds(self) -> dict[str, float]:
        laps = {**self._laps, "total": self._last - self._start}
        return {name: round(1000 * seconds, 2) for name, seconds in laps.items()}
