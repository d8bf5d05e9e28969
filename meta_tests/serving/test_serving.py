"""Answers from released files: right, typed, from the file alone, and without PyTorch."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from modelparity import serving
from modelparity.exit_codes import HARNESS
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import ModelSpec
from modelparity.modelfiles.model_card import ModelCard, card_for
from modelparity.serving.answers import answer

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "modelparity" / "package" / "templates"
# What whoever serves has: the base install, the runtimes, and nothing of the harness.
BLOCKED = f"""
import sys
for name in {HARNESS!r}:
    sys.modules[name] = None  # to import it is a ModuleNotFoundError
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Tiny-LaDeDa in both formats, outside the store."""
    from meta_tests.miniatures.miniature import one_process
    from modelparity.parity.session import Session

    folder = tmp_path_factory.mktemp("files")
    with Session(workers=one_process()) as session:
        made = {f: session.artifact("tiny_ladeda", f, "int8_static").path for f in ("onnx", "tflite")}
    return {format: Path(shutil.copy(path, folder)) for format, path in made.items()}


@pytest.fixture(scope="module")
def photograph() -> Path:
    return Path(find_spec("skimage").origin).parent / "data" / "coffee.png"


def card_of(model: str, format: str = "onnx", **changes) -> ModelCard:
    spec: ModelSpec = replace(MODELS[model], **changes)
    return card_for(
        spec, spec.signature(), format, "fp32", checkpoint="", versions={}, dynamic_batch=format == "onnx"
    )


# --- the file alone


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_the_answer_is_what_the_runner_and_the_sigmoid_say(files, photograph, format):
    from modelparity.converters.onnx.runner import OnnxRunner
    from modelparity.converters.tflite.runner import TfliteRunner
    from modelparity.fixtures.images import decode, preprocess

    fed = preprocess(decode(photograph), MODELS["tiny_ladeda"].preprocessing, 256)[None]
    with (OnnxRunner if format == "onnx" else TfliteRunner)(files[format], 2) as runner:
        expected = runner.run({"image": fed})
    with serving.load(files[format]) as predictor:
        assert (predictor.card.model, predictor.card.format) == ("tiny_ladeda", format)
        result = predictor.predict(photograph)
    assert isinstance(result, serving.Deepfake)
    assert result.probability == pytest.approx(1 / (1 + np.exp(-expected["score"][0, 0])), rel=1e-6)
    assert result.fake == (expected["score"][0, 0] >= 0)
    np.testing.assert_allclose(result.patches, 1 / (1 + np.exp(-expected["patch_logits"][0, 0])), rtol=1e-5)
    assert result.size == (400, 600)
    assert list(result.seconds) == ["decode", "prepare", "run", "answer"]


def test_a_path_bytes_a_picture_and_an_array_are_one(files, photograph):
    with Image.open(photograph) as picture, serving.load(files["onnx"]) as predictor:
        picture.load()
        ways = [
            photograph,
            str(photograph),
            photograph.read_bytes(),
            picture,
            np.array(picture.convert("RGB")),
        ]
        answers = [predictor.predict(way) for way in ways]
    assert len({a.probability for a in answers}) == 1
    assert len({a.patches.tobytes() for a in answers}) == 1


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_a_batch_is_its_images(files, format):
    images = np.random.default_rng(0).normal(size=(3, 3, 256, 256)).astype(np.float32)
    with serving.load(files[format], threads=1) as predictor:
        together = predictor.run(images)
        apart = [predictor.run(images[i : i + 1]) for i in range(3)]
        results = [predictor.answer(together, (10, 20), index=i) for i in range(3)]
    for name, values in together.items():
        single = np.concatenate([run[name] for run in apart])
        np.testing.assert_allclose(values, single, rtol=0, atol=1e-5)
    assert len({result.probability for result in results}) == 3


def test_arrays_that_do_not_fit_are_refused(files):
    with serving.load(files["onnx"]) as predictor:
        with pytest.raises(ValueError, match=r"float64 .* but should be float32 \[batch, 3, 256, 256\]"):
            predictor.run(np.zeros((1, 3, 256, 256)))
        with pytest.raises(ValueError, match="but should be float32"):
            predictor.run(np.zeros((1, 3, 256, 255), np.float32))
        with pytest.raises(serving.ImageError, match=r"float32 \[4, 4, 3\], but should be RGB uint8"):
            predictor.predict(np.zeros((4, 4, 3), np.float32))
        with pytest.raises(serving.ImageError, match="not an image, it seems to be text"):
            predictor.predict(b"nothing of the kind")
    with pytest.raises(ValueError, match="closed"):
        predictor.run(np.zeros((1, 3, 256, 256), np.float32))


def test_files_that_cannot_be_used_say_why(files, tmp_path, photograph):
    import onnx

    def words(path: Path, **options) -> str:
        with pytest.raises(serving.ModelFileError) as caught:
            serving.load(path, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such file" in words(tmp_path / "absent.onnx")
    assert "it seems to be a PNG image" in words(photograph)
    for path in files.values():
        cut = tmp_path / path.name
        cut.write_bytes(path.read_bytes()[:-200])
        assert "damaged" in words(cut)
    assert "is tiny_ladeda according to its model card, not ladeda" in words(files["onnx"], model="ladeda")
    bare = onnx.load(files["onnx"])
    del bare.metadata_props[:]
    third_party = tmp_path / "third_party.onnx"
    onnx.save(bare, third_party)
    assert 'load(path, model="...")' in words(third_party)
    assert "known are objectformer" in words(third_party, model="resnet")
    assert "but those of fasterrcnn are" in words(third_party, model="fasterrcnn")
    with serving.load(third_party, model="tiny_ladeda") as predictor, serving.load(files["onnx"]) as ours:
        assert predictor.card.quantization == "unknown"
        assert predictor.predict(photograph).probability == ours.predict(photograph).probability


# --- answers, one type a task


def test_tampering():
    mask = np.zeros((2, 1, 288, 288), np.float32)
    mask[1, :, :, 144:] = 1
    outputs = {"score": np.float32([[0.2], [0.75]]), "mask": mask}
    result = answer(card_of("objectformer"), outputs, (100, 200), index=1)
    assert isinstance(result, serving.Tampering)
    assert (result.probability, result.tampered) == (0.75, True)
    assert result.mask.shape == (100, 200)
    assert result.mask.dtype == np.float32
    assert result.mask[50, 10] == 0
    assert result.mask[50, 190] == 1
    assert result.tampered_share == 0.5
    assert not answer(card_of("objectformer"), outputs, (100, 200), 1, threshold=0.8).tampered
    alone = answer(card_of("objectformer_detection"), {"score": outputs["score"]}, (100, 200))
    assert (alone.probability, alone.mask, alone.tampered_share) == (pytest.approx(0.2), None, None)


DETECTED = {
    "location": np.float32([[[0, 0, 0.5, 0.5], [0.25, 0.5, 1, 1], [0, 0, 0, 0]]]),
    "score": np.float32([[0.6, 0.9, 0.0]]),
    "category": np.int32([[1, 2, 1]]),
}


def test_detections():
    result = answer(card_of("fasterrcnn", labels=("circle", "triangle")), DETECTED, (100, 200))
    assert isinstance(result, serving.Detections)
    assert result.boxes.tolist() == [[50, 50, 200, 100], [0, 0, 100, 50]]
    assert result.labels == ("triangle", "circle")
    assert result.categories.tolist() == [2, 1]
    assert len(answer(card_of("fasterrcnn"), DETECTED, (100, 200), threshold=0.7).scores) == 1
    unnamed = card_of("fasterrcnn")
    assert not unnamed.labels_known
    assert answer(unnamed, DETECTED, (100, 200)).labels == ("class 2", "class 1")
    assert len(answer(unnamed, DETECTED, (100, 200), threshold=0.95).boxes) == 0


def test_watermark():
    bits = [1, 0, 1, 0, 1, 1, 1, 1] * 4
    preds = np.float32([[2.0, *(3.0 if bit else -3.0 for bit in bits)]])
    result = answer(card_of("chunkyseal"), {"preds": preds}, (100, 200))
    assert isinstance(result, serving.Watermark)
    assert result.confidence == pytest.approx(1 / (1 + np.exp(-2)))
    assert result.bits.tolist() == bits
    assert (result.hex, result.integer) == ("afafafaf", 0xAFAFAFAF)
    for same in (bits, "afafafaf", "0xAFAFAFAF", 0xAFAFAFAF, "".join(map(str, bits)), np.array(bits)):
        assert result.accuracy(same) == 1
    assert result.accuracy(0xAFAFAFAE) == 31 / 32
    assert result.accuracy([1 - bit for bit in bits]) == 0
    for wrong in ("afaf", "message", [1, 0], 1 << 32, -1, [2] * 32):
        with pytest.raises(ValueError, match="message"):
            result.accuracy(wrong)


OUTPUTS = {
    "objectformer": {"score": np.float32([[0.75]]), "mask": np.linspace(0, 1, 288 * 288, dtype=np.float32)},
    "tiny_ladeda": {
        "score": np.float32([[-0.5]]),
        "patch_logits": np.linspace(-4, 4, 126 * 126, dtype=np.float32),
    },
    "fasterrcnn": DETECTED,
    "chunkyseal": {"preds": np.linspace(-2, 3, 33, dtype=np.float32)[None]},
}


def shaped(model: str) -> dict[str, np.ndarray]:
    square = {"mask": (1, 1, 288, 288), "patch_logits": (1, 1, 126, 126)}
    return {name: value.reshape(square.get(name, value.shape)) for name, value in OUTPUTS[model].items()}


@pytest.mark.parametrize("model", OUTPUTS)
def test_every_answer_is_json(model):
    result = answer(card_of(model), shaped(model), (100, 200))
    told = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert told["model"] == model
    assert told["size"] == [100, 200]


def template(name: str) -> dict:
    """A package's own script, loaded."""
    from jinja2 import Template

    names: dict = {"__name__": name}
    exec(Template((TEMPLATES / f"{name}.py.jinja").read_text()).render(title="A title"), names)
    return names


@pytest.mark.parametrize("model", OUTPUTS)
def test_a_package_answers_alike(model):
    """Its scripts stand alone, so the arithmetic is there a second time."""
    from modelparity.package.specs import scale_of

    card, pixels = card_of(model), np.zeros((100, 200, 3), np.uint8)
    entry = {"outputs": [{"name": port.name, "scale": scale_of(port)} for port in card.outputs]}
    script = template(f"postprocessing_{card.task}")
    theirs = script["postprocess"](shaped(model), entry, pixels)
    ours = answer(card, shaped(model), (100, 200))
    if isinstance(ours, serving.Tampering | serving.Deepfake):
        assert (theirs["probability"], theirs["positive"]) == (ours.probability, ours.probability >= 0.5)
    if isinstance(ours, serving.Tampering):
        assert np.array_equal(theirs["mask"], ours.mask)
    elif isinstance(ours, serving.Detections):
        found = sorted(theirs["objects"], key=lambda one: -one["score"])
        np.testing.assert_allclose([one["box"] for one in found], ours.boxes)
        assert [one["category"] for one in found] == ours.categories.tolist()
    elif isinstance(ours, serving.Watermark):
        assert (theirs["message"], theirs["bits"]) == (ours.hex, ours.bits.tolist())
        assert theirs["confidence"] == ours.confidence


@pytest.mark.parametrize("model", MODELS)
def test_a_package_prepares_alike(model, photograph):
    card, pixels = card_of(model), serving.decode(photograph)
    script, how = template("preprocessing"), card.preprocessing
    theirs = script["preprocess"](
        script["load"](photograph), card.input_size, how.resample, how.mean, how.std
    )
    ours = serving.Predictor(card, None).prepare(pixels)
    assert ours.shape == (1, 3, *card.input_size)
    assert np.array_equal(theirs, ours)


def test_a_runs_labels_and_size_get_into_the_card():
    spec = replace(MODELS["fasterrcnn"], labels=("a", "b"), prepared_size=(240, 320))
    card = card_for(spec, spec.signature(), "onnx", "fp32", checkpoint="", versions={}, dynamic_batch=True)
    assert (card.labels, card.labels_known, card.input_size) == (("a", "b"), True, (240, 320))
    assert card.inputs[0].shape == ("batch", 3, "height", "width")


# --- without PyTorch


def without_the_harness(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED + code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_files_are_served_without_the_harness(files, photograph):
    code = """
import json
from modelparity import serving
told = {}
for path in sys.argv[2:]:
    with serving.load(path) as predictor:
        told[predictor.card.format] = predictor.predict(sys.argv[1]).probability
heavy = {"torch", "onnx", "tensorflow", "litert_torch"}
assert not [name for name in heavy if sys.modules.get(name)]
print(json.dumps(told))
"""
    done = without_the_harness(code, photograph, *files.values())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx({"onnx": 0.526, "tflite": 0.526}, abs=0.02)


def test_the_blocker_blocks():
    assert "ModuleNotFoundError" in without_the_harness("import torch").stderr


@pytest.mark.parametrize("command", ["gate", "convert tiny_ladeda", "package"])
def test_a_command_without_its_extra_names_it(command):
    code = "sys.argv = ['modelparity', *sys.argv[1:]]\nfrom modelparity.cli import main\nmain()"
    done = without_the_harness(code, *command.split())
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("this needs the harness extra: pip install 'modelparity[harness]'")


@pytest.mark.parametrize(("format", "package"), [("onnx", "onnxruntime"), ("tflite", "ai_edge_litert")])
def test_a_missing_runtime_names_its_extra(files, photograph, format, package):
    code = f"sys.modules[{package!r}] = None\nsys.argv = ['modelparity', *sys.argv[1:]]\n"
    code += "from modelparity.cli import main\nmain()"
    done = without_the_harness(code, "predict", files[format], photograph)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: {package} is not installed; this needs the serve extra: pip install 'modelparity[serve]'"
    ]


def test_predict_and_list_need_no_harness(files, photograph):
    code = "sys.argv = ['modelparity', *sys.argv[1:]]\nfrom modelparity.cli import main\nmain()"
    done = without_the_harness(code, "predict", files["tflite"], photograph, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fake"] is True
    assert without_the_harness(code, "list").returncode == 0


def test_extras_and_their_words_agree():
    """What the extra installs is what the command line knows to be missing without it."""
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^harness = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    installed = re.findall(r'^    "([\w-]+)', block, re.MULTILINE)
    modules = {"scikit-image": "skimage", "pyyaml": "yaml", "modelparity": None}
    expected = {modules.get(name, name.replace("-", "_")) for name in installed} - {None}
    assert set(HARNESS) == expected


# --- the command line


def modelparity(*arguments: object):
    from modelparity.cli import app

    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_predict_writes_the_map(files, photograph, tmp_path):
    output = tmp_path / "heat.png"
    result = modelparity("predict", files["onnx"], photograph, "--output", output)
    assert result.exit_code == 0, result.output
    assert "fake: true" in result.stdout
    assert "untrained" in result.stdout
    with Image.open(output) as picture:
        assert (picture.size, picture.mode) == ((600, 400), "L")
        assert np.asarray(picture).std() > 10


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--output", "x.jpg"), "written as .png"),
        (("--expected", "ff"), "reads no message"),
        (("--threshold", "2"), "should be in 0..1"),
        (("--model", "ladeda"), "according to its model card"),
    ],
)
def test_predict_refuses_in_one_line(files, photograph, options, words):
    result = modelparity("predict", files["onnx"], photograph, *options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_jpeg_as_bytes_is_the_jpeg(photograph):
    buffer = io.BytesIO()
    Image.open(photograph).convert("RGB").save(buffer, "JPEG")
    assert serving.decode(buffer.getvalue()).shape == (400, 600, 3)
