"""The release folder: its tree, its specifications, and that its code runs for a stranger."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from meta_tests.commands.command_line import modelparity
from meta_tests.commands.package.release import expected, of_checkpoint, specs_of, stranger
from modelparity.package.package import MANIFEST


def test_the_tree(package):
    names = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert names - {name for name in names if name.startswith("docs/evidence/")} == {
        "package.json",
        "pretrained/tiny_ladeda_pretrained.pth",
        "pretrained/tiny_ladeda_pretrained.safetensors",
        "pretrained/tiny_ladeda_metadata.json",
        "pretrained/validation_report.txt",
        "pytorch/tiny_ladeda.pt2",
        "pytorch/model_specs.json",
        "onnx/tiny_ladeda.onnx",
        "onnx/tiny_ladeda.onnx.verdict.json",
        "onnx/model_specs.json",
        "tflite/tiny_ladeda.tflite.verdict.json",
        "tflite/tiny_ladeda.tflite",
        "tflite/model_specs.json",
        "inference/inference_wrapper.py",
        "inference/preprocessing.py",
        "inference/postprocessing.py",
        "inference/benchmarks.json",
        "docs/usage_guide.md",
        "docs/performance_comparison.md",
        "docs/deployment_examples/pytorch_inference.py",
        "docs/deployment_examples/onnx_inference.py",
        "docs/deployment_examples/mobile_deployment.md",
    }
    assert "docs/evidence/report.html" in names
    assert json.loads((package / MANIFEST).read_text())["files"].keys() == names - {MANIFEST}


def test_a_server_holds_itself_against_what_each_file_answered(package):
    from modelparity.serving import load
    from modelparity.serving.http.golden import difference, read_verdict, verdict_of, verdict_path

    paths = [package / "onnx" / "tiny_ladeda.onnx", package / "tflite" / "tiny_ladeda.tflite"]
    for path in paths:
        with load(path) as predictor:
            now = verdict_of(predictor)
        released = read_verdict(verdict_path(path))
        assert difference(now, released) is None
        assert difference(replace(now, sha256="0" * 64), released)
    assert difference(*(read_verdict(verdict_path(path)) for path in paths))  # each has its own


def test_model_specs(package):
    from modelparity.converters.engine.store import sha256_of
    from modelparity.converters.onnx.convert import OPSET

    for format, batch in (("onnx", "batch"), ("tflite", 1), ("pytorch", "batch")):
        specs = specs_of(package, format)
        assert specs["weights"]["trained"] is True
        assert specs["preprocessing"]["resample"] == "bicubic"
        ((name, entry),) = specs["models"].items()
        path = package / format / name
        assert entry["sha256"] == sha256_of(path)
        assert entry["bytes"] == path.stat().st_size
        assert entry["opset"] == (OPSET if format == "onnx" else None)
        assert entry["inputs"][0]["shape"] == [batch, 3, 256, 256]
        assert [(port["name"], port["shape"], port["scale"]) for port in entry["outputs"]] == [
            ("score", [batch, 1], "logit"),
            ("patch_logits", [batch, 1, 126, 126], "logit"),
        ]
        assert entry["verdict"] == "passed"


@pytest.mark.parametrize("place", ["onnx/tiny_ladeda.onnx", "tflite/tiny_ladeda.tflite"])
def test_the_wrapper(package, photograph, world, place):
    import numpy as np

    out = world / "wrapped.npz"
    wrapper = package / "inference" / "inference_wrapper.py"
    answer = stranger(wrapper, package / place, photograph, "--outputs", out)
    truth = expected(package, place, photograph, world)
    with np.load(out) as archive:
        for name, value in truth.items():
            np.testing.assert_allclose(archive[name], value, rtol=1e-4, atol=1e-5)
    assert answer["probability"] == pytest.approx(1 / (1 + np.exp(-truth["score"][0, 0])), abs=1e-5)
    assert answer["positive"] == (answer["probability"] >= 0.5)
    assert answer["patch_logits"]["shape"] == [400, 600]


@pytest.mark.parametrize(
    ("name", "place", "lacks"),
    [
        ("onnx_inference.py", "onnx/tiny_ladeda.onnx", "torch,ai_edge_litert"),
        ("pytorch_inference.py", "pytorch/tiny_ladeda.pt2", "onnxruntime,ai_edge_litert"),
    ],
)
def test_the_examples(package, photograph, world, name, place, lacks):
    import numpy as np

    answer = stranger(package / "docs" / "deployment_examples" / name, photograph, lacks=lacks)
    score = expected(package, place, photograph, world)["score"][0, 0]
    assert answer["probability"] == pytest.approx(1 / (1 + np.exp(-score)), abs=1e-5)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ("deployment_examples/mobile_deployment.md", "tflite/tiny_ladeda.tflite"),
        ("usage_guide.md", "onnx/tiny_ladeda.onnx"),
    ],
)
def test_code_in_documents_runs(package, photograph, world, tmp_path, document, place):
    import numpy as np

    (block,) = re.findall(r"```python\n(.*?)```", (package / "docs" / document).read_text(), re.DOTALL)
    block = block.replace("photograph.jpg", str(photograph))
    block = block.replace(
        "print(model(",
        "import json\nfrom inference_wrapper import printable\nprint(json.dumps(printable(model(",
    )
    block = block.replace('png"))\n', 'png"))))\n') if "usage" in document else block
    script = tmp_path / "block.py"
    script.write_text(block)
    answer = stranger(script, photograph, cwd=package)
    score = expected(package, place, photograph, world)["score"][0, 0]
    assert answer["probability"] == pytest.approx(1 / (1 + np.exp(-score)), abs=1e-4)


def test_preprocessing_is_ours_bit_for_bit(package, tmp_path, photograph):
    import numpy as np
    from PIL import Image

    from modelparity.fixtures.images import decode, preprocess
    from modelparity.fixtures.models import MODELS

    code = (package / "inference" / "preprocessing.py").read_text()
    theirs: dict = {}
    exec(compile(code, "preprocessing.py", "exec"), theirs)
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (37, 53, 4), np.uint8)
    pictures = {
        "rgb.png": Image.fromarray(colours[..., :3]),
        "rgba.png": Image.fromarray(colours),
        "grey.png": Image.fromarray(colours[..., 0]),
        "deep.png": Image.fromarray(rng.integers(0, 65536, (37, 53), np.uint16)),
        "palette.gif": Image.fromarray(colours[..., :3]).convert("P"),
        "turned.jpg": Image.fromarray(colours[..., :3]),
    }
    turned = Image.Exif()
    turned[0x0112] = 6
    for name, picture in pictures.items():
        picture.save(tmp_path / name, **({"exif": turned} if name == "turned.jpg" else {}))
    for path in [photograph, *(tmp_path / name for name in pictures)]:
        pixels = theirs["load"](path)
        assert np.array_equal(pixels, decode(path)), path
        for model, n in (("tiny_ladeda", 256), ("objectformer", 224), ("chunkyseal", 256)):
            settings = MODELS[model].preprocessing
            mine = preprocess(pixels, settings, n)
            got = theirs["preprocess"](pixels, (n, n), settings.resample, settings.mean, settings.std)
            assert got.tobytes() == mine.tobytes()
            assert got.shape == (1, *mine.shape)


def test_documents_hold_what_was_measured(package):
    benchmarks = json.loads((package / "inference" / "benchmarks.json").read_text())
    measured = benchmarks["files"]["onnx/tiny_ladeda.onnx"]
    assert measured["latency_median_s"] == 0.0125
    assert measured["claims"] > 10
    assert benchmarks["files"]["pytorch/tiny_ladeda.pt2"]["latency_median_s"] is None
    text = (package / "docs" / "performance_comparison.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| `onnx/")]
    assert "| 12.5 ± 1 ms | 1.00 (0.98 to 1.04) | 512.0 MB |" in row
    assert "not measured" in next(line for line in text.splitlines() if "pytorch/" in line)
    assert "do not hold a trained network" not in text


def test_metadata_comes_from_the_checkpoint(package):
    found = json.loads((package / "pretrained" / "tiny_ladeda_metadata.json").read_text())
    assert (found["architecture"], found["training_dataset"]) == ("TinyLaDeDa", "WildRF")
    assert found["input_size"] is None
    assert found["performance"]["image_auc"] is None


def test_again_without_a_checkpoint_and_with_fewer_formats(package, world):
    """Nothing stale stays, what is the user's does, and every document owns up to the weights."""
    (package / "docs" / "mine.txt").write_text("notes")
    result = modelparity("package", "tiny_ladeda", "--output", package, "--formats", "pytorch")
    try:
        assert result.exit_code == 0, result.output
        assert "the package holds test weights" in result.stderr
        names = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
        assert "docs/mine.txt" in names
        assert not {name for name in names if name.startswith(("onnx/", "tflite/", "pretrained/"))}
        for path in (package / "docs").rglob("*.md"):
            assert "do not hold a trained network" in path.read_text(), path
        assert specs_of(package, "pytorch")["weights"]["trained"] is False
        assert not list(package.parent.glob(".*"))
    finally:
        again = modelparity("package", "tiny_ladeda", "--output", package, *of_checkpoint(world))
        assert again.exit_code == 0
