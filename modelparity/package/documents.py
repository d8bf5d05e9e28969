"""Writes the scripts and documents of a package from the templates beside this module."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from modelparity.benchmarks.costs import THREADS
from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.lookup import named
from modelparity.fixtures.specs import ModelSpec
from modelparity.gate import machine, versions
from modelparity.modelfiles.formats import FILE_FORMATS
from modelparity.package.exported_program import FORMAT as PYTORCH
from modelparity.package.specs import Packaged, preprocessing_of
from modelparity.parity.results import Run, Unsupported
from modelparity.parity.session import Session

TEMPLATES = Path(__file__).parent / "templates"
_WHAT_FOR = {PYTORCH: "torch.export program: network and weights in one"}


def write_documents(
    session: Session,
    model: str,
    folder: Path,
    *,
    weights: str,
    trained: bool,
    run: Run | None,
    files: Sequence[Packaged],
) -> None:
    """Writes `inference/` and `docs/`."""
    spec = session.subject(model).photographs
    values = _values(session, spec, weights=weights, trained=trained, run=run, files=files)
    inference, docs = folder / "inference", folder / "docs"
    examples = docs / "deployment_examples"
    for directory in (inference, examples):
        directory.mkdir(parents=True)
    written = {
        inference / "preprocessing.py": "preprocessing.py",
        inference / "postprocessing.py": f"postprocessing_{spec.task}.py",
        inference / "inference_wrapper.py": "inference_wrapper.py",
        docs / "usage_guide.md": "usage_guide.md",
        docs / "performance_comparison.md": "performance_comparison.md",
        examples / "mobile_deployment.md": "mobile_deployment.md",
    }
    for format in (PYTORCH, *CONVERTERS):
        name = f"{format}_inference.py"
        if values[f"{format}_example"] and (TEMPLATES / f"{name}.jinja").is_file():
            written[examples / name] = name
    environment = Environment(  # plain text, no HTML
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for path, name in written.items():
        path.write_text(environment.get_template(f"{name}.jinja").render(values), encoding="utf-8")
    (inference / "benchmarks.json").write_text(_benchmarks(run, files), encoding="utf-8")


def _values(
    session: Session,
    spec: ModelSpec,
    *,
    weights: str,
    trained: bool,
    run: Run | None,
    files: Sequence[Packaged],
) -> dict[str, Any]:
    """The values of the templates."""
    n = session.subject(spec.name).input_size
    first = {
        format: next((file for file in files if file.format == format), None)
        for format in (PYTORCH, *CONVERTERS)
    }
    runnable = next((file for format in CONVERTERS if (file := first[format])), None)
    specs = list({file.spec.name: file.spec for file in files}.values())
    mobile = [file for file in files if file.format != PYTORCH and FILE_FORMATS[file.format].signature_name]
    return {
        "title": spec.title.partition(",")[0],
        "weights": weights,
        "trained": trained,
        "pretrained": spec.name if trained else "",
        "failed": [file.place for file in files if not file.record.green],
        "example": runnable.place if runnable else "",
        **{f"{format}_example": file.place if file else "" for format, file in first.items()},
        "runtimes": " ".join(FILE_FORMATS[format].runtime for format in CONVERTERS if first[format]),
        "needs": " or ".join(f"{form.runtime} for {form.suffix} files" for form in FILE_FORMATS.values()),
        "openers": ", ".join(f'"{form.suffix}": _{form.name}' for form in FILE_FORMATS.values()),
        "open_files": [named(form.usage).open_file for form in FILE_FORMATS.values()],
        "torch": versions()["torch"],
        "files": [_file_row(file) for file in files],
        "side": n,
        "image_bytes": f"{3 * n * n * 4:,}",
        "preprocessing": preprocessing_of(spec),
        "normalised": spec.preprocessing.normalises,
        "variants": [_variant(variant, n) for variant in specs],
        "left_out": [
            {"id": cell.id, "reason": f"known limitation: {cell.outcome.reason}"}
            for cell in (run.cells if run else ())
            if isinstance(cell.outcome, Unsupported)
        ],
        "machine": _machine_words(),
        "threads": THREADS,
        "rows": [_row(file) for file in files],
        "slower": [f"`{file.place}`" for file in files if file.record.cost.slower_than_float],
        "mobile": [
            {**_file_row(file), "inputs": _ports(file, "inputs"), "outputs": _ports(file, "outputs")}
            for file in mobile
        ],
        "mobile_name": mobile[0].path.name if mobile else "",
        "signature": _signature(session, mobile[0]) if mobile else "",
    }


def _signature(session: Session, file: Packaged) -> str:
    return str(session.workers[file.format].call(FILE_FORMATS[file.format].signature_name, file.path).value)


def _file_row(file: Packaged) -> dict[str, str]:
    kind = _WHAT_FOR.get(file.format) or QUANTIZATIONS[file.quantization].title
    words = f"{file.spec.title}; {kind}"
    return {"path": file.place, "size": size_words(file.entry["bytes"]), "words": words}


def size_words(count: int) -> str:
    """Such as `137.6 MB`; kB below a megabyte."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _machine_words() -> str:
    about = machine()
    words = f"{about['cpu']}, {about['cores']} cores, {about['memory']}"
    return f"{words}, {about['system']}, Python {about['python']}"


def _ports(file: Packaged, way: str) -> str:
    return ", ".join(f"`{port['name']}` {port['dtype']} {port['shape']}" for port in file.entry[way])


def _variant(spec: ModelSpec, n: int) -> dict[str, Any]:
    outputs = [
        {"name": output.name, "shape": str(list(output.shape)).replace("'", ""), "meaning": output.meaning}
        for output in spec.signature(n).outputs
    ]
    return {"title": spec.title, "outputs": outputs}


def _row(file: Packaged) -> dict[str, str]:
    cost = file.record.cost
    latency = "not measured"
    if cost.latency_median_s is not None:
        spread = f" ± {cost.latency_iqr_s / 2 * 1000:.2g}" if cost.latency_iqr_s is not None else ""
        latency = f"{cost.latency_median_s * 1000:.3g}{spread} ms"
    ratio = f"{cost.latency_ratio:.2f}" if cost.latency_ratio is not None else ""
    if cost.latency_interval:
        ratio += " ({:.2f} to {:.2f})".format(*cost.latency_interval)
    return {
        "file": file.place,
        "verdict": file.record.status if file.record.green else f"**{file.record.status.upper()}**",
        "accuracy": file.record.headline,
        "size": size_words(file.entry["bytes"]),
        "size_ratio": f"{cost.size_ratio:.2f}" if cost.size_ratio is not None else "",
        "latency": latency,
        "latency_ratio": ratio,
        "memory": size_words(cost.run_peak_bytes) if cost.run_peak_bytes is not None else "",
    }


def _benchmarks(run: Run | None, files: Sequence[Packaged]) -> str:
    """Only measured numbers, as JSON; null where nothing was measured."""
    content = {
        "machine": run.header.machine if run else machine(),
        "versions": run.header.versions if run else versions(),
        "measured": run.header.started if run else None,
        "files": {
            file.place: {
                "bytes": file.entry["bytes"],
                "sha256": file.entry["sha256"],
                "verdict": file.record.status,
                "accuracy": file.record.headline,
                "claims": len(file.record.claims),
                **asdict(file.record.cost),
            }
            for file in files
        },
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
