"""Plants one fault in a copy of a model file, as a broken converter or a careless hand would leave it.

Both formats are edited through `Editor`, so that a fault is written once: on weights in
`faults_weights` and `faults_rounded`, on what goes in and comes out in `faults_ports`. What only one
format's operators know (attributes, pads, residual branches) stands with its editor, `faults_onnx` and
`faults_tflite`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelparity.modelfiles.editor import Editor, Planted
from modelparity.modelfiles.formats import FILE_FORMATS


def editor(format: str, source: Path) -> Editor:
    """Opens a file of the format."""
    opened: Editor = FILE_FORMATS[format].call("editor", source)
    return opened


def plant(format: str, source: Path, target: Path, fault: str, options: Mapping[str, Any]) -> Planted:
    """Writes `source` to `target` with the fault, and says where it is.

    `fault` names a function of `faults_weights`, `faults_rounded` or `faults_ports`, a method of `Editor`, or
    "truncated"; `options` are what it takes. Raises `NotApplicableError` where the file has no such
    thing, and where the edit changes nothing.
    """
    if fault == "truncated":
        data = source.read_bytes()
        target.write_bytes(data[: len(data) * 2 // 3])
        return Planted(f"{len(data) * 2 // 3:,} of {len(data):,} bytes", ())
    from modelparity.modelfiles.mutations import ports as faults_ports
    from modelparity.modelfiles.mutations import rounding
    from modelparity.modelfiles.mutations import weights as faults_weights

    file = editor(format, source)
    homes = (faults_weights, rounding, faults_ports)
    found = next((getattr(home, fault) for home in homes if hasattr(home, fault)), None)
    words = found(file, **options) if found else getattr(file, fault)(**options)
    file.save(target)
    return Planted(words, tuple(dict.fromkeys(file.touched)))
