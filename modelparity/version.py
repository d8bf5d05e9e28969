"""Which modelparity this is."""

from __future__ import annotations

import importlib.metadata


def own_version() -> str:
    """The installed version; a clone that runs without being installed has none."""
    try:
        return importlib.metadata.version("modelparity")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
