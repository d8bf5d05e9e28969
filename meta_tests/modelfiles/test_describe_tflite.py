"""What the census counts in TFLite files, against counts on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from meta_tests.miniatures.model_files import Operator, Tensor, tflite_bytes
from modelparity.modelfiles.describe import describe
from modelparity.modelfiles.description import BrokenModelError, Description, Port

Graph = tuple[Sequence[Tensor], Sequence[Operator], str, str]


def described(tmp_path: Path, *graphs: Graph, names: Mapping[str, str] | None = None) -> Description:
    path = tmp_path / "model.bin"
    path.write_bytes(tflite_bytes(*graphs, names=names))
    return describe(path)


X = Tensor("x", (1, 8, 8, 3))
LAYERS = [
    X,
    Tensor("w", (4, 3, 3, 3), stored=432),
    Tensor("b", (4,), stored=16),
    Tensor("c", (1, 6, 6, 4)),
    Tensor("d", (1, 3, 3, 4), stored=144),
    Tensor("e", (1, 4, 4, 4)),
    Tensor("size", (4,), "INT32", stored=16),
    Tensor("t", (2, 2, 2, 4), stored=128),
    Tensor("u", (1, 8, 8, 2)),
    Tensor("shape", (2,), "INT32", stored=8),
    Tensor("f", (1, 128)),
    Tensor("g", (5, 128), stored=2560),
    Tensor("y", (1, 5)),
]
OPERATORS = [
    Operator("CONV_2D", "x w b", "c"),  # 4·36 outputs × 3·9
    Operator("DEPTHWISE_CONV_2D", "c d b", "e"),  # 4·16 outputs × 9; its bias is the same buffer
    Operator("TRANSPOSE_CONV", "size t e", "u"),  # 4·16 inputs × 2·4
    Operator("RESHAPE", "u shape", "f"),
    Operator("FULLY_CONNECTED", "f g -", "y"),  # 5 outputs × 128
]
MACS = 4 * 36 * 27 + 4 * 16 * 9 + 4 * 16 * 8 + 5 * 128
WEIGHTS = 108 + 4 + 36 + 32 + 640


def test_a_float_network(tmp_path: Path) -> None:
    found = described(
        tmp_path, (LAYERS, OPERATORS, "x", "y e"), names={"image": "x", "mask": "e", "score": "y"}
    )
    assert found == Description(
        format="tflite",
        quantization="fp32",
        inputs=(Port("image", (1, 8, 8, 3), "float32"),),
        outputs=(Port("score", (1, 5), "float32"), Port("mask", (1, 4, 4, 4), "float32")),
        weights={"float32": WEIGHTS},
        macs={"float32": MACS},
        operators={
            "CONV_2D": 1,
            "DEPTHWISE_CONV_2D": 1,
            "FULLY_CONNECTED": 1,
            "RESHAPE": 1,
            "TRANSPOSE_CONV": 1,
        },
        producer="by hand",
    )


def test_without_a_signature_tensors_name_the_ports(tmp_path: Path) -> None:
    found = described(tmp_path, (LAYERS, OPERATORS, "x", "y e"))
    assert [port.name for port in (*found.inputs, *found.outputs)] == ["x", "y", "e"]


def test_an_output_given_twice_keeps_both_names(tmp_path: Path) -> None:
    found = described(tmp_path, (LAYERS, OPERATORS, "x", "y y"), names={"image": "x", "one": "y", "two": "y"})
    assert [port.name for port in found.outputs] == ["one", "two"]


def layer(x: str = "FLOAT32", w: str = "INT8", y: str = "FLOAT32", bias: str = "FLOAT32") -> Graph:
    size = {"INT8": 1, "UINT8": 1, "FLOAT16": 2, "INT64": 8}
    tensors = [
        Tensor("x", (1, 8), x),
        Tensor("w", (5, 8), w, stored=40 * size.get(w, 4)),
        Tensor("b", (5,), bias, stored=5 * size.get(bias, 4)),
        Tensor("y", (1, 5), y),
    ]
    return tensors, [Operator("FULLY_CONNECTED", "x w b", "y")], "x", "y"


@pytest.mark.parametrize(
    ("types", "quantization", "macs", "weights"),
    [
        (("FLOAT32", "FLOAT32", "FLOAT32", "FLOAT32"), "fp32", "float32", {"float32": 45}),
        (("FLOAT16", "FLOAT16", "FLOAT16", "FLOAT16"), "fp16", "float16", {"float16": 45}),
        (("FLOAT32", "INT8", "FLOAT32", "FLOAT32"), "int8_dynamic", "int8", {"float32": 5, "int8": 40}),
        (("INT8", "INT8", "INT8", "INT32"), "int8_static", "int8", {"int32": 5, "int8": 40}),
        (("UINT8", "UINT8", "UINT8", "INT32"), "int8_static", "int8", {"int32": 5, "uint8": 40}),
        (("INT16", "INT8", "INT16", "INT64"), "int8_static", "int8", {"int64": 5, "int8": 40}),
    ],
)
def test_the_type_that_the_kernel_reads(
    tmp_path: Path, types: tuple[str, str, str, str], quantization: str, macs: str, weights: dict[str, int]
) -> None:
    found = described(tmp_path, layer(*types))
    assert (found.quantization, found.macs, found.weights) == (quantization, {macs: 40}, weights)


@pytest.mark.parametrize(("stored", "named"), [("FLOAT16", "fp16"), ("INT8", "int8_weight_only")])
def test_a_weight_behind_dequantize_is_float(tmp_path: Path, stored: str, named: str) -> None:
    tensors = [
        Tensor("x", (1, 8)),
        Tensor("w", (8, 5), stored, stored=40 * (2 if stored == "FLOAT16" else 1)),
        Tensor("v", (8, 5)),
        Tensor("order", (2,), "INT32", stored=8),
        Tensor("t", (5, 8)),
        Tensor("y", (1, 5)),
    ]
    operators = [
        Operator("DEQUANTIZE", "w", "v"),
        Operator("TRANSPOSE", "v order", "t"),
        Operator("FULLY_CONNECTED", "x t -", "y"),
    ]
    found = described(tmp_path, (tensors, operators, "x", "y"))
    assert (found.quantization, found.macs, found.weights) == (named, {"float32": 40}, {stored.lower(): 40})


def test_one_weight_only_layer_names_a_float_file(tmp_path: Path) -> None:
    tensors = [
        *(Tensor("x", (1, 8)), Tensor("w", (1, 5, 8), "INT8", stored=40), Tensor("v", (1, 5, 8))),
        *(Tensor("t", (5, 8)), Tensor("y", (1, 5)), Tensor("k", (99, 5), stored=1980), Tensor("z", (99, 5))),
    ]
    operators = [
        Operator("DEQUANTIZE", "w", "v"),
        Operator("RESHAPE", "v", "t"),
        Operator("FULLY_CONNECTED", "x t -", "y"),
        Operator("ADD", "y k", "z"),
    ]
    found = described(tmp_path, (tensors, operators, "x", "z"))
    assert (found.quantization, found.weights) == ("int8_weight_only", {"float32": 495, "int8": 40})


def test_a_buffer_that_two_tensors_share_counts_once(tmp_path: Path) -> None:
    tensors = [
        *(Tensor("x", (1, 8)), Tensor("w", (8, 8), stored=256), Tensor("v", (8, 8), buffer="w")),
        *(Tensor("h", (1, 8)), Tensor("y", (1, 8))),
    ]
    operators = [Operator("FULLY_CONNECTED", "x w -", "h"), Operator("FULLY_CONNECTED", "h v -", "y")]
    found = described(tmp_path, (tensors, operators, "x", "y"))
    assert (found.weights, found.macs) == ({"float32": 64}, {"float32": 128})


@pytest.mark.parametrize("adj_x", [False, True])
def test_a_product_of_activations(tmp_path: Path, adj_x: bool) -> None:
    left = (2, 7, 3) if adj_x else (2, 3, 7)
    tensors = [Tensor("x", (1, *left)), Tensor("z", (1, 2, 7, 5)), Tensor("y", (1, 2, 3, 5))]
    found = described(tmp_path, (tensors, [Operator("BATCH_MATMUL", "x z", "y", adj_x=adj_x)], "x z", "y"))
    assert (found.macs, found.weights) == ({"float32": 2 * 3 * 5 * 7}, {})


@pytest.mark.parametrize("axis", [0, 1])
def test_dynamic_axes_are_named_and_not_guessed_at(tmp_path: Path, axis: int) -> None:
    shape, signature = [1, 8, 8, 3], [1, 8, 8, 3]
    shape[axis], signature[axis] = 1, -1
    tensors = [Tensor("x", shape, signature=signature), *LAYERS[1:]]
    found = described(tmp_path, (tensors, OPERATORS, "x", "y"))
    assert found.inputs[0].shape == tuple("dynamic" if n == -1 else n for n in signature)
    assert found.macs == {"float32": MACS - 4 * 36 * 27, "unknown": 1}


def test_a_fixed_batch_counts_one_image(tmp_path: Path) -> None:
    tensors = [Tensor("x", (6, 8)), Tensor("w", (5, 8), stored=160), Tensor("y", (6, 5))]
    assert described(tmp_path, (tensors, [Operator("FULLY_CONNECTED", "x w -", "y")], "x", "y")).macs == {
        "float32": 40
    }


def test_composites_count_what_they_are_made_of(tmp_path: Path) -> None:
    main = [Tensor(name, (1, 5)) for name in "xyz"]
    calls = [
        Operator("STABLEHLO_COMPOSITE", "x", "y", calls=1),
        Operator("STABLEHLO_COMPOSITE", "y", "z", calls=1),
    ]
    tensors = [Tensor("a", (1, 5)), Tensor("w", (5, 5), stored=100), Tensor("b", (1, 5))]
    inner: Graph = (tensors, [Operator("FULLY_CONNECTED", "a w -", "b")], "a", "b")
    found = described(tmp_path, (main, calls, "x", "z"), inner)
    assert (found.macs, found.weights) == ({"float32": 50}, {"float32": 25})
    circle: Graph = (tensors, [Operator("STABLEHLO_COMPOSITE", "a", "b", calls=1)], "a", "b")
    with pytest.raises(BrokenModelError, match="calls itself"):
        described(tmp_path, (main, calls, "x", "z"), circle)


def test_what_may_run_any_number_of_times_is_not_guessed(tmp_path: Path) -> None:
    main = [Tensor(name, (1, 5)) for name in "xy"]
    found = described(tmp_path, (main, [Operator("WHILE", "x", "y")], "x", "y"), layer())
    assert found.macs == {"unknown": 1}
    found = described(tmp_path, (main, [Operator("CUSTOM", "x", "y")], "x", "y"))
    assert found.macs == {"unknown": 1}


def test_a_file_of_3_gb_is_not_copied(tmp_path: Path) -> None:
    """Above 2 GB a file keeps its buffers behind the tables: here, a sparse hole of 3 GB."""
    resource = pytest.importorskip("resource")
    rows, size = 30_000, 3_000_000_000
    at = 1 << 20
    tensors = [
        Tensor("x", (1, 100_000)),
        Tensor("w", (rows, 100_000), "INT8", place=(at, size)),
        Tensor("y", (1, rows)),
    ]
    path = tmp_path / "big.tflite"
    path.write_bytes(tflite_bytes((tensors, [Operator("FULLY_CONNECTED", "x w -", "y")], "x", "y")))
    with path.open("r+b") as file:
        file.truncate(at + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = describe(path)
    assert (found.weights, found.macs) == ({"int8": size}, {"int8": size})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
    with path.open("r+b") as file:
        file.truncate(at + size - 1)
    with pytest.raises(BrokenModelError, match="a buffer ends at byte 3001048576 of 3001048575"):
        describe(path)


def test_damage_that_tables_let_pass(tmp_path: Path) -> None:
    def damaged(tensors: Sequence[Tensor], operators: Sequence[Operator], outputs: str, match: str) -> None:
        with pytest.raises(BrokenModelError, match=match):
            described(tmp_path, (tensors, operators, "x", outputs))

    damaged(
        [X, Tensor("w", (3, 4), stored=47), Tensor("y", (1,))], [], "x", "needs 48 bytes, its buffer has 47"
    )
    damaged([X, Tensor("y", (1, -7))], [], "x", r"shape \(1, -7\)")
    damaged([X, Tensor("y", (1, 7))], [], "y", "no operator makes the output 'y'")
    damaged([X], [], "", "no outputs")
    damaged(LAYERS, [Operator("FULLY_CONNECTED", "f - -", "y")], "y", "FULLY_CONNECTED lacks an operand")
    damaged(LAYERS, [Operator("FULLY_CONNECTED", "f ? -", "y")], "y", "are named, but there are 13")
    data = tflite_bytes((LAYERS, OPERATORS, "x", "y"))
    text_last = tflite_bytes(([X, Tensor("y", (1,))], [Operator("CUSTOM", "x", "y")], "x", "y"))
    assert b"Anything" in text_last[-16:]
    for match, changed in {
        "root lies at byte": b"\xff\xff\xff\x7f" + data[4:],
        "offset leads astray": data[:200],
        "a text ends at byte": text_last[: text_last.index(b"Anything") + 5],
    }.items():
        (tmp_path / "m").write_bytes(changed)
        with pytest.raises(BrokenModelError, match=match):
            describe(tmp_path / "m")
