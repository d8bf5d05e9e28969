"""The quick checks of `verify`: what they print of a good file, and that each can fail."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from modelparity.converters.engine.child import Reply
from modelparity.converters.engine.workers import WorkerFailedError
from modelparity.fixtures.models import MODELS
from modelparity.modelfiles.description import Description, Port
from modelparity.verification import quick_checks

SPEC = MODELS["chunkyseal"]
PREDS = np.array([[-0.5, *np.resize([1.0, -1.0, 2.0], 32)]], np.float32)


class Session:
    """As much of a session as the checks ask for; `outputs` are told one after another."""

    def __init__(self, *outputs: np.ndarray, fails: str = "") -> None:
        self._outputs = iter(outputs)
        self._fails = fails
        self.workers = {"onnx": SimpleNamespace(call=self._call)}
        self.bench = SimpleNamespace(
            converters={"onnx": SimpleNamespace(module="modelparity.converters.onnx.convert")}, run=self._run
        )

    def _call(self, *_: object, **__: object) -> None:
        if self._fails == "load":
            raise WorkerFailedError("f", Reply(None, 0.0, 0, "RuntimeError: not for this runtime"))

    def _run(self, *_: object) -> list[dict[str, np.ndarray]]:
        if self._fails == "run":
            raise WorkerFailedError("f", Reply(None, 0.0, 0, "RuntimeError: no kernel"))
        return [{"preds": next(self._outputs)}]

    def subject(self, _: str) -> SimpleNamespace:
        return SimpleNamespace(signature=SPEC.signature(), spec=SPEC, input_size=256)

    def inputs(self, _: str) -> SimpleNamespace:
        return SimpleNamespace(names=("astronaut-crop0",))

    def feeds(self, _: str) -> list[dict[str, np.ndarray]]:
        return [{"image": np.zeros((1, 3, 256, 256), np.float32)}]


def checks_of(session: Session, tmp_path: Path, outputs: int = 33) -> quick_checks.Checks:
    path = tmp_path / "file.onnx"
    path.write_bytes(b"x" * (3 << 20))
    description = Description(
        "onnx",
        "fp32",
        (Port("image", ("batch", 3, 256, 256), "float32"),),
        (Port("preds", ("batch", outputs), "float32"),),
    )
    return quick_checks.checked(session, "chunkyseal", path=path, description=description)  # type: ignore[arg-type]


def test_a_good_file_reads_as_published(tmp_path):
    checks = checks_of(Session(PREDS, PREDS), tmp_path)
    assert [check.name for check in checks.results] == [
        *("Model Loading", "Shape Validation", "Inference Test", "Output Range", "Consistency")
    ]
    text = quick_checks.lines(checks)
    for line in (
        "Loading ONNX model...",
        "✓ Model loaded successfully",
        "  Input shape: (1, 3, 256, 256)",
        "  Output shape: (1, 33)",
        "  Model size: 3.00 MiB",
        "✓ Inference complete",
        "  Confidence: -0.500000",
        f"  Message (first 32 bits): [{' '.join(np.resize(list('101'), 32))}]",
        "  Total 1 bits: 21/32",
        "✓ Verification complete",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("failed", "session", "outputs"),
    [
        ("Model Loading", Session(fails="load"), 33),
        ("Inference Test", Session(fails="run"), 33),
        ("Shape Validation", Session(PREDS, PREDS), 1025),
        ("Output Range", Session(PREDS * np.nan, PREDS * np.nan), 33),
        ("Consistency", Session(PREDS, PREDS + 1e-6), 33),
    ],
)
def test_each_check_can_fail(tmp_path, failed, session, outputs):
    checks = checks_of(session, tmp_path, outputs)
    assert [check.name for check in checks.results if not check.passed] == [failed]
    assert quick_checks.lines(checks)[-1] == "✗ Verification failed"


def test_a_file_of_the_other_size_is_told_apart(tmp_path):
    from modelparity.errors import BadInputError
    from modelparity.verification.verify import expect_definition

    def described(outputs: int) -> Description:
        return Description("onnx", "fp32", (), (Port("preds", ("batch", outputs), "float32"),))

    with pytest.raises(BadInputError, match="--size full"):
        expect_definition(tmp_path, described(1025), SPEC, "reduced")
    with pytest.raises(BadInputError, match="--size reduced"):
        expect_definition(tmp_path, described(33), SPEC, "full")
    # Neither: the claims say what is wrong.
    expect_definition(tmp_path, described(7), SPEC, "reduced")
