"""Plants one fault in a copy of a model file, as a broken converter or a careless hand would leave it.

Every format is edited through its `Editor`, so that a fault is written once: in weights (`weights`,
`rounding`), or in what goes in and comes out (`ports`). Faults in operators (attributes, pads, residual
branches) are written in each format's editor.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelparity.modelfiles.editor import Editor, Planted
from modelparity.modelfiles.formats import FILE_FORMATS, format_of
from modelparity.modelfiles.mutations import ports, rounding, weights


def editor(format: str, source: Path) -> Editor:
    """Opens a file of the format."""
    # By its bytes where a test's converter bears a name that is no format's.
    known = FILE_FORMATS[format] if format in FILE_FORMATS else format_of(source)
    opened: Editor = known.call("editor", source)
    return opened


def plant(format: str, source: Path, target: Path, fault: str, *, options: Mapping[str, Any]) -> Planted:
    """Writes `source` to `target` with the fault, and says where it is.

    `fault` names a function of `weights`, `rounding` or `ports`, a method of `Editor`, or "truncated";
    `options` are what it takes.

    Raises:
        NotApplicableError: the file has no such thing, or the edit changes nothing.
    """
    if fault == "truncated":
        data = source.read_bytes()
        target.write_bytes(data[: len(data) * 2 // 3])
        return Planted(f"{len(data) * 2 // 3:,} of {len(data):,} bytes", ())
    file = editor(format, source)
    modules = (weights, rounding, ports)
    mutate = next((getattr(module, fault) for module in modules if hasattr(module, fault)), None)
    words = mutate(file, **options) if mutate else getattr(file, fault)(**options)
    file.save(target)
    return Planted(words, tuple(dict.fromkeys(file.touched)))
