"""Registers the converters by format, and the second routes to a format by their toolchain's name."""

from __future__ import annotations

from collections.abc import Mapping

from modelparity.converters.converter import Converter
from modelparity.fixtures.lookup import named
from modelparity.modelfiles.formats import NAMES

# Toolchains that make files of a format which another converter makes, too: an independent check of it.
_ROUTES = ("onnx2tf",)


def _converter(name: str) -> Converter:
    converter: Converter = named(f"modelparity.converters.{name}.format:CONVERTER")
    return converter


CONVERTERS: Mapping[str, Converter] = {name: _converter(name) for name in NAMES}
ROUTES: Mapping[str, Converter] = {name: _converter(name) for name in _ROUTES}


def packages_of(format: str) -> tuple[str, ...]:
    """The packages of a format: what is known of its files, and how they are made and run."""
    return (f"modelparity.modelfiles.{format}", f"modelparity.converters.{format}")


def modules_of(format: str) -> tuple[str, ...]:
    """The modules that name everything of a format."""
    return tuple(f"{package}.format" for package in packages_of(format))
