"""What the user says of a file that is to be judged: its name, and inputs of the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelparity.errors import BadInputError
from modelparity.fixtures.specs import Signature, TensorSpec
from modelparity.modelfiles.description import Description
from modelparity.verification.file_names import remark
from modelparity.verification.own_inputs import own_inputs

SIGNATURE = Signature((TensorSpec("image", ("batch", 3, 8, 8), "picture"),), ())
WEIGHTS = {
    "fp32": {"float32": 100},
    "fp16": {"float16": 90, "float32": 10},
    "int8_dynamic": {"int8": 90, "float32": 10},
    "int8_static": {"uint8": 90, "int32": 10},
    "int8_weight_only": {"int8": 90, "float32": 10},
}
IMAGES = np.zeros((4, 3, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("name", "quantization", "told"),
    [
        ("model_int8.onnx", "fp32", True),
        ("model_int8.onnx", "int8_static", False),
        ("model-uint8-v2.tflite", "fp16", True),
        ("model_int8.tflite", "int8_weight_only", False),
        ("model_int4.onnx", "int8_weight_only", True),
        ("net.fp16.onnx", "fp32", True),
        ("net_float16.tflite", "fp16", False),
        ("net_half.onnx", "int8_dynamic", True),
        ("on_behalf.onnx", "fp32", False),
        ("model_quantized.onnx", "fp32", True),
        ("MODEL_QUANT.onnx", "int8_dynamic", False),
        ("int8_made_from_fp16.onnx", "int8_static", False),  # one of the two is so
        ("int8_made_from_fp16.onnx", "fp32", True),
        ("model.onnx", "int8_static", False),
        ("model_fp32.onnx", "fp32", False),
        ("model_int80.onnx", "fp32", False),
    ],
)
def test_a_name_that_says_what_is_not_so_is_told(name, quantization, told):
    made = Description("onnx", quantization, (), (), weights=WEIGHTS[quantization])
    words = remark(Path("/int8") / name, made)
    assert bool(words) is told
    if told:
        assert f"called {name}, but what is in it is {quantization}" in words


def test_four_bits_are_told_by_the_weights():
    made = Description("onnx", "int8_weight_only", (), (), weights={"int4": 100})
    assert remark(Path("model_int4.onnx"), made) == ""


def test_own_inputs_are_an_evaluation_set(tmp_path):
    np.savez(tmp_path / "in.npz", image=IMAGES + np.arange(4, dtype=np.float32)[:, None, None, None])
    samples = own_inputs(tmp_path / "in.npz", SIGNATURE).samples
    assert [sample.name for sample in samples] == [f"in.npz {place}" for place in range(4)]
    assert [float(sample.feeds["image"][0, 0, 0, 0]) for sample in samples] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": IMAGES}, "should hold image, but holds x float32[4, 3, 8, 8]"),
        ({"image": IMAGES, "mask": IMAGES}, "should hold image, but holds image"),
        ({"image": IMAGES.astype(np.float64)}, "image is float64, but should be float32"),
        ({"image": IMAGES[0]}, "image has shape [3, 8, 8], but should be [samples, 3, 8, 8]"),
        ({"image": IMAGES.transpose(0, 2, 3, 1)}, "image has shape [4, 8, 8, 3], but should be [samples, 3"),
        ({"image": IMAGES[:0]}, "image has shape [0, 3, 8, 8], but should be [samples, 3, 8, 8]"),
        ({"image": IMAGES * np.nan}, "image holds 768 of 768 values that are not finite"),
    ],
)
def test_other_inputs_are_refused_in_one_line(tmp_path, arrays, words):
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(BadInputError) as refused:
        own_inputs(tmp_path / "in.npz", SIGNATURE)
    assert words in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "in.npz"))
    assert "\n" not in str(refused.value)


def test_each_input_has_as_many_samples_as_the_others(tmp_path):
    two = Signature((*SIGNATURE.inputs, TensorSpec("length", ("batch",), "length", dtype="int64")), ())
    np.savez(tmp_path / "in.npz", image=IMAGES, length=np.zeros(3, np.int64))
    with pytest.raises(BadInputError, match="image 4, length 3"):
        own_inputs(tmp_path / "in.npz", two)
