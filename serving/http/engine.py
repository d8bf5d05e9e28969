"""Runs requests on worker threads, from the bytes of an image to the JSON of the answer."""

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
    """Runs requests on `limits.workers` threads; each of `predictors` serves one thread at a time.

    With one predictor, a request is decoded or packed while the inference of another uses the cores.
    """

    def __init__(self, predictors: Sequence[Any], limits: Limits, metrics: Metrics) -> None:
        self.card = predictors[0].card
        self._limits, self._metrics = limits, metrics
        self._threads = ThreadPoolExecutor(limits.workers, thread_name_prefix="worker")
        self._predictors: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for predictor in predictors:
            self._predictors.put(predictor)

    async def work(self, job: Callable[..., Answer], *arguments: Any) -> Answer:
        """The result of a job, run on a worker thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, job, *arguments)

    def close(self) -> None:
        self._threads.shutdown()

    @contextmanager
    def predictor(self) -> Iterator[Any]:
        """A predictor for one thread; waits until one is free."""
        predictor = self._predictors.get()
        try:
            yield predictor
        finally:
            self._predictors.put(predictor)

    def detect(self, data: bytes, mask: str, arrived: float) -> bytes:
        """The JSON of the answer for an uploaded image. `arrived` is a value of `time.perf_counter`.

        Raises:
            RefusalError: the upload is not an image that can be processed.
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
        """The outputs of the file by name. Raises `RefusalError` if they are not finite."""
        start = time.perf_counter()
        outputs: dict[str, np.ndarray[Any, Any]] = predictor.run(feed)
        self._metrics.inference.observe(time.perf_counter() - start)
        if not all(np.isfinite(value).all() for value in outputs.values()):
            raise unreadable("not_finite", "the network's answer to this input is not finite")
        return outputs


class _Clock:
    """Measures named laps."""

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
