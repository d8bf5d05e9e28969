"""The second route to TFLite, and the reference kernels: two more witnesses, and that they can say no."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from meta_tests.converters.test_kernels import NOISE, RIGHT, reference_of_one
from meta_tests.miniatures.miniature import session_of
from modelparity.commands import convert
from modelparity.converters.engine.exported_program import FloatFile
from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.store import Store
from modelparity.converters.engine.workbench import Workbench
from modelparity.converters.engine.workers import Workers
from modelparity.converters.formats import CONVERTERS, ROUTES
from modelparity.converters.onnx2tf.convert import convert_float, missing
from modelparity.converters.onnx2tf.graph import prepared
from modelparity.errors import BadInputError
from modelparity.exit_codes import BAD_INPUT, explained
from modelparity.fixtures.models import MODELS
from modelparity.parity.reference import Reference
from modelparity.parity.route_agreement import TRUTH, Agreement, agreement
from modelparity.routes import compare
from modelparity.routes.document import Finding, document

needs_extra = pytest.mark.skipif(
    bool(missing()), reason=f"the extra `tensorflow` is not installed: {', '.join(missing())}"
)


# --- witnesses --------------------------------------------------------------------------------


def runs_off(**off):
    runs = {name: [{"score": RIGHT + by}] for name, by in off.items()}
    return agreement(reference_of_one(RIGHT), runs)


def test_witnesses_that_agree():
    found = runs_off(a=1e-7, b=2e-7, c=-1e-7)
    assert found.holds
    assert len(found.floors) == 6  # four with float64, two at a time
    assert found.floors[TRUTH, "b"]["score"] == pytest.approx(2, rel=1e-3)
    assert "agree" in found.verdict


@pytest.mark.parametrize("off", [1e-6, 0.5, np.nan])
def test_the_one_that_left_is_named(off):
    found = runs_off(a=1e-7, b=off, c=-1e-7)
    assert found.outliers == ("b",)
    assert not found.holds
    assert found.verdict.startswith("b differs from PyTorch float64")


def test_an_output_of_another_shape_has_left():
    runs = {"a": [{"score": RIGHT}], "b": [{"score": RIGHT[0]}]}
    assert agreement(reference_of_one(RIGHT), runs).outliers == ("b",)


def test_two_that_sit_on_either_side_of_the_truth_may_be_twice_as_far_apart():
    found = runs_off(a=7e-7, b=-7e-7)
    assert found.holds
    assert found.distance("b", "a") == pytest.approx(14, rel=1e-3)
    assert not Agreement({"score": 8}, {**found.floors, ("a", "b"): {"score": 17.0}}).holds


def test_an_output_of_few_values_may_be_further_off():
    """Chance does not average out in a score, of which an image has one value."""
    right = {"score": np.array([[0.5]]), "mask": RIGHT}
    outputs = {name: (value,) * 12 for name, value in right.items()}
    noise = dict.fromkeys(right, NOISE)
    reference = Reference(tuple("abcdefghijkl"), ({},) * 12, outputs, noise, samples=12)
    score = float(f"{reference.allowed('score'):.3g}")
    assert 15 < score < 30
    for output, by, held in (("score", 0.95, True), ("score", 1.05, False), ("mask", 0.55, False)):
        off = {name: value + (by * score * 1e-7 if name == output else 0) for name, value in right.items()}
        found = agreement(reference, {"a": [off], "b": [right]})
        assert found.holds == held
        words = f"score {score:g}, mask 8 floors"
        assert ("within " if held else "by more than ") + words in found.verdict


def test_a_slow_witness_is_compared_over_the_images_that_it_saw():
    reference = Reference(("a", "b"), ({}, {}), {"score": (RIGHT, RIGHT)}, {"score": NOISE})
    runs = {"all": [{"score": RIGHT}, {"score": RIGHT + 1}], "first": [{"score": RIGHT}]}
    assert agreement(reference, runs).outliers == ("all",)
    with pytest.raises(ValueError, match="not those of first"):
        agreement(reference, {**runs, "first": []})


def test_detections_are_matched_before_they_are_compared():
    boxes = np.array([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]])
    truth = {"location": boxes, "score": np.array([[0.9, 0.8]]), "category": np.array([[1, 2]])}
    turned = {name: value[:, ::-1] for name, value in truth.items()}
    fewer = {**truth, "score": np.array([[0.9, 0.0]])}
    noise = dict.fromkeys(("location", "score"), NOISE)
    reference = Reference(("a",), ({},), {n: (v,) for n, v in truth.items()}, noise, "detection")
    found = agreement(reference, {"turned": [turned], "fewer": [fewer]})
    assert found.distance(TRUTH, "turned") == 0
    assert found.outliers == ("fewer",)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A store that tests share: what one converted, the next need not."""
    return tmp_path_factory.mktemp("shelf")


def session_with(store, **modules):
    """The miniature; TFLite's own converter serves as the second route: no TensorFlow."""
    tflite = CONVERTERS["tflite"]
    converters = {"onnx": CONVERTERS["onnx"], "tflite": tflite, "onnx2tf": tflite}
    converters |= {name: replace(tflite, module=module) for name, module in modules.items()}
    session = session_of(["tflite"], store)
    session.bench.converters = converters
    return session


@pytest.fixture
def no_extra_needed(monkeypatch):
    monkeypatch.setattr(compare, "TOOLCHAIN", ("torch",))


def test_all_witnesses_are_heard_and_their_agreement_is_kept(shelf, monkeypatch, no_extra_needed):
    with session_with(shelf) as session:
        found = compare.compared(session, "miniature", "onnx2tf")
    assert found.holds, compare.words(found)
    assert found.runs == (TRUTH, *(run.name for run in compare._runs("onnx2tf")))
    with session_with(shelf) as session:
        monkeypatch.setattr(session.bench, "run", lambda *_, **__: pytest.fail("asked again"))
        assert compare.compared(session, "miniature", "onnx2tf") == found


def test_kernels_that_left_are_named(shelf, no_extra_needed):
    with session_with(shelf, tflite="meta_tests.liars.process.other_kernels") as session:
        found = compare.compared(session, "miniature", "onnx2tf")
        assert found.outliers == ("litert-torch on reference kernels", "onnx2tf on reference kernels")
        heard = []
        compare.compared(session, "miniature", "onnx2tf", heard.append)
    assert any("running" in words for words in heard)  # what did not agree is asked again


# --- the document -----------------------------------------------------------------------------


def test_the_document_says_who_left_and_who_stopped():
    findings = {
        "good": Finding(runs_off(a=1e-7, b=2e-7), "", "", True),
        "bad": Finding(runs_off(a=1e-7, b=0.5), "", "", False),
        "declared": Finding(None, "Expand: why", "onnx2tf does not carry Expand x", True),
        "stopped": Finding(None, "", "onnx2tf does not carry Mod y", False),
        "carried": Finding(runs_off(a=1e-7, b=2e-7), "Expand: why", "", False),
    }
    text = document(findings, "onnx2tf 1")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert [words.strip() for words in rows["good"].split("|")[2:-1]] == ["1", "2", "1", "8", "all agree"]
    assert "OUTLIER: b differs from PyTorch float64" in rows["bad"]
    assert "not carried, as declared" in rows["declared"]
    assert "STOPPED" in rows["stopped"]
    assert "but carried" in rows["carried"]
    assert "Not declared" in text
    assert "delete 'carried'" in text


# --- the route --------------------------------------------------------------------------------


def request(tmp_path, **changes):
    options = {"format": "tflite", "route": "onnx", **changes}
    return convert.request(
        "tiny_ladeda",
        format=options["format"],
        quantization="fp32",
        output=tmp_path / "x.tflite",
        is_folder=False,
        checkpoint=None,
        size="reduced",
        input_size=None,
        calibration=None,
        route=options["route"],
    )


def test_without_the_extra_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("modelparity.converters.onnx2tf.convert.missing", lambda: ("onnx2tf", "tensorflow"))
    with pytest.raises(BadInputError) as caught:
        request(tmp_path)
    words, code = explained(caught.value)
    assert code == BAD_INPUT
    assert "onnx2tf, tensorflow" in words
    assert "pip install" in words
    assert "\n" not in words


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"format": "onnx"}, "leads to --format tflite"), ({"route": "onxx"}, "no such route")],
)
def test_a_route_that_is_not_there(tmp_path, monkeypatch, changes, words):
    monkeypatch.setattr("modelparity.converters.onnx2tf.convert.missing", tuple)
    with pytest.raises(BadInputError, match=words):
        request(tmp_path, **changes)


def test_each_route_has_its_own_keys(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")  # TensorFlow need not be here
    bench = Workbench(Store(tmp_path), Workers(), {**CONVERTERS, **ROUTES})
    subject = ModelUnderTest.of(MODELS["tiny_ladeda"])
    direct, second, onnx = (
        bench.artifact_key(subject, name, "fp32") for name in ("tflite", "onnx2tf", "onnx")
    )
    assert second.parts["source"] == onnx.digest
    assert direct.parts["source"] == bench.exported_key(subject).digest
    assert second.digest != direct.digest
    int8 = {name: bench.artifact_key(subject, name, "int8_dynamic") for name in ("tflite", "onnx2tf")}
    assert int8["onnx2tf"].parts["source"] == second.digest
    for part in ("converter", "recipe", "toolchain"):  # the same recipe by the same quantizer
        assert int8["onnx2tf"].parts[part] == int8["tflite"].parts[part]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Mean of the three greatest of a square map, and the map: an axis swap changes no shape."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants = {
        "kernel": rng.normal(size=(1, 3, 3, 1)).astype(np.float32),
        "flat": np.array([0, -1]),
        "k": np.array([3]),
        "axis": np.array([1]),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["map"], kernel_shape=[3, 1], pads=[1, 0, 1, 0]),
        helper.make_node("Reshape", ["map", "flat"], ["row"]),
        helper.make_node("TopK", ["row", "k"], ["greatest", "places"]),
        helper.make_node("ReduceMean", ["greatest", "axis"], ["score"]),
    ]

    def port(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])

    graph = helper.make_graph(
        nodes,
        "g",
        [port("image", 3, 12, 12)],
        [port("score", 1), port("map", 1, 12, 12)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    path = tmp_path_factory.mktemp("source") / "source.onnx"
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return FloatFile(path, {"image": (1, 3, 12, 12)}, {"score": (1, 1), "map": (1, 1, 12, 12)})


def image():
    return {"image": np.random.default_rng(1).normal(size=(1, 3, 12, 12)).astype(np.float32)}


def test_what_onnx2tf_is_given_computes_the_same(source, tmp_path):
    import onnxruntime

    model = prepared(source, tmp_path)
    assert [axis.dim_value for axis in model.graph.output[1].type.tensor_type.shape.dim] == [1, 144]
    (topk,) = (node for node in model.graph.node if node.op_type == "TopK")
    assert topk.input[1] in {node.output[0] for node in model.graph.node if node.op_type == "Identity"}
    before = onnxruntime.InferenceSession(source.path).run(None, image())
    after = onnxruntime.InferenceSession(model.SerializeToString()).run(None, image())
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[1], before[1].reshape(1, -1))


@needs_extra
def test_the_route_keeps_names_order_axes_and_numbers(source, tmp_path):
    import onnxruntime

    from modelparity.converters.tflite.convert import TfliteRunner
    from modelparity.modelfiles.describe import describe

    target = tmp_path / "x.tflite"
    convert_float(source, target, ["image"], ["score", "map"])
    described = describe(target)
    assert [(port.name, port.shape) for port in described.inputs] == [("image", (1, 3, 12, 12))]
    assert [(port.name, port.shape) for port in described.outputs] == [
        ("score", (1, 1)),
        ("map", (1, 1, 12, 12)),
    ]
    score, map = onnxruntime.InferenceSession(source.path).run(None, image())
    with TfliteRunner(target) as runner:
        got = runner.run(image())
    np.testing.assert_allclose(got["score"], score, atol=1e-5)
    np.testing.assert_allclose(got["map"], map, atol=1e-5)


@pytest.mark.parametrize(
    ("mended_shape", "taken"), [((2, 4), "mended"), ((4, 2), "its own"), (None, "its own")]
)
def test_factors_that_do_not_meet_as_they_stand_are_left_to_the_tool(monkeypatch, mended_shape, taken):
    """None: TensorFlow refuses them."""
    from modelparity.converters.onnx2tf.workarounds import mended

    def make_node(**arguments):
        is_mended = arguments["onnx_tensor_infos_for_validation"] is None
        if is_mended and mended_shape is None:
            raise ValueError("incompatible shapes")
        made = SimpleNamespace(
            shape=mended_shape if is_mended else (2, 4), by="mended" if is_mended else "its own"
        )
        arguments["tf_layers_dict"]["product"] = {"tf_node": made}

    tools = {f"onnx2tf.ops.{name}": SimpleNamespace(make_node=make_node) for name in ("MatMul", "Resize")}
    for name, module in tools.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "onnx2tf.ops", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "onnx2tf", SimpleNamespace())
    node = SimpleNamespace(outputs=[SimpleNamespace(name="product", shape=["batch", 4])])
    layers: dict = {}
    with mended():
        tools["onnx2tf.ops.MatMul"].make_node(
            graph_node=node, tf_layers_dict=layers, onnx_tensor_infos_for_validation={"ones": 1}
        )
    assert layers["product"]["tf_node"].by == taken
    assert tools["onnx2tf.ops.MatMul"].make_node is make_node
