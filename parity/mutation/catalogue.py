"""Lists the faults that are planted in files to test the judge, each with the mistake that it stands for.

A new fault is one entry. `plant` names an edit of `modelparity.modelfiles.mutations.plant`, and `options`
gives its arguments for a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelparity.converters.recipes import QUANTIZATIONS
from modelparity.fixtures.arrays import Feeds
from modelparity.fixtures.specs import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, Task
from modelparity.parity.reference import ReferenceData

Options = Callable[[ReferenceData], Mapping[str, Any]]
Feeding = Callable[[ReferenceData], Sequence[Feeds]]
FLOAT_FILES = tuple(recipe.name for recipe in QUANTIZATIONS.values() if recipe.is_float)
HALF = tuple(recipe.name for recipe in QUANTIZATIONS.values() if recipe.weights == "float16")
INTEGER = tuple(recipe.name for recipe in QUANTIZATIONS.values() if recipe.weights == "int8")
CALIBRATED = tuple(recipe.name for recipe in QUANTIZATIONS.values() if recipe.needs_calibration)
_OTHER_MEAN = _OTHER_STD = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        because: The mistake that it stands for.
        plant: The edit of the file; "" for a fault that is not in the file.
        options: Arguments of the edit.
        feeds: What the network itself would have to be fed to compute exactly what the file computes.
        strengths: Tried weakest first; the first that fails a claim ends the search.
        places: How many channels are tried until one moves an output; an unused channel is no fault.
        on: The quantizations whose files it is planted in.
        contract: It breaks what the file promises, and so is visible whatever the outputs are.
        task: The only task that it applies to; None for all.
        judged_as: The quantization that the unchanged file is judged as.
        resampled: The unchanged file is judged on images that were prepared with the other resampling.
    """

    name: str
    because: str
    plant: str = ""
    options: Options = lambda _: {}
    feeds: Feeding | None = None
    strengths: tuple[float, ...] = ()
    places: int = 1
    on: tuple[str, ...] = FLOAT_FILES
    contract: bool = False
    task: Task | None = None
    judged_as: str = ""
    resampled: bool = False


def _rescaled(scale: tuple[float, ...], shift: tuple[float, ...]) -> Mapping[str, Any]:
    return {"scale": scale, "shift": shift}


def _prepared(truth: ReferenceData) -> tuple[Preprocessing, Any, Any]:
    preprocessing = truth.subject.photographs.preprocessing
    return preprocessing, np.array(preprocessing.mean), np.array(preprocessing.std)


def _wrong_mean(truth: ReferenceData) -> Mapping[str, Any]:
    """Another mean; ImageNet's for a network that is fed 0..1."""
    preprocessing, mean, std = _prepared(truth)
    other = np.array(_OTHER_MEAN if preprocessing.normalises else IMAGENET_MEAN)
    return _rescaled((1, 1, 1), tuple((mean - other) / std))


def _wrong_std(truth: ReferenceData) -> Mapping[str, Any]:
    preprocessing, _, std = _prepared(truth)
    other = np.array(_OTHER_STD if preprocessing.normalises else IMAGENET_STD)
    return _rescaled(tuple(std / other), (0, 0, 0))


def _bytes_for_unit(truth: ReferenceData) -> Mapping[str, Any]:
    """From (u - mean) / std to (255 u - mean) / std."""
    _, mean, std = _prepared(truth)
    return _rescaled((255, 255, 255), tuple(254 * mean / std))


def _fed(options: Options) -> Feeding:
    """The images rescaled in float64, as the file does it in float32, so that nothing is rounded away."""

    def feeds(truth: ReferenceData) -> list[Feeds]:
        scale, shift = (np.array(options(truth)[name]).reshape(1, -1, 1, 1) for name in ("scale", "shift"))
        images = (feed["image"].astype(np.float64) for feed in truth.reference.feeds)
        return [{"image": image * scale + shift} for image in images]

    return feeds


def _first(truth: ReferenceData) -> Mapping[str, Any]:
    return {"name": next(iter(truth.reference.floors))}


def _last(truth: ReferenceData) -> Mapping[str, Any]:
    return {"name": list(truth.reference.floors)[-1]}


def _mean_of_first(truth: ReferenceData) -> Mapping[str, Any]:
    name = _first(truth)["name"]
    return {"name": name, "value": float(np.mean(np.concatenate([*truth.reference.outputs[name]])))}


def _at_second(truth: ReferenceData) -> Mapping[str, Any]:
    return {**_first(truth), "value": float(truth.reference.feeds[1]["image"].max())}


def _at_black(truth: ReferenceData) -> Mapping[str, Any]:
    preprocessing, _, _ = _prepared(truth)
    mean, std = (np.array(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    return {**_first(truth), "value": float((-mean / std).max())}


def _within_bounds(truth: ReferenceData) -> Mapping[str, Any]:
    """For the output with most values: a single value with little noise may be equal by chance."""
    reference = truth.reference
    name = max(reference.floors, key=lambda each: reference.outputs[each][0].size)
    return {"name": name, "value": 4 * reference.floors[name]}


def _input_size(truth: ReferenceData) -> Mapping[str, Any]:
    return {"size": truth.subject.input_size}


def _down(_: ReferenceData) -> Mapping[str, Any]:
    return {"step": -1}


_OFF = (1.01, 1.02, 1.1, 2.0)
_LITTLE = (1.002, 1.02, 1.1, 2.0)
_ROUNDED = (*HALF, *INTEGER)
_ALL = (*FLOAT_FILES, *_ROUNDED)
_PLACES = 6

_CATALOGUE = (
    # weights
    Fault(
        "weight_row_scaled",
        "a normalisation folded with another variance",
        "row_scaled",
        strengths=_OFF,
        places=_PLACES,
    ),
    Fault("weight_row_zeroed", "a channel that a pruner took for unused", "row_zeroed", places=_PLACES),
    Fault("bias_dropped", "a bias left behind in folding", "bias_dropped", places=_PLACES, on=_ALL),
    Fault(
        "channels_swapped",
        "weights permuted, but not those that read their results",
        "channels_swapped",
        places=_PLACES,
        on=_ALL,
    ),
    Fault("alike_swapped", "the same, for two channels with similar weights", "alike_swapped", on=_ROUNDED),
    Fault(
        "square_transposed",
        "in x out for out x in, which a square matrix does not reveal",
        "square_transposed",
    ),
    Fault(
        "stale_checkpoint",
        "weights of another training step",
        "all_perturbed",
        strengths=(0.01, 0.05),
    ),
    Fault(
        "ema_for_raw",
        "averaged weights for raw ones, close to them",
        "all_perturbed",
        strengths=(0.0001, 0.001),
    ),
    Fault("half_precision", "weights that were cast to float16 and back", "float16_weights"),
    Fault("flipped_byte", "a damaged disk or download", "flipped_byte", on=_ALL),
    Fault("truncated", "an interrupted download", "truncated", contract=True, on=_ALL),
    # operators
    Fault("epsilon", "1e-5 for 1e-6: another framework's default", "epsilon"),
    Fault("align_corners", "corners for centres, or centres for corners", "align_corners"),
    Fault("resize_mode", "bicubic for bilinear, or nearest where there is no bicubic", "resize_mode"),
    Fault("padding_moved", "SAME of one framework for symmetric of the other", "padding"),
    Fault("gelu_tanh", "the tanh approximation instead of the error function", "approximate_gelu"),
    Fault("leaky_slope", "0.01 for 0.2: the default instead of the network's slope", "leaky_slope"),
    Fault("softmax_axis", "an axis of another memory layout", "softmax_axis"),
    Fault("block_skipped", "a residual branch optimised away", "skip_block"),
    Fault("activation_dropped", "a non-linearity lost in fusing", "drop_activation"),
    # preprocessing
    Fault(
        "wrong_mean",
        "0.5 for ImageNet's, or normalised though fed 0..1",
        "input_rescaled",
        _wrong_mean,
        _fed(_wrong_mean),
    ),
    Fault(
        "wrong_std", "0.5 for ImageNet's, or ImageNet's for 1", "input_rescaled", _wrong_std, _fed(_wrong_std)
    ),
    Fault("bgr_for_rgb", "an image library that reads blue first", "channels_reversed"),
    Fault("bytes_for_unit", "0..255 for 0..1", "input_rescaled", _bytes_for_unit, _fed(_bytes_for_unit)),
    Fault("image_transposed", "columns first", "input_transposed"),
    Fault("wrong_resampling", "bilinear for bicubic, or bicubic for bilinear", resampled=True),
    # outputs
    Fault("outputs_swapped", "two output names exchanged", "outputs_swapped", contract=True),
    Fault(
        "outputs_reordered",
        "another order, for callers that bind by position",
        "outputs_reordered",
        contract=True,
    ),
    Fault("output_renamed", "an exporter's suffix", "output_renamed", contract=True),
    Fault("output_missing", "an output that was not exported", "output_missing", contract=True),
    Fault("float64", "a Python number that promoted an output to float64", "output_float64", contract=True),
    Fault("batch_frozen", "the traced batch in every port", "freeze_batch", contract=True),
    Fault("batch_frozen_inside", "the traced batch in one reshape", "reshape_to_one", contract=True),
    Fault(
        "size_frozen",
        "the traced size inside, behind ports of any size",
        "freeze_size",
        _input_size,
        contract=True,
    ),
    Fault("nan_for_one_input", "0 / 0 for one image of the evaluation set", "undefined_at", _at_second),
    Fault(
        "nan_for_black",
        "0 / 0 for a black image, which is not in the evaluation set",
        "undefined_at",
        _at_black,
        contract=True,
    ),
    Fault("noise_left_on", "dropout left on from training", "noise_left_on", _within_bounds, contract=True),
    Fault("constant_output", "a head that always gives one value", "output_constant", _mean_of_first),
    Fault(
        "sigmoid_twice", "the sigmoid applied in the file and again by the caller", "sigmoid_once_more", _last
    ),
    Fault("patch_shifted", "a tile pasted one pixel off", "patch_shifted"),
    # detections
    Fault("top_99", "top-k of 99 for 100", "last_row_lost", task="detection"),
    Fault("nms_045", "a suppression threshold of 0.45 for 0.5", "suppression", task="detection"),
    Fault("category_off_by_one", "the background counted as a class", "category_shifted", task="detection"),
    Fault("corners_y_first", "y1, x1, y2, x2 for x1, y1, x2, y2", "corners_reordered", task="detection"),
    Fault("boxes_as_extents", "x, y, width, height instead of corners", "boxes_as_extents", task="detection"),
    # float16
    Fault("half_label", "a float file under a float16 name", contract=True, judged_as=HALF[0]),
    Fault("half_place", "one float16 weight the next number up", "one_place", on=HALF),
    Fault("half_cut_off", "bits cut off instead of rounded to nearest", "cut_off", on=HALF),
    Fault("half_flushed", "subnormal weights that became 0", "subnormals_flushed", on=HALF),
    Fault("bfloat16", "weights that were cast to bfloat16 and back", "bfloat16_weights", on=HALF),
    # int8
    Fault("int8_label", "a float file under an int8 name", contract=True, judged_as=CALIBRATED[0]),
    Fault(
        "float_weights",
        "a quantized file that stores float weights",
        "float_weights",
        on=_ROUNDED,
        contract=True,
    ),
    Fault("int8_step", "one int8 weight one step up", "one_step", on=INTEGER),
    Fault("int8_step_down", "one int8 weight one step down", "one_step", _down, on=INTEGER),
    Fault(
        "int8_layer_steps", "a layer's weights rounded up instead of to nearest", "layer_steps", on=INTEGER
    ),
    Fault("bias_step", "one value of a bias one step, or one ULP, up", "bias_step", on=_ROUNDED),
    Fault("weight_zero_point", "symmetric weights with a zero point of 1", "weight_zero_point", on=INTEGER),
    Fault(
        "weight_scale",
        "a weight scale greater than the one that is due to its channel",
        "weight_scale",
        strengths=_LITTLE,
        on=INTEGER,
    ),
    Fault(
        "weight_scale_finer",
        "a weight scale smaller than the one that is due to its channel",
        "weight_scale",
        strengths=(0.998, 0.98, 0.9),
        on=INTEGER,
    ),
    Fault("scales_swapped", "scales along the wrong axis", "scales_swapped", on=INTEGER),
    Fault(
        "activation_zero_point",
        "a zero point rounded in the wrong direction",
        "activation_zero_point",
        on=CALIBRATED,
    ),
    Fault(
        "activation_read_otherwise",
        "a scale that differs between producer and consumer",
        "activation_read_otherwise",
        strengths=_LITTLE,
        on=CALIBRATED,
    ),
    Fault(
        "activation_scale",
        "a range calibrated on other images",
        "activation_scale",
        strengths=(1.005, 1.02, 1.1, 2.0),
        on=CALIBRATED,
    ),
)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in _CATALOGUE}
assert len(FAULTS) == len(_CATALOGUE)
