"""The catalogue of faults that are planted to see whether the judge notices, each with what it stands for.

Adding one is one entry. `plant` names what `modelparity.modelfiles.mutations.plant` does to the file; what it must be told of
the network, `options` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelparity.converters.engine.workbench import Feeds
from modelparity.fixtures.specs import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from modelparity.parity.reference import ReferenceData

Options = Callable[[ReferenceData], Mapping[str, Any]]
Feeding = Callable[[ReferenceData], Sequence[Feeds]]
FLOAT = ("fp32",)
FP16 = ("fp16",)
INT8 = ("int8_dynamic", "int8_static")
_OTHER_MEAN = _OTHER_STD = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Fault:
    """`on` are the quantizations whose files it is planted in.

    `contract` faults break what the file promises and are visible by that, however its numbers come
    out. Of `strengths`, weakest first, the first that is noticed ends the search. Of a fault in one
    channel, up to `places` channels are tried until one moves an output: a dead channel is no fault.
    `feeds` are what the network itself would have to be fed to do what the file does, exactly. A fault
    without a `plant` is not in the file: `judged_as` is the quantization that it is passed off as,
    `resampled` says that the stream is prepared with the other resampling.
    """

    name: str
    because: str
    plant: str = ""
    options: Options = lambda _: {}
    feeds: Feeding | None = None
    strengths: tuple[float, ...] = ()
    places: int = 1
    on: tuple[str, ...] = FLOAT
    contract: bool = False
    detection: bool = False  # for detectors alone
    judged_as: str = ""
    resampled: bool = False


def _rescaled(scale: tuple[float, ...], shift: tuple[float, ...]) -> Mapping[str, Any]:
    return {"scale": scale, "shift": shift}


def _prepared(truth: ReferenceData) -> tuple[Preprocessing, Any, Any]:
    preprocessing = truth.subject.spec.preprocessing
    return preprocessing, np.array(preprocessing.mean), np.array(preprocessing.std)


def _wrong_mean(truth: ReferenceData) -> Mapping[str, Any]:
    """Another mean; for a network fed 0..1, the one that others are fed with."""
    preprocessing, mean, std = _prepared(truth)
    other = np.array(_OTHER_MEAN if preprocessing.normalises else IMAGENET_MEAN)
    return _rescaled((1, 1, 1), tuple((mean - other) / std))


def _wrong_std(truth: ReferenceData) -> Mapping[str, Any]:
    preprocessing, _, std = _prepared(truth)
    other = np.array(_OTHER_STD if preprocessing.normalises else IMAGENET_STD)
    return _rescaled(tuple(std / other), (0, 0, 0))


def _bytes_for_unit(truth: ReferenceData) -> Mapping[str, Any]:
    """(255 u - mean) / std of what is (u - mean) / std."""
    _, mean, std = _prepared(truth)
    return _rescaled((255, 255, 255), tuple(254 * mean / std))


def _fed(options: Options) -> Feeding:
    """The stream in float64, rescaled as the file does it in float32: nothing is rounded away."""

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
    """Of the output with most numbers: one number of little noise may come out the same by chance."""
    reference = truth.reference
    name = max(reference.floors, key=lambda each: reference.outputs[each][0].size)
    return {"name": name, "value": 4 * reference.floors[name]}


def _input_size(truth: ReferenceData) -> Mapping[str, Any]:
    return {"size": truth.subject.input_size}


def _down(_: ReferenceData) -> Mapping[str, Any]:
    return {"step": -1}


_OFF = (1.01, 1.02, 1.1, 2.0)
_LITTLE = (1.002, 1.02, 1.1, 2.0)
_ROUNDED = (*FP16, *INT8)
_ALL = (*FLOAT, *_ROUNDED)
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
    Fault("weight_row_zeroed", "a channel that a pruner took for dead", "row_zeroed", places=_PLACES),
    Fault("bias_dropped", "a bias left behind in folding", "bias_dropped", places=_PLACES, on=_ALL),
    Fault(
        "channels_swapped",
        "weights permuted, what reads them not",
        "channels_swapped",
        places=_PLACES,
        on=_ALL,
    ),
    Fault("alike_swapped", "the same, of two channels that are much alike", "alike_swapped", on=_ROUNDED),
    Fault("square_transposed", "in x out for out x in, which a square hides", "square_transposed"),
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
    Fault("half_precision", "weights that went through float16 on the way", "float16_weights"),
    Fault("flipped_byte", "a damaged disk or download", "flipped_byte", on=_ALL),
    Fault("truncated", "an interrupted download", "truncated", contract=True, on=_ALL),
    # operators
    Fault("epsilon", "1e-5 for 1e-6: another framework's default", "epsilon"),
    Fault("align_corners", "corners for centres, or centres for corners", "align_corners"),
    Fault("resize_mode", "bicubic for bilinear, or nearest where there is no bicubic", "resize_mode"),
    Fault("padding_moved", "SAME of one framework for symmetric of the other", "padding"),
    Fault("gelu_tanh", "the approximation for the error function", "approximate_gelu"),
    Fault("leaky_slope", "0.01 for 0.2: the default for what was asked", "leaky_slope"),
    Fault("softmax_axis", "an axis counted in another layout", "softmax_axis"),
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
    Fault("outputs_swapped", "two names bound the wrong way round", "outputs_swapped", contract=True),
    Fault("outputs_reordered", "callers that bind by place", "outputs_reordered", contract=True),
    Fault("output_renamed", "an exporter's suffix", "output_renamed", contract=True),
    Fault("output_missing", "an output that nobody asked for again", "output_missing", contract=True),
    Fault("float64", "a Python number that widened what it met", "output_float64", contract=True),
    Fault("batch_frozen", "the traced batch in every port", "freeze_batch", contract=True),
    Fault("batch_frozen_inside", "the traced batch in one reshape", "reshape_to_one", contract=True),
    Fault("size_frozen", "the traced size behind ports of any", "freeze_size", _input_size, contract=True),
    Fault("nan_for_one_input", "0 / 0 for one image of the stream", "undefined_at", _at_second),
    Fault("nan_for_black", "0 / 0 for an image that no stream has", "undefined_at", _at_black, contract=True),
    Fault("noise_left_on", "dropout of a training mode", "noise_left_on", _within_bounds, contract=True),
    Fault("constant_output", "a head that died", "output_constant", _mean_of_first),
    Fault("sigmoid_twice", "the output's sigmoid in the file and in the caller", "sigmoid_once_more", _last),
    Fault("patch_shifted", "a tile pasted one pixel off", "patch_shifted"),
    # detections
    Fault("top_99", "top-k of 99 for 100", "last_row_lost", detection=True),
    Fault("nms_045", "a suppression threshold of 0.45 for 0.5", "suppression", detection=True),
    Fault("category_off_by_one", "the background counted as a class", "category_shifted", detection=True),
    Fault("corners_y_first", "y1, x1, y2, x2 for x1, y1, x2, y2", "corners_reordered", detection=True),
    Fault("boxes_as_extents", "x, y, width, height for corners", "boxes_as_extents", detection=True),
    # float16
    Fault("half_label", "a float file under a float16 name", contract=True, judged_as="fp16"),
    Fault("half_place", "one float16 weight the next number up", "one_place", on=FP16),
    Fault("half_cut_off", "bits cut off instead of rounded to nearest", "cut_off", on=FP16),
    Fault("half_flushed", "subnormal weights that became 0", "subnormals_flushed", on=FP16),
    Fault("bfloat16", "weights that went through bfloat16 on the way", "bfloat16_weights", on=FP16),
    # int8
    Fault("int8_label", "a float file under an int8 name", contract=True, judged_as="int8_static"),
    Fault(
        "float_weights",
        "rounded in name, float in what it stores",
        "float_weights",
        on=_ROUNDED,
        contract=True,
    ),
    Fault("int8_step", "one int8 weight one step up", "one_step", on=INT8),
    Fault("int8_step_down", "one int8 weight one step down", "one_step", _down, on=INT8),
    Fault("int8_layer_steps", "a layer rounded up instead of to nearest", "layer_steps", on=INT8),
    Fault("bias_step", "one number of a bias one step, or one last place, up", "bias_step", on=_ROUNDED),
    Fault("weight_zero_point", "symmetric weights read about 1", "weight_zero_point", on=INT8),
    Fault(
        "weight_scale", "a scale of max |w| / 127 taken over more", "weight_scale", strengths=_LITTLE, on=INT8
    ),
    Fault("weight_scale_finer", "and over less", "weight_scale", strengths=(0.998, 0.98, 0.9), on=INT8),
    Fault("scales_swapped", "scales along the wrong axis", "scales_swapped", on=INT8),
    Fault("activation_zero_point", "rounded the other way", "activation_zero_point", on=("int8_static",)),
    Fault(
        "activation_read_otherwise",
        "a producer's scale and a consumer's, each right by itself",
        "activation_read_otherwise",
        strengths=_LITTLE,
        on=("int8_static",),
    ),
    Fault(
        "activation_scale",
        "a range calibrated on other images",
        "activation_scale",
        strengths=(1.005, 1.02, 1.1, 2.0),
        on=("int8_static",),
    ),
)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in _CATALOGUE}
assert len(FAULTS) == len(_CATALOGUE)
