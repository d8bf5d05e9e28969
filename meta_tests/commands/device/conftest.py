"""The miniature's float file and int8 file, each with feeds and the outputs of a right device."""

from __future__ import annotations

import pytest

from meta_tests.commands.device.device import Case
from meta_tests.miniatures.miniature import DECIDED, cell, session_of
from modelparity.converters.engine.workers import Workers
from modelparity.device.target import Target

CELLS = [("onnx", "fp32"), ("onnx", "int8_static"), ("tflite", "fp32")]


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    """By (format, quantization)."""
    store, made, sessions = tmp_path_factory.mktemp("store"), {}, []
    for format, quantization in CELLS:
        session = session_of([format], store, quantization, spec=DECIDED, workers=Workers())
        sessions.append(session)
        folder = tmp_path_factory.mktemp(f"{format}-{quantization}")
        target = Target(DECIDED, cell(format, quantization), own=True)
        case = Case(session, target, folder / "feeds", folder / "outputs")
        case.write()
        made[format, quantization] = case
    yield made
    for session in sessions:
        session.workers.close()


@pytest.fixture
def case(cases, tmp_path):
    """The float file's in ONNX, with folders of its own."""
    return cases["onnx", "fp32"].copy(tmp_path)
