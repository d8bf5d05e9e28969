"""Files of other names and layouts are judged as if they had the network's; the files stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from meta_tests.parity.foreign_files.conftest import SPEC
from modelparity.converters.engine.store import sha256_of
from modelparity.errors import BadInputError
from modelparity.modelfiles.description import Description, Port
from modelparity.modelfiles.ports import Ports
from modelparity.parity.claims import basic
from modelparity.verification.port_names import ports_of, proposal

SIGNATURE = SPEC.signature()
NAMES = {"image": "pixels", "left": "a", "right": "b", "classes": "c", "kinds": "d", "mask": "e"}
PORTS = Ports(
    (("pixels", "image"),),
    tuple((theirs, ours) for ours, theirs in NAMES.items() if ours != "image"),
    input_layout="nhwc",
    output_layout="nhwc",
)


def foreign(graph):
    """Other names, in another order, and channels last."""
    graph.before("Transpose", perm=[0, 3, 1, 2])
    graph.behind("mask", "Transpose", perm=[0, 2, 3, 1])
    graph.renamed(NAMES)
    ports = graph.model.graph
    ports.input[0].CopyFrom(helper.make_tensor_value_info("pixels", 1, ["batch", 16, 16, 3]))
    ports.output[4].CopyFrom(helper.make_tensor_value_info("e", 1, ["batch", 16, 16, 3]))
    values = list(ports.output)
    del ports.output[:]
    ports.output.extend(reversed(values))


def quantized_by_onnxruntime(judging, tmp_path):
    """By its defaults: every activation is rounded, so that the file's own graph is simulated."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self._left = iter([PORTS.fed(feed) for feed in judging.session.feeds("endings")])

        def get_next(self):
            return next(self._left, None)

    def bare(graph):
        foreign(graph)
        del graph.model.metadata_props[:]

    source = judging.edited(tmp_path / "float.onnx", bare)
    quantize_static(source, tmp_path / "foreign.onnx", Reader(), per_channel=True)
    return tmp_path / "foreign.onnx"


@pytest.mark.parametrize("quantization", ["fp32", "fp16", "int8_dynamic", "int8_static", "onnxruntime"])
def test_a_file_of_other_names_and_layouts(judging, tmp_path, quantization):
    if quantization == "onnxruntime":
        path = quantized_by_onnxruntime(judging, tmp_path)
    else:
        path = judging.edited(tmp_path / "foreign.onnx", foreign, source=judging.converted(quantization))
    sha256 = sha256_of(path)
    record = judging.record(path)
    assert not record.green
    judging.session.bench.ports[path] = PORTS
    record = judging.record(path)
    assert record.green, [claim for claim in record.claims if not claim.passed]
    assert record.artifact.sha256 == sha256 == sha256_of(path)
    assert len(record.claims) > 20


def described(inputs: str, outputs: str) -> Description:
    """Of ports such as "x 1,3,16,16"."""

    def ports(text: str) -> tuple[Port, ...]:
        words = (port.split() for port in text.split("; "))
        return tuple(
            Port(name, tuple(int(n) if n.isdigit() else n for n in axes.split(",")), "float32")
            for name, axes in words
        )

    return Description("onnx", "fp32", ports(inputs), ports(outputs))


TWO = SPEC.with_outputs(["left", "mask"]).signature()
ALIKE = SPEC.with_outputs(["left", "right"]).signature()


@pytest.mark.parametrize(
    ("inputs", "outputs", "options"),
    [
        ("image n,3,16,16", "left n,4; mask n,3,16,16", ""),
        ("x n,3,16,16", "left n,4; mask n,3,16,16", "--rename x=image"),
        (
            "x 1,16,16,3",
            "m 1,3,16,16; l 1,4",
            "--rename x=image --rename l=left --rename m=mask --input-layout nhwc",
        ),
        ("image 1,16,16,3", "left 1,4; mask 1,16,16,3", "--input-layout nhwc --output-layout nhwc"),
        ("image 1,3,16,16", "left 1,4; mask 1,16,16,3", "--output-layout nhwc"),
        ("x n,n,n,n", "l n,4; m n,n,n,n", "--rename x=image --rename l=left --rename m=mask"),
    ],
)
def test_options_are_proposed_where_shapes_and_types_leave_no_doubt(inputs, outputs, options):
    words = proposal(described(inputs, outputs), TWO, Ports())
    assert words.partition("try ")[2] == options
    if options:  # they say what they should
        parts = options.split()
        given = dict(zip(parts[::2], parts[1::2], strict=True))
        renames = [text for option, text in zip(parts[::2], parts[1::2], strict=True) if option == "--rename"]
        layouts = given.get("--input-layout", "nchw"), given.get("--output-layout", "nchw")
        ports = ports_of(described(inputs, outputs), TWO, renames, layouts=layouts)
        seen = ports.seen(described(inputs, outputs))
        assert [port.name for port in (*seen.inputs, *seen.outputs)] == ["image", "left", "mask"]
        assert proposal(described(inputs, outputs), TWO, ports) == ""


def test_two_outputs_alike_are_for_the_user_to_tell_apart():
    words = proposal(described("image n,3,16,16", "a n,4; b n,4"), ALIKE, Ports())
    assert "--rename THEIRS=OURS says which is which: the file has image" in words
    words = proposal(described("image n,3,16,16", "a n,4; right n,4"), ALIKE, Ports())
    assert words == "its ports have other names: try --rename a=left"


def test_of_a_file_that_lacks_an_output_nothing_is_proposed():
    assert proposal(described("image n,3,16,16", "left n,4"), TWO, Ports()) == ""


@pytest.mark.parametrize(
    ("renames", "layouts", "words"),
    [
        (["x"], ("nchw", "nchw"), "should be THEIRS=OURS"),
        (
            ["y=image"],
            ("nchw", "nchw"),
            "the file has x float32[n, 3, 16, 16] -> a float32[n, 4], b float32[n, 4]",
        ),
        (
            ["x=picture"],
            ("nchw", "nchw"),
            "the network has image float32[batch, 3, 16, 16] -> left float32[batch",
        ),
        (["x=left"], ("nchw", "nchw"), "no two inputs or outputs of these names"),
        (["a=left", "a=right"], ("nchw", "nchw"), "names a twice"),
        (["a=left", "b=left"], ("nchw", "nchw"), "a and b would both be left"),
        ([], ("hwc", "nchw"), "--input-layout hwc, but should be nchw or nhwc"),
        (
            [],
            ("nchw", "nhwc"),
            "--output-layout nhwc: no port has four axes: a float32[n, 4], b",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(renames, layouts, words):
    with pytest.raises(BadInputError) as refused:
        ports_of(described("x n,3,16,16", "a n,4; b n,4"), ALIKE, renames, layouts=layouts)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_who_names_the_ports_binds_them_by_name():
    """Exchanged names are put right, and with them the order; an order without names stays wrong."""
    exchanged = described("image n,3,16,16", "right n,4; left n,4")
    assert not basic.interface(exchanged, ALIKE, dynamic_batch=True).passed
    ports = ports_of(exchanged, ALIKE, ["left=right", "right=left"], layouts=("nchw", "nchw"))
    assert basic.interface(ports.seen(exchanged), ALIKE, dynamic_batch=True).passed
    given = ports.given({"left": np.array([1]), "right": np.array([2])})
    assert {name: int(value[0]) for name, value in given.items()} == {"left": 2, "right": 1}
