"""Writes the full-size measurement of ChunkySeal as a Markdown document."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """One step: `wall_s` includes storing and hashing, `s` and `cpu_s` are the child's; memory in bytes."""

    name: str
    wall_s: float | None
    s: float
    cpu_s: float
    peak_bytes: int
    bytes: int | None
    load: float  # load average of the machine after the step


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds per image; `ratio` is the median of int8 / fp32 over the rounds."""

    format: str
    fp32_s: float
    int8_s: float
    ratio: float
    fp32_peak: int
    int8_peak: int
    rms_error: float
    spread: float
    bits: int
    flipped: int
    flipped_beyond: int


@dataclass(frozen=True)
class Measured:
    source: str
    checkpoint_bytes: int
    machine: str
    conversions: tuple[Conversion, ...]
    latencies: tuple[Latency, ...]


_HEAD = """# ChunkySeal at full size

The detector for 1024 bits: 773,715,209 parameters, 1,229 GFLOP per image. Converted from {source}
({gb:.2f} GB) by the project's own code, one process per toolchain.

Machine: {machine}. To repeat it:

    python -m modelparity.benchmarks.chunkyseal_full [--checkpoint chunkyseal_detector_only.pth]

## Conversion

A published guide to the same conversion (to TFLite, by the predecessor of litert-torch) gives 5 to 10 minutes
and 15 to 20 GB of memory for either precision, and file sizes of 2,951.70 MB (fp32) and 960.00 MB (int8).

| step | whole step | in the child | CPU time | peak memory | file | load average |
| --- | --- | --- | --- | --- | --- | --- |
"""

_NOTES = """
*In the child* is the conversion itself, including imports; *whole step* also has hashing, syncing files to
the disk and, in the first step that needs it, the export. *Peak memory* is the largest resident set of the
child (VmHWM). It includes mapped pages of the checkpoint and of the float file, up to 3.1 GB, which the
system can reclaim at any time. On a shared machine, CPU time varies less than wall time; the load average
says how many processes were running.

## One image

2 threads. fp32 and int8 (int8_dynamic) run alternately, each in a process of its own. Times are the minimum
of the rounds; the ratio is the median over the rounds.

| format | fp32 | int8 | ratio | memory fp32 | memory int8 |
| --- | --- | --- | --- | --- | --- |
"""

_BITS = """
## The message

int8 compared with fp32 on three photographs. A bit may flip if its logit is within 4 times the rms error of
int8; beyond that bound it must not.

| format | rms error | spread of the outputs | SQNR | bits that differ | beyond the error bound |
| --- | --- | --- | --- | --- | --- |
"""


def markdown(measured: Measured) -> str:
    import math

    rows = [
        f"| {c.name} | {_seconds(c.wall_s)} | {c.s:.0f} s | {c.cpu_s:.0f} s | {c.peak_bytes / 1e9:.2f} GB "
        f"| {f'{c.bytes / 2**20:,.1f} MiB' if c.bytes else ''} | {c.load:.1f} |"
        for c in measured.conversions
    ]
    times = [
        f"| {t.format} | {t.fp32_s:.1f} s | {t.int8_s:.1f} s | {t.ratio:.2f} "
        f"| {t.fp32_peak / 1e9:.2f} GB | {t.int8_peak / 1e9:.2f} GB |"
        for t in measured.latencies
    ]
    bits = [
        f"| {t.format} | {t.rms_error:.4f} | {t.spread:.4f} "
        f"| {20 * math.log10(t.spread / t.rms_error):.1f} dB "
        f"| {t.flipped} of {t.bits:,} | {t.flipped_beyond} |"
        for t in measured.latencies
    ]
    head = _HEAD.format(source=measured.source, gb=measured.checkpoint_bytes / 1e9, machine=measured.machine)
    return head + "\n".join(rows) + "\n" + _NOTES + "\n".join(times) + "\n" + _BITS + "\n".join(bits) + "\n"


def _seconds(value: float | None) -> str:
    return f"{value:.0f} s" if value is not None else ""
