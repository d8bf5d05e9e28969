"""Describes a model file, whatever its format: the first bytes tell that.

A file's name decides nothing. Raises `NotAModelError` for a file of another kind, `BrokenModelError` for
one that bears a format's marks but cannot be read to its end, and lets `FileNotFoundError` pass.
"""

from __future__ import annotations

from pathlib import Path

from modelparity.modelfiles.description import Description
from modelparity.modelfiles.formats import format_of


def describe(path: Path) -> Description:
    """Everything that a model file says of itself, whatever it is called."""
    description: Description = format_of(path).call("describe", path)
    return description
