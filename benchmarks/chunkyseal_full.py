"""Measures what ChunkySeal costs at full size.

    python -m modelparity.benchmarks.chunkyseal_full [--checkpoint PATH]

Converts 773.7 M parameters from a checkpoint with the project's own code, runs fp32 and int8 alternately, and
writes `reports/measurements/chunkyseal-full.md`, beside the numbers of a published guide. Without a
checkpoint it writes a training checkpoint with the goldens' weights and extracts the detector from that.
Takes about 13 GB of memory and 25 GB of disk. Uses a store of its own, so that every step is run and timed.
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
from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.store import Store
from modelparity.converters.engine.workbench import Workbench
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, Worker, Workers
from modelparity.fixtures.inputs.evaluation_sets import evaluation_set
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import ModelSpec
from modelparity.fixtures.whole_files import replaced
from modelparity.modelfiles.description import Artifact

CELLS = (("tflite", "fp32"), ("tflite", "int8_dynamic"), ("onnx", "fp32"), ("onnx", "int8_dynamic"))
IMAGES = 3
ROUNDS = 3
SIGMAS = 4  # a bit must not flip if its margin is more than this many times the rms error


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m modelparity.benchmarks.chunkyseal_full")
    parser.add_argument("--checkpoint", type=Path, help="the detector's weights; the goldens' if not given")
    parser.add_argument("--folder", type=Path, help="for temporary files")
    parser.add_argument("--output", type=Path, default=Path("reports/measurements/chunkyseal-full.md"))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chunkyseal-", dir=options.folder) as scratch:
        measured = measure(Path(scratch), options.checkpoint)
    text = markdown(measured)
    options.output.write_text(text, encoding="utf-8")
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
            _progress(f"{format} {quantization}")
            start = time.monotonic()
            artifact, meta = bench.artifact(subject, format, quantization)
            converted[format, quantization] = artifact
            elapsed = time.monotonic() - start
            conversions.append(_conversion(f"{format} {quantization}", meta, artifact=artifact, wall=elapsed))
        exported = bench.exported(subject)
        conversions.insert(-len(CELLS), _conversion("torch.export", exported.meta, artifact=None, wall=None))
        feeds = [{"image": sample.image[None]} for sample in evaluation_set(spec, 256, IMAGES)]
        latencies = [_compared(bench, format, converted, feeds) for format in ("tflite", "onnx")]
        size = checkpoint.stat().st_size
    machine = f"{os.cpu_count()} cores, {_processor()}, {_memory_gib():.0f} GiB"
    machine += f", Python {platform.python_version()}"
    return Measured(source, size, machine, tuple(conversions), tuple(latencies))


def _extracted(workers: Workers, spec: ModelSpec, training: Path, target: Path) -> Conversion:
    """Extracts the detector from a training checkpoint, which is written first and removed afterwards."""
    _progress("writing a training checkpoint")
    child = workers["torch"]
    child.call(
        "modelparity.benchmarks.chunkyseal_child:write_checkpoint", spec, training, timeout=CONVERT_TIMEOUT_S
    )
    child.close()
    size = training.stat().st_size
    _progress(f"extract from {size / 1e9:.1f} GB")
    start = time.monotonic()
    read = child.call(
        "modelparity.converters.pretrained.extract:read_part", training, spec, timeout=CONVERT_TIMEOUT_S
    )
    with replaced(target) as (partial,):
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
        name=f"extract, from {size / 1e9:.1f} GB",
        wall_s=wall,
        s=read.seconds + written.seconds,
        cpu_s=read.cpu_seconds + written.cpu_seconds,
        peak_bytes=max(read.peak_bytes, written.peak_bytes),
        bytes=target.stat().st_size,
        load=os.getloadavg()[0],
    )


def _conversion(name: str, meta: Any, *, artifact: Artifact | None, wall: float | None) -> Conversion:
    return Conversion(
        name=name,
        wall_s=wall,
        s=meta["convert_s"],
        cpu_s=meta["convert_cpu_s"],
        peak_bytes=meta["convert_peak_bytes"],
        bytes=artifact.bytes if artifact else None,
        load=os.getloadavg()[0],
    )


def _compared(
    bench: Workbench, format: str, converted: dict[tuple[str, str], Artifact], feeds: list[dict[str, Any]]
) -> Latency:
    """fp32 and int8 of one format, run alternately so that other load on the machine affects both."""
    _progress(f"{format}: latency")
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
        format=format,
        fp32_s=min(times["fp32"]),
        int8_s=min(times["int8_dynamic"]),
        ratio=float(np.median(np.array(times["int8_dynamic"]) / np.array(times["fp32"]))),
        fp32_peak=peaks["fp32"],
        int8_peak=peaks["int8_dynamic"],
        rms_error=rms,
        spread=float(outputs["fp32"].std()),
        bits=int(margin.size),
        flipped=int(flipped.sum()),
        flipped_beyond=int((flipped & (margin > SIGMAS * rms)).sum()),
    )


def _progress(words: str) -> None:
    print(f"{words} ({time.strftime('%H:%M:%S')})", file=sys.stderr, flush=True)


def _processor() -> str:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    present = [name for name in ("avx512_vnni", "avx_vnni", "avx512f", "avx2") if f" {name} " in flags]
    return f"{platform.machine()} with {present[0] if present else 'no known vector extension'}"


def _memory_gib() -> float:
    import psutil

    return float(psutil.virtual_memory().total / 2**30)


if __name__ == "__main__":
    main()
