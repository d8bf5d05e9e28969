"""What the server accepts. Every number has its reason beside it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of one server process."""

    # Decoding and packing of one image beside the inference of another; more only wait for the cores.
    workers: int = 2
    # Waiting beside the two at work. Four in all keep the slowest accepted request within 1.5 times what
    # three clients see: time in the system is its length times the time of one inference.
    queue: int = 2
    # Bodies that may be on their way at once: their memory is at most this many times `body_bytes`.
    uploads: int = 8
    # Requests a second of one address, and how many may come at once; 0 is no limit.
    rate: float = 20.0
    burst: int = 40
    clients: int = 10_000  # addresses that are remembered, the longest silent forgotten first
    body_bytes: int = 10 << 20  # a 12-megapixel JPEG of a phone has 3 to 6 MiB
    body_seconds: float = 10.0
    # A decoded image and its mask take 3 + 4 bytes a pixel and copies; two at once stay under 700 MB.
    pixels: int = 24_000_000
    side: int = 12_000
    # A progressive JPEG has about 10 scans; each one costs a pass over all coefficients.
    jpeg_scans: int = 64
    batch: int = 8  # images in one tensor request
    drain_seconds: float = 30.0
