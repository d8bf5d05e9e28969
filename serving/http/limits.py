"""The limits of the server, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one server process."""

    # One image is decoded or packed during the inference of another; more workers only wait for the cores.
    workers: int = 2
    # Requests that wait beside the two at work. With four in all, the slowest accepted request takes at most
    # 1.5 times as long as with three clients: the time is the number of requests times that of one inference.
    queue: int = 2
    # Bodies that may be received at once; they take at most this many times `body_bytes` of memory.
    uploads: int = 8
    # Requests per second from one address, and how many may come at once; a rate of 0 means no limit.
    rate: float = 20.0
    burst: int = 40
    clients: int = 10_000  # addresses that are remembered; the longest idle is forgotten first
    body_bytes: int = 10 << 20  # a 12-megapixel JPEG of a phone has 3 to 6 MiB
    body_seconds: float = 10.0
    # A decoded image and its mask take 3 + 4 bytes per pixel, and copies; two at once stay below 700 MB.
    pixels: int = 24_000_000
    side: int = 12_000
    # A progressive JPEG has about 10 scans; each of them costs a pass over all coefficients.
    jpeg_scans: int = 64
    batch: int = 8  # images in one tensor request
    drain_seconds: float = 30.0
