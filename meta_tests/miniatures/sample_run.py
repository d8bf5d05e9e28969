"""Recorded runs as the gate leaves them, made up: every status, hostile texts, all 24 cells."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

from modelparity.parity.results import (
    ArtifactRecord,
    CellRecord,
    Claim,
    Cost,
    Crashed,
    Errored,
    Inconclusive,
    KeptFloat,
    Mismatched,
    Passed,
    Run,
    RunHeader,
    SampleRecord,
    Unsupported,
    WorstRecord,
)
from modelparity.parity.results_json import cell_line, end_line, header_line

OUTPUTS = {
    "objectformer": ("score", "mask"),
    "objectformer_detection": ("score",),
    "tiny_ladeda": ("score", "patch_logits"),
}
COLUMNS = tuple(
    (form, quantization)
    for form in ("onnx", "tflite")
    for quantization in ("fp32", "fp16", "int8_dynamic", "int8_static")
)
IDS = tuple("-".join((model, *column)) for model in OUTPUTS for column in COLUMNS)
VERSIONS = {"torch": "2.14.1", "onnx": "1.21.0", "onnxruntime": "1.24.2", "ai-edge-litert": "2.1.0"}
HEADER = RunHeader(
    models=tuple(OUTPUTS),
    columns=COLUMNS,
    weights=dict.fromkeys(OUTPUTS, "deterministic weights of the goldens, no checkpoint given"),
    machine={"cpu": "AMD EPYC 7B13", "cores": "2", "memory": "8 GB", "os": "Linux 6.1"},
    versions=VERSIONS,
    started="2025-11-21T09:53:00Z",
    expected=IDS,
)
MISSING = "objectformer_detection-tflite-fp16"
TRACE = "Traceback:\n  File `a`\n```\n| x"
SCRIPT = "<script>alert('x')</script>"


def _draw(key: str, low: float, high: float) -> float:
    """The same number for the same key, in every process."""
    return low + (high - low) * zlib.crc32(key.encode()) / 2**32


def _claims(model: str, form: str, quantization: str) -> tuple[Claim, ...]:
    outputs = OUTPUTS[model]
    names = ", ".join(outputs)
    key = f"{model}{form}{quantization}"
    int8 = quantization.startswith("int8")
    claims = [
        Claim("outputs named", "passed", names, names, "the model's signature, in order"),
        Claim("input shape", "passed", "batch, 3, 288, 288", "batch, 3, 288, 288", "the model's signature"),
        Claim("dtypes", "passed", "float32", "float32", "float32 at the boundary, whatever the recipe"),
        Claim("batch 3 as 3 of 1", "passed", 0.0, 1e-06, "the batch axis is declared dynamic"),
        Claim("lineage of weights", "passed", 0.4983, 0.5, "each within half a step", unit="step"),
        Claim("changed nodes", "passed", 0, 0, f"the float {form} file plus quantize steps and nothing else"),
    ]
    for output in outputs:
        floor, least = _draw(key + output, 1.1, 6.0), 24 if int8 else 60
        sqnr = _draw(output + key, 32, 41) if int8 else _draw(output + key, 68, 120)
        because = f"{model} {output}: a perturbed run is {least + 6} dB away"
        claims += [
            Claim("finite", "passed", 0, 0, "no input in range may give NaN or infinity", output),
            Claim("non_constant", "passed", _draw(key, 0.1, 0.6), 0.001, "spread of the reference", output),
            Claim(
                "conversion error",
                "passed",
                floor,
                8.0,
                "8 x own float32 noise floor",
                output,
                "x floor",
                "",
                "<=",
            ),
            Claim("SQNR", "passed", sqnr, least, because, output, "dB", "would pass at >= 31.9 dB", ">="),
            Claim("decisions changed", "passed", 0, 0, "a flip outside the error bound is a flip", output),
        ]
    return tuple(claims)


def cell(name: str) -> CellRecord:
    """A passed cell, as full as the gate records one."""
    model, form, quantization = name.rsplit("-", 2)
    int8, share = quantization.startswith("int8"), _draw(name, 0.9, 0.99)
    shares = {"int8": share, "float32": 1 - share} if int8 else {"float32": 1.0}
    shares = {"float16": 1.0} if quantization == "fp16" else shares
    samples = tuple(
        SampleRecord(f"photo-{i:02}", out, _draw(f"{name}{out}{i}", 0, 0.2), _draw(f"{i}{out}{name}", 30, 45))
        for out in OUTPUTS[model]
        for i in range(32)
    )
    ratio = 1.0 if quantization == "fp32" else _draw(name, 0.3, 1.3)
    kept = (KeptFloat("Softmax, LayerNorm", 24, "int8 softmax flips labels on 3 of 512 photographs"),)
    return CellRecord(
        id=name,
        model=model,
        format=form,
        quantization=quantization,
        size="reduced",
        outcome=Passed(),
        claims=_claims(model, form, quantization),
        artifact=ArtifactRecord(
            sha256=f"{zlib.crc32(name.encode()):08x}" * 8,
            bytes=int(_draw(name, 2e5, 4e7)),
            key=f"{zlib.crc32(name[::-1].encode()):08x}" * 8,
            weight_share=shares,
            arithmetic_share=shares,
            macs=4_812_993_024,
            kept_float=kept if int8 else (),
        ),
        not_asked={"kernels": "plain loops take 10 s an image"} if form == "tflite" else {},
        headline=f"{_draw(name, 32, 41):.1f} dB" if int8 else f"{_draw(name, 1, 6):.1f} x floor",
        samples=samples,
        worst=tuple(
            WorstRecord(out, "dB", 41.25, _draw(f"{name}{out}", 3, 30), "constant (0, 0, 255)")
            for out in OUTPUTS[model]
        ),
        cost=Cost(
            latency_median_s=0.0314 * ratio,
            latency_iqr_s=0.0009,
            rounds=30,
            threads=2,
            latency_ratio=ratio,
            latency_interval=None if quantization == "fp32" else (ratio * 0.97, ratio * 1.03),
            size_ratio=1.0 if quantization == "fp32" else 0.5 if quantization == "fp16" else 0.27,
            convert_s=_draw(name, 4, 90),
            convert_peak_bytes=int(_draw(name, 8e8, 2e9)),
            run_peak_bytes=int(_draw(name, 1e8, 4e8)),
            slower_than_float=int8 and ratio * 0.97 > 1,
        ),
        versions={"torch": "2.14.1", "onnxruntime": "1.24.2"},
        reproduce=(f"pytest parity -k {name}",),
    )


def green_run() -> Run:
    """All 24 cells passed."""
    return Run(HEADER, tuple(cell(name) for name in IDS), 1234.5)


def mixed_run() -> Run:
    """Every status, one missing cell, cached evidence, and texts that break careless writers."""
    crashed = "objectformer_detection-tflite-int8_static"
    changed = {
        "objectformer-tflite-int8_static": _mismatched(cell("objectformer-tflite-int8_static")),
        crashed: _crashed(cell(crashed)),
        "tiny_ladeda-tflite-fp16": replace(
            cell("tiny_ladeda-tflite-fp16"),
            outcome=Errored("convert", f"no rule for aten::im2col | {SCRIPT}", TRACE),
            claims=(),
            artifact=None,
            headline="",
            samples=(),
            cost=Cost(),
        ),
        "tiny_ladeda-tflite-int8_static": replace(
            cell("tiny_ladeda-tflite-int8_static"),
            outcome=Unsupported("run", "XNNPACK has no int8 5x5 kernel", "https://example.org/issues/1"),
            claims=(Claim("SQNR", "failed", 3.25, 24.0, "declared", "score", "dB", "", ">="),),
            headline="",
        ),
        "tiny_ladeda-onnx-int8_dynamic": _inconclusive(cell("tiny_ladeda-onnx-int8_dynamic")),
        "objectformer-onnx-fp32": replace(cell("objectformer-onnx-fp32"), cached=True),
    }
    cells = tuple(changed.get(name) or cell(name) for name in IDS if name != MISSING)
    return Run(HEADER, cells, 1234.5)


def _mismatched(passed: CellRecord) -> CellRecord:
    detail = (
        "worst sample 6 of 32 (東京.jpg); greatest |error| 0.213 at (0, 417); would pass at SQNR >= 18.2 dB\n"
        "conversion itself is right: 41.0 dB against the simulated rounding; "
        "int8 is too coarse at stages.3.1.pwconv2 (worst of 39 blocks)"
    )
    because = f"int8_static: bits flip | below 24 dB {SCRIPT} _so_ *it* is `said`"
    failed = Claim("SQNR", "failed", 18.2, 30.0, because, "mask", "dB", detail, ">=")
    claims = tuple(failed if (c.name, c.output) == ("SQNR", "mask") else c for c in passed.claims)
    return replace(passed, outcome=Mismatched(), claims=claims, headline="18.2 dB")


def _crashed(passed: CellRecord) -> CellRecord:
    log = "\x1b[31mINFO\x1b[0m: delegate\x00\x07 created\r\n" + "frame\n" * 60 + "\ufffe ]]> & <end> \ud800"
    outcome = Crashed("run", "SIGSEGV", "the runner died in AllocateTensors", log)
    return replace(passed, outcome=outcome, claims=passed.claims[:4], headline="", samples=(), cost=Cost())


def _inconclusive(passed: CellRecord) -> CellRecord:
    undecided = Claim("non_constant", "inconclusive", 2e-05, 0.001, "spread of the reference", "score")
    claims = (undecided, *passed.claims[1:])
    outcome = Inconclusive("score hardly varies on this stream")
    return replace(passed, outcome=outcome, claims=claims, headline="")


def record(run: Run, path: Path) -> Path:
    """The run as the gate writes it; a lone surrogate is escaped, as JSON allows."""
    lines = [header_line(run.header), *map(cell_line, run.cells)]
    if run.duration_s is not None:
        lines.append(end_line(run.duration_s))
    path.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
    return path
