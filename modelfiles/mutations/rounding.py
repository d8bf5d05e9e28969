"""Plants faults in rounded numbers: float16 and int8 weights, scales, zero points.

The first argument is an `Editor`; each returns words for where the fault is.
"""

from __future__ import annotations

import numpy as np

from modelparity.modelfiles.editor import Editor, Layer, NotApplicableError, middle
from modelparity.modelfiles.mutations.weights import words

# --- float16 ----------------------------------------------------------------------------------


def one_place(file: Editor) -> str:
    """One float16 weight the next number up."""
    layer = middle(_halves(file), "float16 weight")
    weight = file.array(layer.weight)
    flat = weight.reshape(-1)
    at = flat.size // 2
    flat[at] = np.nextafter(flat[at], np.float16(np.inf))
    file.store(layer.weight, weight)
    return f"{words(file, layer)}, weight {at:,}"


def cut_off(file: Editor) -> str:
    """Every second float16 weight one number nearer to 0: bits cut off where they should be rounded."""
    layers = _halves(file)
    middle(layers, "float16 weight")
    for layer in layers:
        weight = file.array(layer.weight)
        flat = weight.reshape(-1)
        flat[::2] = np.nextafter(flat[::2], np.float16(0))
        file.store(layer.weight, weight)
    return f"half of {len(layers)} weights"


def subnormals_flushed(file: Editor) -> str:
    """float16 weights too small for a full mantissa are 0, as a processor in a hurry makes them."""
    least, count = np.finfo(np.float16).tiny, 0
    for layer in _halves(file):
        weight = file.array(layer.weight)
        small = (np.abs(weight) < least) & (weight != 0)
        if small.any():
            count += int(small.sum())
            file.store(layer.weight, np.where(small, np.float16(0), weight))
    if not count:
        raise NotApplicableError("subnormal float16 weight")
    return f"{count} weights"


def bfloat16_weights(file: Editor) -> str:
    """Every float16 weight went through bfloat16, which keeps 8 bits of it, on the way."""
    layers = _halves(file)
    middle(layers, "float16 weight")
    for layer in layers:
        weight = file.array(layer.weight)
        bits = np.ascontiguousarray(weight.astype(np.float32)).view(np.uint32)
        rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32)  # to nearest even
        file.store(layer.weight, rounded.view(np.float32).astype(np.float16))
    return f"{len(layers)} weights"


# --- int8 -------------------------------------------------------------------------------------


def one_step(file: Editor, step: int = 1) -> str:
    """One int8 weight one step up (`step` 1) or down (-1)."""
    layer = _int8(file)
    weight = file.array(layer.weight)
    flat, limits = weight.reshape(-1), np.iinfo(weight.dtype)
    # -128 is left alone: symmetric recipes have no such number, and some kernels take it for another.
    inner = (i for i in range(flat.size // 2, flat.size) if limits.min + 1 < flat[i] < limits.max)
    at = next(inner, None)
    if at is None:
        raise NotApplicableError("weight that is not at an end")
    flat[at] = int(flat[at]) + step  # unsigned in some recipes
    file.store(layer.weight, weight)
    return f"{words(file, layer)}, weight {at:,}"


def bias_step(file: Editor) -> str:
    """One number of a middle layer's bias the next one up: an int32 step, or a float's last place."""
    layers = [layer for layer in file.layers() if layer.bias is not None]
    layer = middle([layer for layer in layers if np.any(file.array(layer.bias))], "layer with a bias")
    bias = file.array(layer.bias)
    flat = bias.reshape(-1)
    at = int(np.argmax(np.abs(flat.astype(np.float64))))
    flat[at] = flat[at] + 1 if flat.dtype.kind == "i" else np.nextafter(flat[at], flat.dtype.type(np.inf))
    file.store(layer.bias, bias)
    return f"bias of {words(file, layer)}, channel {at}"


def layer_steps(file: Editor) -> str:
    """Every int8 weight of one layer one step up, where the type has one."""
    layer = _int8(file)
    weight = file.array(layer.weight)
    file.store(layer.weight, weight + (weight < np.iinfo(weight.dtype).max).astype(weight.dtype))
    return words(file, layer)


def weight_zero_point(file: Editor) -> str:
    """A weight's zero point + 1: symmetric weights read as if they were not."""
    layer = _int8(file)
    file.raise_zero_point(layer.weight)
    return words(file, layer)


def weight_scale(file: Editor, strength: float) -> str:
    """All scales of one int8 weight, times `strength`, which may be less than 1."""
    layer = _int8(file)
    file.set_scales(layer.weight, file.scales(layer.weight) * np.float32(strength))
    return words(file, layer)


def scales_swapped(file: Editor) -> str:
    """The least and the greatest scale of one int8 weight change places."""
    layer = _int8(file)
    scales = file.scales(layer.weight)
    low, high = int(np.argmin(scales)), int(np.argmax(scales))
    if low == high:
        raise NotApplicableError("one scale alone")
    scales[low], scales[high] = scales[high], scales[low]
    file.set_scales(layer.weight, scales)
    return f"{words(file, layer)}, channels {low} and {high}"


def activation_zero_point(file: Editor) -> str:
    """The stored zero point of one activation + 1."""
    activation = middle(file.activations(), "activation with a stored scale")
    file.raise_zero_point(activation)
    return file.name(activation)


def activation_scale(file: Editor, strength: float) -> str:
    """The stored scale of one activation, times `strength`."""
    activation = middle(file.activations(), "activation with a stored scale")
    file.set_scales(activation, file.scales(activation) * np.float32(strength))
    return file.name(activation)


def activation_read_otherwise(file: Editor, strength: float) -> str:
    """One activation is written with one scale and read with another."""
    activation = middle(file.activations(), "activation with a stored scale")
    file.read_otherwise(activation, strength)
    return file.name(activation)


# --- which ------------------------------------------------------------------------------------


def _int8(file: Editor) -> Layer:
    layers = [layer for layer in file.layers() if file.array(layer.weight).dtype.itemsize == 1]
    return middle(layers, "int8 layer")


def _halves(file: Editor) -> list[Layer]:
    return [layer for layer in file.layers() if file.array(layer.weight).dtype == np.float16]
