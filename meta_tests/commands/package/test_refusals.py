"""Nothing unproven gets into a release folder, and nothing half done stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meta_tests.commands.command_line import modelparity
from meta_tests.commands.package.release import of_checkpoint, specs_of
from modelparity.package.package import MANIFEST, Plan


def red(monkeypatch) -> None:
    from modelparity.package import package as module

    honest = module.run_gate

    def lying(*arguments, **options):
        from modelparity.parity.results import Claim, Mismatched

        run = honest(*arguments, **options)
        claim = Claim("float_parity", "failed", 99, 8, "a test", "score")
        first = replace(run.cells[0], outcome=Mismatched(), claims=(claim,))
        return replace(run, cells=(first, *run.cells[1:]))

    monkeypatch.setattr(module, "run_gate", lying)


def test_a_red_cell_is_not_packaged(package, world, tmp_path, monkeypatch):
    red(monkeypatch)
    before = (package / MANIFEST).read_bytes()
    arguments = (*of_checkpoint(world), "--formats", "onnx")
    result = modelparity("package", "tiny_ladeda", "--output", package, *arguments)
    assert result.exit_code == 1
    assert "FAIL: tiny_ladeda-onnx-fp32: score float_parity = 99" in result.stdout
    assert "was not written" in result.stdout
    assert (package / MANIFEST).read_bytes() == before

    forced = modelparity(
        "package", "tiny_ladeda", "--output", tmp_path / "out", *arguments, "--include-failed"
    )
    assert forced.exit_code == 0, forced.output
    assert "onnx/tiny_ladeda.onnx FAILED its proof" in forced.stderr
    for path in (tmp_path / "out" / "docs").glob("*.md"):
        assert "FAILED verification" in path.read_text()
    assert specs_of(tmp_path / "out", "onnx")["models"]["tiny_ladeda.onnx"]["verdict"] == "mismatched"


def test_a_failure_harms_nothing(package, world, monkeypatch):
    def broken(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("modelparity.package.package.write_documents", broken)
    before = {path: path.read_bytes() for path in package.rglob("*") if path.is_file()}
    arguments = (*of_checkpoint(world), "--formats", "onnx")
    result = modelparity("package", "tiny_ladeda", "--output", package, *arguments)
    assert result.exit_code == 2
    assert "no space left" in result.stderr
    assert {path: path.read_bytes() for path in package.rglob("*") if path.is_file()} == before
    assert not list(package.parent.glob(".*"))


def test_names_follow_from_the_models():
    plan = Plan("objectformer", Path(), None, ("onnx",), ("fp32", "fp16"))
    assert plan.variants == {
        "objectformer": "objectformer_full",
        "objectformer_detection": "objectformer_detection",
    }
    assert [cell.id for cell in plan.cells] == [
        "objectformer-onnx-fp32",
        "objectformer-onnx-fp16",
        "objectformer_detection-onnx-fp32",
        "objectformer_detection-onnx-fp16",
    ]
    assert Plan("tiny_ladeda", Path(), None, (), ()).variants == {"tiny_ladeda": "tiny_ladeda"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["objectfromer"], "did you mean objectformer"),
        (["--formats", "onxx"], "no such format: 'onxx'; did you mean onnx?"),
        (["--quantizations", "fp32,int4"], "no such quantization: 'int4'"),
        (["--output", "HERE"], "holds theirs.txt, which belongs to no package; choose another folder"),
        (["--checkpoint", "HERE/none.pth", "--formats", "pytorch"], "none.pth: no such file"),
    ],
)
def test_refusals(tmp_path, world, arguments, words):
    here = tmp_path / "here"
    here.mkdir()
    (here / "theirs.txt").write_text("mine")
    arguments = [argument.replace("HERE", str(here)) for argument in arguments]
    output = [] if "--output" in arguments else ["--output", tmp_path / "out"]
    result = modelparity("package", *arguments, *output)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert not (tmp_path / "out").exists()
    assert [path.name for path in here.iterdir()] == ["theirs.txt"]
