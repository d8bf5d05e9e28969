"""The command line as scripts meet it: exit codes, one line for a fault, JSON alone, no half files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from modelparity.cli import app
from modelparity.parity.cells import Cell
from modelparity.parity.expectations import EXPECTATIONS
from modelparity.parity.tolerances import FloatTolerance

ROOT = Path(__file__).resolve().parents[2]
FP32 = Cell("tiny_ladeda", "onnx", "fp32")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def modelparity(*arguments: object) -> object:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def passes(*arguments: object) -> str:
    """What a successful command prints on stdout."""
    result = modelparity(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: object) -> str:
    """The one line of a command that refuses bad input."""
    result = modelparity(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.stderr.splitlines() == errors
    assert len(errors) == 1
    return errors[0].removeprefix("error: ")


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """One store for the file, so that each artifact is made once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def _own_world(store, monkeypatch):
    from modelparity.parity.judge import CheckBudget

    monkeypatch.setenv("MODELPARITY_STORE", str(store))
    monkeypatch.delenv("MODELPARITY_DEBUG", raising=False)
    # A shorter look at each cell: what is looked at, other tests ask.
    monkeypatch.setattr(
        "modelparity.parity.session.CheckBudget", lambda: CheckBudget(stream=6, draws=2, convert_again=False)
    )
    monkeypatch.setitem(EXPECTATIONS, FP32, FloatTolerance(floors=8, generated_floors=60, because="a test"))


@pytest.fixture(scope="session")
def converted(store, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("converted") / "tiny.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELPARITY_STORE", str(store))
        passes("convert", "tiny_ladeda", "--no-verify", "--output", path)
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """The golden's input, normalised."""
    import numpy as np

    from modelparity.fixtures.goldens.weights import golden_image
    from modelparity.fixtures.specs import IMAGENET_MEAN, IMAGENET_STD

    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    path = tmp_path_factory.mktemp("images") / "in.npz"
    np.savez(path, image=(golden_image((2, 3, 256, 256)) - mean) / std)
    return path


def arrays_at(path: Path) -> dict:
    import numpy as np

    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def saved(path: Path, **arrays) -> Path:
    import numpy as np

    np.savez(path, **arrays)
    return path


# --- light ------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "--json"], ["gate", "--help"]])
def test_the_light_commands_import_nothing_heavy(arguments):
    code = (
        "import sys; from modelparity.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'numpy', 'onnx', 'hypothesis', 'pytest'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True, capture_output=True)
    assert time.perf_counter() - start < 5  # 0.4 s where nothing else runs


def test_help_is_shown_without_a_command():
    assert "convert" in passes()
    assert passes("--version").startswith("modelparity ")


def test_list():
    text = passes("list")
    for word in (
        "objectformer_detection",
        "tiny_ladeda",
        "patch_logits float32 [batch, 1, 126, 126]",
        "int8_static",
    ):
        assert word in text
    assert "224, 288 (default), 380" in text
    assert "\x1b" not in text
    assert "error <= 8 × floor" in text


def test_list_as_json():
    models = {model["model"]: model for model in json.loads(passes("list", "--json"))["models"]}
    tiny = models["tiny_ladeda"]
    assert tiny["inputs"][0]["shape"] == ["batch", 3, 256, 256]
    assert [port["name"] for port in tiny["outputs"]] == ["score", "patch_logits"]
    assert len(tiny["cells"]) == 8
    assert {
        "id": FP32.id,
        "format": "onnx",
        "quantization": "fp32",
        "expectation": "error <= 8 × floor",
    } in tiny["cells"]


def test_every_expectation_has_words():
    from modelparity.commands.list import expectation_words
    from modelparity.parity.tolerances import FloatTolerance, Limitation, QuantizedTolerance

    coarse = QuantizedTolerance({"score": 30.0, "mask": 25}, {}, "a test")
    assert expectation_words(coarse) == "score >= 30 dB, mask >= 25 dB"
    assert (
        expectation_words(Limitation("load", "no kernel", "seen", coarse)) == "limitation in load: no kernel"
    )
    assert expectation_words(None) == "nothing declared"
    own = FloatTolerance(8, 60, "a test", apart={"score": 18})
    assert expectation_words(own) == "error <= 8 × floor (score 18)"


# --- refusals that need no worker ---------------------------------------------------------------

CONVERT = ("convert", "tiny_ladeda", "--format", "onnx", "--no-verify")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["list", "--jsn"], "No such option: --jsn"),
        (["convert", "tiny_ladeda", "--format", "onnx"], "Missing option '--output'"),
        (
            ["convert", "objectfromer", "--format", "onnx", "--output", "OUT/a.onnx"],
            "did you mean objectformer",
        ),
        (
            ["convert", "tiny_ladeda", "--format", "onxx", "--output", "OUT/a.onnx"],
            "no such format: 'onxx'; did you mean onnx?",
        ),
        (
            [*CONVERT, "--quantization", "int8", "--output", "OUT/a.onnx"],
            "did you mean int8_static, int8_dynamic?",
        ),
        (
            [*CONVERT, "--size", "tiny", "--output", "OUT/a.onnx"],
            "no such size: 'tiny'; known: reduced, full",
        ),
        (
            [*CONVERT, "--input-size", "224", "--output", "OUT/a.onnx"],
            "--input-size 224: tiny_ladeda takes 256",
        ),
        ([*CONVERT, "--input-size", "big", "--output", "OUT/a.onnx"], "Invalid value for '--input-size'"),
        ([*CONVERT, "--output", "FILE/a.onnx"], "is a file, not a directory"),
        ([*CONVERT, "--output", "/dev/full"], "/dev/full: not a regular file"),
        (
            ["convert", "tiny_ladeda", "--format", "pretrained", "--output", "OUT/a.pth"],
            "needs --checkpoint PATH",
        ),
        (
            [
                "convert",
                "tiny_ladeda",
                "--format",
                "pretrained",
                "--checkpoint",
                "FILE",
                "--output",
                "OUT/a.onnx",
            ],
            "suffix '.onnx', but should be one of .pth, .safetensors",
        ),
        (
            ["run", "tiny_laded", "--input", "FILE", "--output", "OUT/o"],
            "no such model or file; did you mean tiny_ladeda",
        ),
        (["run", "OUT/none.onnx", "--input", "FILE", "--output", "OUT/o"], "none.onnx: no such file"),
        (["run", "tiny_ladeda", "--input", "OUT/no.npz", "--output", "OUT/o"], "no.npz: no such file"),
        (
            ["run", "tiny_ladeda", "--input", "FILE", "--output", "OUT/o"],
            "not an .npz file, it seems to be text",
        ),
        (["run", "tiny_ladeda", "--input", "FILE", "--output", "FILE"], "is the file that is read"),
        (
            ["run", "FILE", "--input", "FILE", "--output", "OUT/o"],
            "neither ONNX nor TFLite: it seems to be text",
        ),
        (["run", "FILE", "--input", "FILE", "--output", "OUT/o", "--raw"], "--raw is for a model's name"),
        (["verify", "FILE", "--model", "tiny_ladeda"], "neither ONNX nor TFLite: it seems to be text"),
        (["verify", "PNG", "--model", "tiny_ladeda"], "it seems to be a PNG image"),
        (["verify", "OUT", "--model", "tiny_ladeda"], "it is a directory"),
        (["verify", "OUT/none", "--model", "tiny_ladeda"], "none: no such file"),
        (["verify", "FILE", "--model", "tiny"], "no such model: 'tiny'; did you mean tiny_ladeda?"),
        (["gate", "-k", "nothing_like_it", "--output", "OUT"], "-k 'nothing_like_it' selects no cell"),
        (["gate", "-k", "onnx and", "--output", "OUT"], "-k 'onnx and'"),
        (["gate", "-k", FP32.id, "--checkpoint", "FILE", "--output", "OUT"], "but should be MODEL=PATH"),
        (["gate", "-k", FP32.id, "--checkpoint", "tiny=FILE", "--output", "OUT"], "no such model: 'tiny'"),
        (["gate", "-k", FP32.id, "--output", "FILE/report"], "is a file, not a directory"),
        (["report", "OUT"], "no run.jsonl in it"),
        (["report", "OUT/none"], "no such directory"),
        (["report", "RUN"], "run.jsonl:1: not a record of a run"),
    ],
)
def test_refusals(tmp_path, arguments, words):
    out, text, png, run = tmp_path / "out", tmp_path / "README", tmp_path / "a.onnx", tmp_path / "run"
    out.mkdir()
    text.write_text("# A README\n\nis no model.\n")
    png.write_bytes(PNG)
    run.mkdir()
    (run / "run.jsonl").write_text("neither\nnor\n")
    places = {"OUT": out, "FILE": text, "PNG": png, "RUN": run}

    def placed(argument: str) -> str:
        head, slash, tail = argument.partition("/")
        name, equals, value = head.rpartition("=")
        return f"{name}{equals}{places[value]}{slash}{tail}" if value in places else argument

    assert words in refusal(*map(placed, arguments))
    assert list(out.iterdir()) == []
    assert [path.name for path in run.iterdir()] == ["run.jsonl"]
    assert text.read_text().startswith("# A README")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda np: {"image": np.zeros((1, 3, 256, 256))}, "image is float64, but should be float32"),
        (lambda np: {"image": np.zeros((1, 3, 256, 256), "uint8")}, "image.astype(np.float32)"),
        (
            lambda np: {"image": np.zeros((3, 256, 256), "f4")},
            "has shape [3, 256, 256], but should be [batch, 3, N, N]",
        ),
        (lambda np: {"image": np.zeros((1, 256, 256, 3), "f4")}, "with N one of 256"),
        (lambda np: {"image": np.zeros((1, 3, 224, 224), "f4")}, "has shape [1, 3, 224, 224]"),
        (lambda np: {"image": np.zeros((0, 3, 256, 256), "f4")}, "has shape [0, 3, 256, 256]"),
        (
            lambda np: {"x": np.zeros((1, 3, 256, 256), "f4")},
            "should hold image, but holds x float32[1, 3, 256, 256]",
        ),
        (lambda np: {}, "should hold image, but holds nothing"),
        (lambda np: {"image": np.array([{}])}, "holds Python objects"),
    ],
)
def test_inputs_that_do_not_fit(tmp_path, make, words):
    import numpy as np

    out = tmp_path / "out" / "o.npz"
    inputs = saved(tmp_path / "in.npz", **make(np))
    assert words in refusal("run", "tiny_ladeda", "--input", inputs, "--output", out)
    assert not out.parent.exists()


def test_files_that_are_no_npz(tmp_path, images):
    import numpy as np

    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "cut.npz").write_bytes(images.read_bytes()[:-1000])
    (tmp_path / "empty.npz").touch()
    for name, words in (
        ("one.npy", "one array without a name; save it by name"),
        ("cut.npz", "damaged"),
        ("empty.npz", "it seems to be an empty file"),
    ):
        assert words in refusal(
            "run", "tiny_ladeda", "--input", tmp_path / name, "--output", tmp_path / "o.npz"
        )


# --- what workers do --------------------------------------------------------------------------


def test_convert_into_a_folder(tmp_path, converted):
    """A new folder by its slash; the second time everything is in the store."""
    from modelparity.converters.engine.store import sha256_of

    told = json.loads(passes(*CONVERT, "--output", f"{tmp_path}/new/", "--json"))
    path = tmp_path / "new" / "tiny_ladeda-fp32.onnx"
    assert list(path.parent.iterdir()) == [path]
    assert told["path"] == str(path)
    assert told["sha256"] == sha256_of(path) == sha256_of(converted)
    assert told["bytes"] == path.stat().st_size
    assert told["weights"] == "deterministic weights of the goldens (no checkpoint given)"
    assert told["made"] is False


def test_a_suffix_of_another_format_is_remarked_on(tmp_path, converted):
    result = modelparity(*CONVERT, "--output", tmp_path / "tiny.tflite")
    assert result.exit_code == 0
    assert "warning: tiny.tflite does not end in .onnx" in result.stderr
    assert (tmp_path / "tiny.tflite").read_bytes() == converted.read_bytes()


def test_a_calibration_image_that_cannot_be_read(tmp_path, converted):
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "a.png").write_text("no image")
    arguments = [*CONVERT, "--quantization", "int8_static", "--output", tmp_path / "out" / "a.onnx"]
    words = refusal(*arguments, "--calibration", folder)
    assert "a.png: not an image, it seems to be text" in words
    assert "no such directory" in refusal(*arguments, "--calibration", tmp_path / "none")
    assert not (tmp_path / "out").exists()


def test_a_full_disk(tmp_path, converted, images, monkeypatch):
    import errno

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    words = f"no space left on {tmp_path}; nothing was written"
    assert refusal(*CONVERT, "--output", tmp_path / "a.onnx") == words
    assert refusal("run", converted, "--input", images, "--output", tmp_path / "o.npz") == words
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def external(tmp_path, converted, monkeypatch):
    """The artifact as a network above 2 GB is stored: its data in a file beside it."""
    import onnx

    from modelparity.converters.engine.workbench import Workbench
    from modelparity.modelfiles.description import Artifact

    folder = tmp_path / "entry"
    folder.mkdir()
    path = folder / "tiny_ladeda.onnx"
    options = {"save_as_external_data": True, "location": "tiny_ladeda.onnx.data", "size_threshold": 100}
    onnx.save_model(onnx.load(converted), path, **options)
    (folder / "entry.json").touch()
    artifact = Artifact(path, "", 0, "", "onnx", "fp32")
    monkeypatch.setattr(Workbench, "artifact", lambda *_, **__: (artifact, {}))


def test_external_data_follow_the_file(tmp_path, external, converted, images):
    told = json.loads(passes(*CONVERT, "--output", tmp_path / "out" / "mine.onnx", "--json"))
    assert told["external_data"] == str(tmp_path / "out" / "mine.onnx.data")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"mine.onnx", "mine.onnx.data"}
    assert same_outputs(tmp_path, tmp_path / "out" / "mine.onnx", converted, images)


def same_outputs(folder: Path, first: Path, second: Path, images: Path) -> bool:
    results = []
    for path in (first, second):
        passes("run", path, "--input", images, "--output", folder / "o.npz")
        results.append({name: value.tobytes() for name, value in arrays_at(folder / "o.npz").items()})
    return results[0] == results[1]


def test_raw_outputs_are_the_golden(tmp_path, images):
    import numpy as np

    out = tmp_path / "new" / "raw.npz"
    passes("run", "tiny_ladeda", "--input", images, "--output", out, "--raw")
    golden = arrays_at(ROOT / "fixtures" / "goldens" / "tiny_ladeda-right_diag.npz")
    raw = arrays_at(out)
    assert list(out.parent.iterdir()) == [out]
    assert list(raw) == ["patch_logits", "image_logit"]
    for name, value in raw.items():
        expected = golden[f"x256/{name}"]
        assert value.shape == expected.shape
        assert np.abs(value - expected).max() <= 1e-4 * expected.std() + 1e-5


def test_network_and_artifact_give_the_same(tmp_path, converted, images):
    import numpy as np

    for target, name in (("tiny_ladeda", "torch"), (converted, "onnx")):
        passes("run", target, "--input", images, "--output", tmp_path / f"{name}.npz")
    torch, onnx = arrays_at(tmp_path / "torch.npz"), arrays_at(tmp_path / "onnx.npz")
    assert list(torch) == list(onnx) == ["score", "patch_logits"]
    for name, value in torch.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, onnx[name], atol=1e-4)


def test_running_a_file_on_what_it_does_not_take(tmp_path, converted, images):
    import numpy as np
    import onnx

    model = onnx.load(converted)
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "one.onnx")
    out = tmp_path / "out" / "o.npz"
    words = refusal("run", tmp_path / "one.onnx", "--input", images, "--output", out)
    assert words.endswith("takes batch 1, but image has a batch of 2; run its images one at a time")
    small = saved(tmp_path / "small.npz", image=np.zeros((1, 3, 32, 32), "f4"))
    words = refusal("run", converted, "--input", small, "--output", out)
    assert words.endswith("image has shape [1, 3, 32, 32], but should be [batch, 3, 256, 256]")
    words = refusal("run", converted, "--input", images, "--output", out, "--model", "objectformer")
    assert "outputs are score, patch_logits, but those of objectformer are score, mask" in words
    assert not out.parent.exists()


def test_values_that_are_not_finite_are_remarked_on(tmp_path, converted):
    import numpy as np

    image = np.zeros((1, 3, 256, 256), "f4")
    image[0, 0, 0, 0] = np.nan
    path = saved(tmp_path / "in.npz", image=image)
    result = modelparity("run", converted, "--input", path, "--output", tmp_path / "o.npz")
    assert result.exit_code == 0
    assert "warning: input image holds 1 of 196,608 values that are not finite" in result.stderr


class RunsCode:
    """Pickles to a call of os.system."""

    def __reduce__(self):
        return os.system, ("touch /tmp/modelparity-was-here",)


@pytest.mark.parametrize("kind", ["none", "cut", "third_party", "malicious", "other network"])
def test_checkpoints_that_cannot_serve(tmp_path, kind):
    import torch

    from modelparity.fixtures.checkpoints.load import golden_state_dict
    from modelparity.fixtures.specs import MODELS

    state = golden_state_dict(MODELS["tiny_ladeda"])
    path = tmp_path / "a.pth"
    torch.save(state, path)
    match kind:
        case "none":
            path, words = tmp_path / "none.pth", "no such file"
        case "cut":
            path.write_bytes(path.read_bytes()[:-500])
            words = "truncated"
        case "third_party":
            path.write_bytes(PNG)
            words = "not a checkpoint, it seems to be a PNG image"
        case "malicious":
            torch.save({"model_state": RunsCode()}, path)
            words = "posix.system"
        case "other network":
            torch.save({"encoder.weight": torch.zeros(3)}, path)
            words = "encoder.weight"
    assert words in refusal(*CONVERT, "--checkpoint", path, "--output", tmp_path / "out" / "a.onnx")
    assert not (tmp_path / "out").exists()
    assert not Path("/tmp/modelparity-was-here").exists()


def test_a_gate_reads_its_checkpoints_first(tmp_path):
    (tmp_path / "a.pth").write_bytes(PNG)
    words = refusal(
        "gate", "-k", FP32.id, "--checkpoint", f"tiny_ladeda={tmp_path}/a.pth", "--output", tmp_path / "out"
    )
    assert "a PNG image" in words
    assert not (tmp_path / "out").exists()


def test_pretrained(tmp_path):
    """A file by its suffix, or the set in a folder; again, it is replaced, and what else is there stays."""
    import torch

    from modelparity.fixtures.checkpoints.load import golden_state_dict
    from modelparity.fixtures.specs import MODELS

    training = tmp_path / "epoch_12.pyth"
    torch.save({"epoch": 12, "model_state": golden_state_dict(MODELS["tiny_ladeda"])}, training)
    arguments = ("convert", "tiny_ladeda", "--checkpoint", training)
    text = passes(*arguments, "--output", tmp_path / "clean.pth")
    assert "weights: model_state of epoch_12.pyth, epoch 12" in text
    assert torch.load(tmp_path / "clean.pth")["epoch"] == 12

    folder = tmp_path / "clean"
    for _ in range(2):
        text = passes(*arguments, "--format", "pretrained", "--output", f"{folder}/")
        assert "outputs bit for bit those of the checkpoint" in text
        names = {path.name for path in folder.iterdir()}
        (folder / "notes.txt").write_text("mine")
    assert names == {
        "tiny_ladeda_pretrained.pth",
        "tiny_ladeda_pretrained.safetensors",
        "tiny_ladeda_metadata.json",
        "validation_report.txt",
        "notes.txt",
    }
    assert not list(tmp_path.glob(".*"))


# --- verify -----------------------------------------------------------------------------------


def test_a_right_file_by_a_lying_name(tmp_path, converted):
    path = tmp_path / "int8_static.tflite"
    path.write_bytes(converted.read_bytes())
    found = json.loads(passes("verify", path, "--model", "tiny_ladeda", "--json"))
    assert found["verdict"] == "pass"
    assert found["cell"]["id"] == FP32.id
    assert found["cell"]["status"] == "passed"
    names = {claim["name"] for claim in found["claims"]}
    assert names >= {
        "interface",
        "precision",
        "outputs",
        "finite",
        "float_parity",
        "batch",
        "generated_inputs",
    }
    assert all(claim["status"] == "passed" and claim["because"] for claim in found["claims"])


def test_a_corrupted_weight(tmp_path, converted):
    import numpy as np
    import onnx

    model = onnx.load(converted)
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = np.frombuffer(weight.raw_data, np.float32).copy()
    values[: len(values) // 8] *= 1.02
    weight.raw_data = values.tobytes()
    onnx.save(model, tmp_path / "tiny.onnx")
    result = modelparity("verify", tmp_path / "tiny.onnx", "--model", "tiny_ladeda")
    assert result.exit_code == 1, result.output
    first, *rest = result.stdout.splitlines()
    assert first.startswith(f"FAIL: {FP32.id}: ")
    assert "float_parity = " in first
    assert first.endswith(" floors, but should be <= 8 floors [a test]")
    assert any(line.startswith("✘  float_parity") for line in rest)
    assert rest[-1] == f"reproduce: modelparity verify {tmp_path / 'tiny.onnx'} --model tiny_ladeda"
    assert "\x1b" not in result.stdout


def failed_claims(*arguments: object) -> dict[str, dict]:
    result = modelparity("verify", *arguments, "--model", "tiny_ladeda", "--json")
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.stderr
    found = json.loads(result.stdout)
    assert found["verdict"] == "fail"
    return {claim["name"]: claim for claim in found["claims"] if claim["status"] == "failed"}


def test_a_damaged_file(tmp_path, converted, images):
    (tmp_path / "tiny.onnx").write_bytes(converted.read_bytes()[:-3000])
    assert failed_claims(tmp_path / "tiny.onnx").keys() == {"loads"}
    words = refusal("run", tmp_path / "tiny.onnx", "--input", images, "--output", tmp_path / "o.npz")
    assert "tiny.onnx is damaged: " in words


def test_a_file_by_another_toolchain_is_told_what_it_was_not_asked(tmp_path, converted, images):
    """ONNX Runtime's own recipe rounds what no layer of ours reads or gives: that can't be simulated."""
    import numpy as np
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self._left = iter([dict(np.load(images))])

        def get_next(self):
            return next(self._left, None)

    model = onnx.load(converted)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "float.onnx")
    path = tmp_path / "theirs.onnx"
    quantize_static(tmp_path / "float.onnx", path, Reader(), per_channel=True)
    result = modelparity("verify", path, "--model", "tiny_ladeda")
    assert result.stdout.splitlines()[0].partition(": ")[2].startswith("tiny_ladeda-onnx-int8_static: ")
    asked = {line.split()[1] for line in result.stdout.splitlines() if line.startswith(("✔", "✘"))}
    assert "sqnr" in asked
    assert not asked & {"card", "simulated"}
    assert (
        "not asked: card, because the file says nothing of its preparation: others made it" in result.stdout
    )
    words = "activations are rounded that no layer of rounded weights reads or gives: "
    assert re.search(f"^not asked: simulated, because [1-9] {words}", result.stdout, re.MULTILINE)


def test_a_file_quantized_as_no_recipe_does(tmp_path, converted, monkeypatch):
    from modelparity.modelfiles import describe

    def third_party(*_: object) -> str:
        return "int8_weight_only"

    # In the child, too: it imports what lies first in its path.
    (tmp_path / "sitecustomize.py").write_text(
        "from converters import census\ncensus.recipe = lambda *_: 'int8_weight_only'\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
    monkeypatch.setattr(describe, "recipe", third_party)
    claim = failed_claims(converted)["precision"]
    assert claim["observed"] == "int8_weight_only"
    assert claim["bound"] == "fp32 or fp16 or int8_dynamic or int8_static"


@pytest.mark.parametrize(
    ("deed", "seen"), [("os.kill(os.getpid(), 11)", "SIGSEGV"), ("os._exit(3)", "exit 3")]
)
def test_a_file_that_ends_its_runtime(tmp_path, converted, monkeypatch, deed, seen):
    from dataclasses import replace

    from modelparity.converters.formats import CONVERTERS

    (tmp_path / "deadly_runtime.py").write_text(f"import os\ndef open_runner(path, threads):\n    {deed}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(CONVERTERS, "onnx", replace(CONVERTERS["onnx"], module="deadly_runtime"))
    failed = failed_claims(converted)
    assert failed.keys() == {"runs"}
    assert failed["runs"]["observed"] == seen


# --- gate and report --------------------------------------------------------------------------


def test_gate_then_report(tmp_path, converted, monkeypatch):
    monkeypatch.setattr("modelparity.gate.measure", lambda *_: {})
    result = modelparity("gate", "-k", FP32.id, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"1/1 ✔ {FP32.id} passed" in result.stderr
    assert f"PASS (narrowed with -k '{FP32.id}'): 1 of 1 cells green" in result.stdout
    assert "deterministic weights of the goldens (no checkpoint given)" in result.stdout
    assert str(tmp_path / "out" / "report.md") in result.stdout
    names = {"run.jsonl", "report.md", "report.html", "report.json", "junit.xml"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names

    text = passes("report", tmp_path / "out", "--output", tmp_path / "again")
    assert "1 of 1 cells green" in text
    for name in names - {"run.jsonl"}:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_a_gate_that_fails(tmp_path, converted, monkeypatch):
    """With a bound that nothing meets; `--json` is report.json."""
    monkeypatch.setattr("modelparity.gate.measure", lambda *_: {})
    monkeypatch.setitem(
        EXPECTATIONS, FP32, FloatTolerance(floors=0.001, generated_floors=60, because="a test")
    )
    result = modelparity("gate", "-k", FP32.id, "--output", tmp_path, "--json")
    assert result.exit_code == 1, result.output
    assert json.loads(result.stdout) == json.loads((tmp_path / "report.json").read_text())
    assert json.loads(result.stdout)["verdict"] == "fail"


def test_a_cell_that_nobody_declared(monkeypatch, tmp_path):
    monkeypatch.delitem(EXPECTATIONS, FP32)
    assert "no expectation for tiny_ladeda-onnx-fp32" in refusal("gate", "-k", FP32.id, "--output", tmp_path)


def test_stopped(tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("modelparity.commands.gate.run_gate", interrupted)
    result = modelparity("gate", "-k", FP32.id, "--output", tmp_path)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "stopped; finished cells are kept, run again to go on\n"


def test_a_fault_of_our_own(monkeypatch):
    def broken(_: bool) -> None:
        raise TypeError("of some kind")

    monkeypatch.setattr("modelparity.commands.list.list_models", broken)
    result = modelparity("list")
    assert result.exit_code == 70
    assert result.stderr.startswith("internal error: TypeError: of some kind; please report it")
    assert len(result.stderr.splitlines()) == 1
    monkeypatch.setenv("MODELPARITY_DEBUG", "1")
    assert "Traceback" in modelparity("list").stderr
