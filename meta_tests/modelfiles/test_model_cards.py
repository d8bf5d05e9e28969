"""Cards: what a file says of itself is there, right, and harms nothing; what it says wrongly is red."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from meta_tests.miniatures.miniature import SPEC, cell, session_of
from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import Preprocessing
from modelparity.modelfiles.description import BrokenModelError
from modelparity.modelfiles.model_card import card_of, write_metadata
from modelparity.parity.claims import preprocessing

FORMATS = ("onnx", "tflite")


@pytest.fixture(scope="module")
def session(shared_store):
    with session_of(FORMATS, shared_store) as session:
        yield session


@pytest.fixture
def artifact(session, tmp_path):
    """A copy of the miniature's file in a format."""

    def copied(format: str, quantization: str = "fp32") -> Path:
        made = session.artifact("miniature", format, quantization)
        return Path(shutil.copy(made.path, tmp_path / f"{quantization}{made.path.suffix}"))

    return copied


def outputs(session, path: Path):
    format = "onnx" if path.suffix == ".onnx" else "tflite"
    (feed, *_) = session.feeds("miniature")
    return session.bench.run(format, path, [feed], fresh=True)[0]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("quantization", ["fp32", "fp16", "int8_dynamic", "int8_static"])
def test_every_file_has_its_own_card(session, artifact, format, quantization):
    path = artifact(format, quantization)
    card = card_of(path)
    assert card == session.bench.card(session.subject("miniature"), format, quantization)
    assert (card.format, card.quantization, card.model) == (format, quantization, "miniature")
    assert card.input_size == (32, 32)
    assert card.batch == (None if format == "onnx" else 1)
    assert not card.trained
    assert path.read_bytes().count(b'"quantization": "fp32"') == (quantization == "fp32")


@pytest.mark.parametrize("format", FORMATS)
def test_a_card_is_replaced_and_changes_nothing_else(session, artifact, format):
    path = artifact(format)
    before, described = outputs(session, path), session.bench.describe(path)
    for text in ("short", "a long one, " * 300, "short again"):
        write_metadata(path, text)
        assert _text(path) == text
        after = outputs(session, path)
        assert {name: value.tobytes() for name, value in after.items()} == {
            name: value.tobytes() for name, value in before.items()
        }
        assert session.bench.describe(path) == described
        assert b"a long one" not in path.read_bytes() or text.startswith("a long")


def _text(path: Path) -> str | None:
    from modelparity.modelfiles.formats import format_of

    return format_of(path).call("read_metadata", path)


def test_onnx_tools_see_one_entry(artifact):
    import onnx
    import onnxruntime

    path = artifact("onnx", "int8_static")
    write_metadata(path, "mine")
    model = onnx.load(path)
    onnx.checker.check_model(model)  # refuses a key that comes twice
    assert [(entry.key, entry.value) for entry in model.metadata_props] == [("modelparity", "mine")]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"modelparity": "mine"}


def test_what_follows_an_older_entry_stays(artifact):
    """protobuf writes functions behind the metadata."""
    import onnx

    path = artifact("onnx")
    model = onnx.load(path)
    function = onnx.helper.make_function("ours", "f", ["x"], ["x"], [], model.opset_import)
    model.functions.append(function)
    model.metadata_props.add(key="other", value="kept")
    onnx.save(model, path)
    write_metadata(path, "new")
    found = onnx.load(path)
    assert {entry.key: entry.value for entry in found.metadata_props} == {
        "other": "kept",
        "modelparity": "new",
    }
    assert list(found.functions) == [function]
    assert found.graph == model.graph


def test_weights_beside_a_file_stay_beside_it(artifact, tmp_path):
    import onnx

    path, text = artifact("onnx"), "x"
    model = onnx.load(path)
    apart = tmp_path / "apart.onnx"
    onnx.save_model(model, apart, save_as_external_data=True, location="apart.onnx.data", size_threshold=0)
    weights = (tmp_path / "apart.onnx.data").read_bytes()
    write_metadata(apart, text)
    assert _text(apart) == text
    assert (tmp_path / "apart.onnx.data").read_bytes() == weights


def test_other_members_of_a_tflite_archive_stay(session, artifact):
    """TFLite metadata packs labels and vocabularies there."""
    path = artifact("tflite")
    before = outputs(session, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "one\ntwo\n")
    for text in ("a card", "another"):
        write_metadata(path, text)
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert sorted(archive.namelist()) == ["labels.txt", "modelparity.json"]
            assert archive.read("labels.txt") == b"one\ntwo\n"
        assert _text(path) == text
    same(outputs(session, path), before)


def test_a_tflite_card_of_an_earlier_release_is_read(session, artifact):
    """These had it in the flatbuffer, as an entry of its metadata."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    path = artifact("tflite")
    card, text = card_of(path), _text(path)
    model = tfl_flatbuffer_utils.read_model(str(path))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(text.encode(), np.uint8)
    entry.name, entry.buffer = b"modelparity", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    tfl_flatbuffer_utils.write_model(model, str(path))
    assert not zipfile.is_zipfile(path)
    assert card_of(path) == card
    write_metadata(path, "a newer one")
    assert _text(path) == "a newer one"


def test_a_tflite_file_that_ends_within_its_card_is_damaged(artifact):
    path = artifact("tflite")
    whole, lengths = path.read_bytes(), []
    start = whole.index(b"PK\x03\x04") + 14  # of the archive, and enough of it to tell it from weights
    for length in range(start, len(whole), 50):
        path.write_bytes(whole[:length])
        with pytest.raises(BrokenModelError, match="archive of metadata"):
            card_of(path)
        lengths.append(length)
    assert len(lengths) > 10
    at = whole.index(b'"model"')
    path.write_bytes(whole[:at] + b"?" + whole[at + 1 :])
    with pytest.raises(BrokenModelError, match="CRC"):
        card_of(path)


@pytest.mark.parametrize("format", FORMATS)
def test_a_card_is_written_whole_or_not_at_all(artifact, monkeypatch, format):
    path = artifact(format)
    before = path.read_bytes()
    write_metadata(path, _text(path))
    assert path.read_bytes() == before

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_metadata(path, "another")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_tflite_weights_behind_the_tables_are_still_found(session, artifact):
    """Files of more than 2 GiB have them there, by their distance from the file's start."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    path = artifact("tflite")
    before = outputs(session, path)
    model = tfl_flatbuffer_utils.read_model(str(path))
    data = [np.asarray(b.data, np.uint8).tobytes() if b.data is not None else b"" for b in model.buffers]
    apart = [i for i, weights in enumerate(data) if len(weights) >= 64]
    assert apart

    def packed(start: int) -> bytes:
        import flatbuffers

        place = start
        for i in apart:
            model.buffers[i].data = None
            model.buffers[i].offset, model.buffers[i].size = place, len(data[i])
            place += -(-len(data[i]) // 16) * 16
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    assert schema.BufferT().offset == 0
    start = -(-len(packed(1 << 20)) // 16) * 16
    tables = packed(start)
    tail = b"".join(data[i] + bytes(-len(data[i]) % 16) for i in apart)
    whole = tables + bytes(start - len(tables)) + tail
    path.write_bytes(whole)
    same(outputs(session, path), before)
    write_metadata(path, "a card")
    assert _text(path) == "a card"
    same(outputs(session, path), before)
    assert path.read_bytes().startswith(whole)


def same(one, other):
    assert {name: value.tobytes() for name, value in one.items()} == {
        name: value.tobytes() for name, value in other.items()
    }


@pytest.mark.parametrize("format", FORMATS)
def test_a_damaged_file_or_card_is_told(artifact, format):
    path = artifact(format)
    write_metadata(path, json.dumps({"schema": 7}))
    with pytest.raises(BrokenModelError, match="its card cannot be read"):
        card_of(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BrokenModelError, match="damaged"):
        card_of(path)


def test_an_older_opset_keeps_the_card(session):
    lowered = session.artifact("miniature", "onnx", "fp32", opset=17)
    assert card_of(lowered.path) == card_of(session.artifact("miniature", "onnx", "fp32").path)


# --- what a wrong preparation looks like


def failed(record) -> set[str]:
    return {claim.name for claim in record.claims if claim.status == "failed"}


def verified(session, path: Path):
    from modelparity.modelfiles.describe import describe
    from modelparity.verification.verify import judge_file

    return judge_file(session, path, spec=SPEC, description=describe(path), on_stage=lambda _: None).record


WRONG = {
    "mean": Preprocessing("bilinear", mean=(0.5, 0.5, 0.5)),
    "resampling": Preprocessing("bicubic"),
    "deviation": Preprocessing("bilinear", std=(0.229, 0.224, 0.226)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_card_with_a_wrong_preparation_is_red(session, artifact, wrong):
    path = artifact("onnx")
    card = card_of(path)
    write_metadata(path, replace(card, preprocessing=WRONG[wrong]).text())
    assert failed(verified(session, path)) == {"model_card", "preprocessing"}


def test_an_honest_card_is_green_and_a_file_without_one_is_not_asked(session, artifact):
    import onnx

    path = artifact("onnx")
    record = verified(session, path)
    assert record.green, failed(record)
    assert {"model_card", "preprocessing"} <= {claim.name for claim in record.claims}
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    record = verified(session, path)
    assert record.green, failed(record)
    assert {"model_card", "preprocessing"} <= set(record.not_asked)


def test_our_own_file_without_a_card_is_red(session):
    expected = session.bench.card(session.subject("miniature"), "onnx", "fp32")
    assert preprocessing.model_card(expected, expected).passed
    assert not preprocessing.model_card(None, expected).passed
    other = preprocessing.model_card(replace(expected, input_size=(32, 30)), expected)
    assert (other.status, other.detail) == ("failed", "input_size is (32, 30), but should be (32, 32)")


@pytest.mark.parametrize("model", MODELS)
def test_every_network_is_fed_what_training_feeds_it(session, model):
    from modelparity.converters.engine.workbench import ModelUnderTest

    subject = ModelUnderTest.of(MODELS[model])
    made = preprocessing.preprocessing(session.bench, subject, session.bench.card(subject, "onnx", "fp32"))
    assert all(claim.passed for claim in made), made
    assert made[0].observed == 0
    named = {claim.name for claim in made}
    assert ("published_preprocessing" in named) == (subject.spec.resize_backend != "picture")


LIARS = {
    "bgr": lambda pixels, how, size: _right(np.ascontiguousarray(pixels[:, :, ::-1]), how, size),
    "another resampling": lambda pixels, how, size: _right(pixels, replace(how, resample="bicubic"), size),
    "another mean": lambda pixels, how, size: _right(pixels, replace(how, mean=(0.4, 0.4, 0.4)), size),
    "truncated levels": lambda pixels, how, size: _right(pixels // 2 * 2, how, size),
    "turned": lambda pixels, how, size: _right(pixels, how, size).transpose(0, 2, 1),
}


def _right(pixels, how, size):
    from modelparity.fixtures.images import preprocess

    return preprocess(pixels, how, size)


@pytest.mark.parametrize("liar", LIARS)
@pytest.mark.parametrize("model", ["objectformer", "chunkyseal"])
def test_a_serving_path_that_prepares_otherwise_is_red(session, monkeypatch, liar, model):
    from modelparity.converters.engine.workbench import ModelUnderTest

    monkeypatch.setattr(preprocessing, "preprocess", LIARS[liar])
    subject = ModelUnderTest.of(MODELS[model])
    made = preprocessing.preprocessing(session.bench, subject, session.bench.card(subject, "onnx", "fp32"))
    assert {claim.name for claim in made if not claim.passed} == {"preprocessing", "published_preprocessing"}


def test_the_gate_says_it_of_a_cell(session):
    record = session.prove(cell("onnx"))
    assert {"model_card", "preprocessing"} <= {claim.name for claim in record.claims if claim.passed}


def test_the_jpegs_are_those_of_the_wheel():
    assert find_spec("skimage")
    shrunk, enlarged = preprocessing.jpegs()
    assert shrunk.startswith(b"\xff\xd8\xff")
    assert enlarged.startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize("format", FORMATS)
def test_a_planted_fault_leaves_the_card(artifact, tmp_path, format):
    """Else the mutation score would count every fault as noticed by `card`."""
    from modelparity.modelfiles.mutations.plant import editor

    path = artifact(format)
    planted = tmp_path / f"planted{path.suffix}"
    editor(format, path).save(planted)
    assert card_of(planted) == card_of(path)
