"""The version of modelparity."""

from __future__ import annotations

import importlib.metadata


def own_version() -> str:
    """The installed version, or "not installed" for a clone that runs without being installed."""
    try:
        return importlib.metadata.version("modelparity")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
