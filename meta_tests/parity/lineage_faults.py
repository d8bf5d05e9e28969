"""Faults in the constants of a quantized file, each with the words that name it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from meta_tests.modelfiles.lineage_editors import OnnxEditor

RECIPES = ("fp16", "int8_dynamic", "int8_static")


def weight_up(editor):
    """One weight one step up, where that is not half a step in truth."""
    values = editor.values(editor.square)
    values[5, 3] += 1 if values[5, 3] < 100 else -1
    editor.put(editor.square, values)
    return editor.square


def weight_down_of_a_kernel(editor):
    kernel = editor.kernel
    values = editor.values(kernel)
    values.flat[7] -= 1 if values.flat[7] > 20 else -1
    editor.put(kernel, values)
    return kernel


def scale_up(editor):
    scale = editor.scale(editor.square)
    scale.flat[4] *= np.float32(1.02)
    editor.put_scale(editor.square, scale)
    return editor.square


def scale_barely_up(editor):
    """By three units in the last place: coarser than asked, if by nothing that matters."""
    scale = editor.scale(editor.square)
    scale.flat[4] *= np.float32(1 + 3 * 2.0**-23)
    editor.put_scale(editor.square, scale)
    return editor.square


def one_scale_for_all(editor):
    values, scale = editor.values(editor.square), editor.scale(editor.square)
    wide = editor.along_channels(editor.square, scale)
    editor.put(editor.square, np.rint(values * wide / scale.max()).astype(np.int8))
    editor.put_scale(editor.square, np.full_like(scale, scale.max()))
    return editor.square


def zero_point_up(editor):
    editor.put_zero_point(editor.kernel, editor.zero_point(editor.kernel) + 1)
    return editor.kernel


def zero_point_and_numbers_up(editor):
    """Another way to store the same, but not for TFLite, whose kernels take the zero point for 0."""
    if isinstance(editor, OnnxEditor):
        return zero_point_up(editor)
    editor.put(editor.kernel, np.minimum(editor.values(editor.kernel), 126) + np.int8(1))
    return zero_point_up(editor)


def channels_swapped(editor):
    values = np.moveaxis(editor.values(editor.square), editor.channel_axis, 0).copy()
    values[[2, 9]] = values[[9, 2]]
    editor.put(editor.square, np.moveaxis(values, 0, editor.channel_axis))
    return editor.square


def transposed(editor):
    editor.put(editor.square, editor.values(editor.square).T)
    return editor.square


def bias_up(editor):
    values = editor.values(editor.bias)
    values[6] += 1
    editor.put(editor.bias, values)
    return editor.bias


def bias_scale_up(editor):
    """With its numbers fitted to it: only the product of scales tells."""
    values, scale = editor.values(editor.bias), editor.scale(editor.bias)
    editor.put(editor.bias, np.rint(values / 1.02).astype(np.int32))
    editor.put_scale(editor.bias, scale * np.float32(1.02))
    return editor.bias


def last_bit(editor):
    values = editor.values(editor.floats)
    values.flat[1] = np.nextafter(values.flat[1], np.float32(9))
    editor.put(editor.floats, values)
    return editor.floats


def float16_up(editor):
    values = editor.values(editor.square)
    values.flat[9] = np.nextafter(values.flat[9], np.float16(9))
    editor.put(editor.square, values)
    return editor.square


INT8 = ("int8_dynamic", "int8_static")
FAULTS: list[tuple[Callable, tuple[str, ...], str]] = [
    (weight_up, INT8, "channel"),
    (weight_down_of_a_kernel, INT8, "channel"),
    (scale_up, INT8, "channel 4"),
    (scale_barely_up, INT8, "channel 4"),
    (one_scale_for_all, INT8, "scale"),
    (zero_point_up, INT8, ""),
    (zero_point_and_numbers_up, INT8, ""),
    (channels_swapped, INT8, "steps off"),
    (transposed, INT8, "steps off"),
    (bias_up, ("int8_static",), "channel 6"),
    (bias_scale_up, ("int8_static",), "input scale x weight scale"),
    (last_bit, RECIPES, "1 other numbers"),
    (float16_up, ("fp16",), "1 float16 numbers"),
]
