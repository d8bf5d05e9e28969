"""The Prometheus metrics at `/metrics`, in one registry per server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
# Seconds: from one request to a tiny network to four large requests in a row.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0)


class Metrics:
    """The counters and histograms of one server.

    Labels come from fixed sets, so clients cannot create series. Memory is `process_resident_memory_bytes`,
    on Linux.
    """

    def __init__(self, card: Any, waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        own: Any = {"namespace": "modelparity", "registry": self.registry}
        self.requests = Counter("requests", "Answers by route and status.", ["route", "code"], **own)
        self.seconds = Histogram("request_seconds", "Head to answer.", ["route"], buckets=_BUCKETS, **own)
        self.inference = Histogram("inference_seconds", "One run of the file.", buckets=_BUCKETS, **own)
        self.rejected = Counter("rejected", "Requests turned away, by reason.", ["reason"], **own)
        depth = Gauge("queue_depth", "Accepted requests that wait for a worker.", **own)
        depth.set_function(waiting)
        self.ready = Gauge("ready", "1 if the golden image gave the released verdict.", **own)
        info = Info("model", "The file that is served.", **own)
        names = ("model", "format", "quantization", "sha256")
        info.info({name: str(getattr(card, name)) for name in names})
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)
