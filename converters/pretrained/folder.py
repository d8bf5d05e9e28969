"""Writes a folder of clean weights: both file types, metadata, and a report that proves them right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelparity.converters.pretrained.metadata import described
from modelparity.converters.pretrained.weights import SUFFIXES, PretrainedResult, write_pretrained
from modelparity.fixtures.checkpoints.files import open_checkpoint
from modelparity.fixtures.specs import ModelSpec
from modelparity.fixtures.whole_files import partial_of, sync


def write_pretrained_folder(checkpoint: Path, spec: ModelSpec, folder: Path) -> list[PretrainedResult]:
    """`<model>_pretrained.pth` and `.safetensors`, `<model>_metadata.json`, `validation_report.txt`.

    Files of these names are replaced once all are written and proven; what else lies in the folder
    stays. Raises as `write_pretrained` does.
    """
    partial = partial_of(folder)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        names = [f"{spec.name}_pretrained{suffix}" for suffix in SUFFIXES]
        for name in names:
            if (folder / name).exists() and (folder / name).samefile(checkpoint):
                raise ValueError(
                    f"{folder / name}: is the checkpoint itself, whose training state would be lost"
                )
        results = [write_pretrained(checkpoint, spec, partial / name) for name in names]
        metadata = json.dumps(_metadata(results, checkpoint), indent=1) + "\n"
        (partial / f"{spec.name}_metadata.json").write_text(metadata, encoding="utf-8")
        report = "\n".join(_report(results, checkpoint)) + "\n"
        (partial / "validation_report.txt").write_text(report, encoding="utf-8")
        written = sorted(partial.iterdir())
        for path in written:
            sync(path)
        folder.mkdir(exist_ok=True)
        for path in written:
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [replace(result, path=folder / result.path.name) for result in results]


def _metadata(results: list[PretrainedResult], checkpoint: Path) -> dict[str, Any]:
    first = results[0]
    spec, preprocessing = first.spec, first.spec.preprocessing
    return {
        **described(first.metadata, spec),
        "network": {
            "model": spec.name,
            "title": spec.title,
            "settings": spec.values,
            "parameters": first.parameters,
            "tensors": len(first.shapes),
            "input_sizes": list(spec.input_sizes),
            "outputs": {output.name: output.meaning for output in spec.outputs},
        },
        "preprocessing": {
            "colour": "RGB",
            "resize": preprocessing.resample,
            "scale": "0..255 to 0..1",
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
        },
        "source": {"file": checkpoint.name, "sha256": first.source_sha256, "weights": first.source},
        "files": {
            result.path.name: {"sha256": result.sha256, "bytes": result.bytes_after} for result in results
        },
        "configuration": {
            name: value for name, value in first.metadata.items() if name not in ("metadata", "modelparity")
        },
    }


def _report(results: list[PretrainedResult], checkpoint: Path) -> Iterator[str]:
    first = results[0]
    yield f"{first.spec.title}: clean weights from {checkpoint.name}"
    yield ""
    yield f"source      {first.source}"
    yield f"            sha256 {first.source_sha256}, {first.bytes_before:,} bytes"
    if removed := _removed(checkpoint, first):
        yield f"removed     {', '.join(removed)}"
    for result in results:
        saved = result.bytes_before - result.bytes_after
        yield f"written     {result.path.name}"
        yield f"            sha256 {result.sha256}, {result.bytes_after:,} bytes"
        share = saved / result.bytes_before
        yield (
            f"            {saved:,} bytes saved ({share:.1%})"
            if saved > 0
            else f"            {-saved:,} bytes more"
        )
    yield f"parameters  {first.parameters:,} in {len(first.shapes)} tensors"
    yield ""
    yield "The network loads each file strictly (every key present, none left over, every shape right),"
    yield "each tensor equals the checkpoint's, and the outputs are the same bytes before and after:"
    width = max(map(len, first.outputs))
    for name, digest in first.outputs.items():
        same = all(result.outputs[name] == digest for result in results)
        yield f"  {name:{width}}  {'identical' if same else 'DIFFERENT'}  sha256 {digest}"
    yield ""
    width = max(map(len, first.shapes))
    yield f"{'key':{width}}  shape"
    for key, shape in first.shapes.items():
        yield f"{key:{width}}  {list(shape)}"


def _removed(checkpoint: Path, result: PretrainedResult) -> list[str]:
    """Top-level entries of the checkpoint that were left behind: the state of training."""
    content = open_checkpoint(checkpoint).content
    if not isinstance(content, dict):
        return []
    taken = result.source.partition(" of ")[0].partition(".")[0].removeprefix("EMA weights (").rstrip(")")
    kept = {*result.metadata, *result.shapes, taken, "metadata"}
    bare = result.source.startswith("bare state dict")
    return [] if bare else [str(name) for name in content if str(name) not in kept]
