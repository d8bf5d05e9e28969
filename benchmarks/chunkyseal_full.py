"""`python -m modelparity.benchmarks.chunkyseal_full [--checkpoint PATH]`: what ChunkySeal costs at its full size.

Converts 773.7 M parameters from a checkpoint file through the project's own code, runs fp32 and
int8 in turns, and writes `reports/chunkyseal-full.md` beside the figures that a published guide
gives. Without a checkpoint, one with the goldens' weights is extracted from a training's, written first.
Takes about 13 GB of memory and 25 GB of disk; a store of its own, so that everything is made and timed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.benchmarks.chunkyseal_report import Conversion, Latency, Measured, markdown
from modelparity.benchmarks.costs import THREADS
from modelparity.converters.engine.store import Store
from modelparity.converters.engine.workbench import ModelUnderTest, Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, Worker, Workers
from modelparity.fixtures.inputs.evaluation_sets import evaluation_set
from modelparity.fixtures.specs import MODELS, ModelSpec
from modelparity.modelfiles.description import Artifact

CELLS = (("tflite", "fp32"), ("tflite", "int8_dynamic"), ("onnx", "fp32"), ("onnx", "int8_dynamic"))
IMAGES = 3
ROUNDS = 3
SIGMAS = 4  # a bit whose margin is beyond this many times the rms error must not flip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m modelparity.benchmarks.chunkyseal_full")
    parser.add_argument("--checkpoint", type=Path, help="the detector's weights; without, the goldens'")
    parser.add_argument("--folder", type=Path, help="for the files made on the way")
    parser.add_argument("--output", type=Path, default=Path("reports/chunkyseal-full.md"))
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chunkyseal-", dir=given.folder) as scratch:
        measured = measure(Path(scratch), given.checkpoint)
    text = markdown(measured)
    given.output.write_text(text, encoding="utf-8")
    print(text)


def measure(scratch: Path, checkpoint: Path | None) -> Measured:
    spec = MODELS["chunkyseal"].at("full")
    with Workers() as workers:
        source, conversions = "a checkpoint", []
        if checkpoint is None:
            source, checkpoint = "a checkpoint of the goldens' weights", scratch / "detector.pth"
            conversions.append(_extracted(workers, spec, scratch / "training.pth", checkpoint))
        bench = Workbench(Store(scratch / "store"), workers)
        subject = ModelUnderTest.of(spec, checkpoint)
        converted: dict[tuple[str, str], Artifact] = {}
        for format, quantization in CELLS:
            _said(f"{format} {quantization}")
            start = time.monotonic()
            artifact, meta = bench.artifact(subject, format, quantization)
            converted[format, quantization] = artifact
            conversions.append(_conversion(format, quantization, artifact, meta, time.monotonic() - start))
        exported = bench.exported(subject)
        conversions.insert(-len(CELLS), _conversion("torch.export", "", None, exported.meta, None))
        feeds = [{"image": sample.image[None]} for sample in evaluation_set(spec, 256, IMAGES)]
        latencies = [_compared(bench, format, converted, feeds) for format in ("tflite", "onnx")]
        size = checkpoint.stat().st_size
    machine = f"{os.cpu_count()} cores, {_processor()}, {_memory_gib():.0f} GiB"
    machine += f", Python {platform.python_version()}"
    return Measured(source, size, machine, tuple(conversions), tuple(latencies))


def _extracted(workers: Workers, spec: ModelSpec, training: Path, target: Path) -> Conversion:
    """The detector out of a training's checkpoint, which is written first and removed."""
    _said("writing a training's checkpoint")
    child = workers["torch"]
    child.call(
        "modelparity.benchmarks.chunkyseal_child:write_checkpoint", spec, training, timeout=CONVERT_TIMEOUT_S
    )
    child.close()
    size = training.stat().st_size
    _said(f"extract from {size / 1e9:.1f} GB")
    start = time.monotonic()
    read = child.call(
        "modelparity.converters.pretrained.extract:read_part", training, spec, timeout=CONVERT_TIMEOUT_S
    )
    partial = target.with_suffix(".partial")
    written = child.call(
        "modelparity.converters.pretrained.extract:write_part",
        training,
        spec,
        target,
        partial,
        timeout=CONVERT_TIMEOUT_S,
    )
    wall = time.monotonic() - start
    child.close()
    training.unlink()
    return Conversion(
        f"extract, from {size / 1e9:.1f} GB",
        wall,
        read.seconds + written.seconds,
        read.cpu_seconds + written.cpu_seconds,
        max(read.peak_bytes, written.peak_bytes),
        written.value,
        os.getloadavg()[0],
    )


def _conversion(
    format: str, quantization: str, artifact: Artifact | None, meta: Any, wall: float | None
) -> Conversion:
    return Conversion(
        f"{format} {quantization}".strip(),
        wall,
        meta["convert_s"],
        meta["convert_cpu_s"],
        meta["convert_peak_bytes"],
        artifact.bytes if artifact else None,
        os.getloadavg()[0],
    )


def _compared(
    bench: Workbench, format: str, converted: dict[tuple[str, str], Artifact], feeds: list[dict[str, Any]]
) -> Latency:
    """fp32 and int8 of one format: run in turns, so that the machine's moods meet both."""
    _said(f"{format}: latency")
    module = bench.converters[format].module
    opened = {}
    try:
        for quantization in ("fp32", "int8_dynamic"):
            worker = Worker(f"benchmark-{format}-{quantization}")
            path = converted[format, quantization].path
            worker.call(
                "modelparity.benchmarks.child:prepare",
                module,
                path,
                feeds[0],
                THREADS,
                timeout=CONVERT_TIMEOUT_S,
            )
            opened[quantization] = worker
        times: dict[str, list[float]] = {quantization: [] for quantization in opened}
        peaks = dict.fromkeys(opened, 0)
        for _ in range(ROUNDS):
            for quantization, worker in opened.items():
                reply = worker.call("modelparity.benchmarks.child:once", timeout=CONVERT_TIMEOUT_S)
                times[quantization] += reply.value
                peaks[quantization] = max(peaks[quantization], reply.peak_bytes)
        outputs = {
            quantization: np.concatenate(
                [
                    worker.call(
                        "modelparity.benchmarks.chunkyseal_child:preds", feed, timeout=CONVERT_TIMEOUT_S
                    ).value
                    for feed in feeds
                ]
            )
            for quantization, worker in opened.items()
        }
    finally:
        for worker in opened.values():
            worker.close()
    error = outputs["int8_dynamic"].astype(np.float64) - outputs["fp32"]
    rms = float(np.sqrt(np.mean(error**2)))
    margin = np.abs(outputs["fp32"][:, 1:])
    flipped = (outputs["fp32"][:, 1:] > 0) != (outputs["int8_dynamic"][:, 1:] > 0)
    return Latency(
        format,
        min(times["fp32"]),
        min(times["int8_dynamic"]),
        float(np.median(np.array(times["int8_dynamic"]) / np.array(times["fp32"]))),
        peaks["fp32"],
        peaks["int8_dynamic"],
        rms,
        float(outputs["fp32"].std()),
        int(margin.size),
        int(flipped.sum()),
        int((flipped & (margin > SIGMAS * rms)).sum()),
    )


def _said(words: str) -> None:
    print(f"{words} ({time.strftime('%H:%M:%S')})", file=sys.stderr, flush=True)


def _processor() -> str:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    kinds = [kind for kind in ("avx512_vnni", "avx_vnni", "avx512f", "avx2") if f" {kind} " in flags]
    return f"{platform.machine()} with {kinds[0] if kinds else 'no vector extension known here'}"


def _memory_gib() -> float:
    import psutil

    return float(psutil.virtual_memory().total / 2**30)


if __name__ == "__main__":
    main()
