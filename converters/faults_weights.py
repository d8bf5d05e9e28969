"""Faults of stored numbers: one weight, one channel, one scale, or all of them a little.

The first argument is an `Editor`; each returns words for where the fault is.
"""

from __future__ import annotations

import numpy as np

from converters.faults import Array, Editor, Handle, Layer, NotApplicableError, middle


def row_scaled(file: Editor, strength: float) -> str:
    """One output channel of the largest weight, times `strength`."""
    layer = _largest(file)
    weight = file.array(layer.weight)
    at = layer.channel(_strongest(weight, layer)[0])
    weight[at] *= strength
    file.store(layer.weight, weight)
    return f"{_words(layer)}, channel {at[layer.axis]}"


def row_zeroed(file: Editor) -> str:
    """One output channel of a middle layer gone, as a pruner leaves it."""
    layer = middle(file.layers(), "layer")
    weight = file.array(layer.weight)
    at = layer.channel(_strongest(weight, layer)[0])
    weight[at] = 0
    file.store(layer.weight, weight)
    return f"{_words(layer)}, channel {at[layer.axis]}"


def bias_dropped(file: Editor) -> str:
    """The bias of one channel set to 0: the greatest of a middle layer."""
    layers = [layer for layer in file.layers() if layer.bias is not None]
    layer = middle([layer for layer in layers if np.any(file.array(layer.bias))], "layer with a bias")
    bias = file.array(layer.bias)
    at = int(np.argmax(np.abs(bias.astype(np.float64))))
    bias.reshape(-1)[at] = 0
    file.store(layer.bias, bias)
    return f"{_words(layer)}, channel {at}"


def channels_swapped(file: Editor) -> str:
    """Two output channels of a middle layer change places, weights alone."""
    layer = middle([layer for layer in file.layers() if layer.shape[layer.axis] > 1], "layer of two channels")
    weight = file.array(layer.weight)
    first, second, *_ = _strongest(weight, layer)
    one, other = layer.channel(first), layer.channel(second)
    weight[one], weight[other] = weight[other].copy(), weight[one].copy()
    file.store(layer.weight, weight)
    return f"{_words(layer)}, channels {first} and {second}"


def square_transposed(file: Editor) -> str:
    """A matrix with as many rows as columns, or such a 1 x 1 kernel, turned: its shape cannot tell."""
    layers = [layer for layer in file.layers() if _is_square(layer.shape)]
    layer = middle(layers, "square weight")
    side = max(layer.shape)
    weight = file.array(layer.weight)
    file.store(layer.weight, weight.reshape(side, side).T.reshape(weight.shape))
    return _words(layer)


def all_perturbed(file: Editor, strength: float) -> str:
    """Every float weight and bias moved by `strength` of its own spread: weights of another training step."""
    generator = np.random.default_rng(0)
    handles = _floats(file)
    for handle in handles:
        array = file.array(handle)
        noise = generator.standard_normal(array.shape, np.float32)
        file.store(handle, (array + noise * np.float32(strength * array.std())).astype(array.dtype))
    return f"{len(handles)} weights and biases by {strength:g} of their spread"


def float16_weights(file: Editor) -> str:
    """Every float weight and bias rounded to float16 and stored as float32 again."""
    handles = _floats(file)
    for handle in handles:
        array = file.array(handle)
        file.store(handle, array.astype(np.float16).astype(array.dtype))
    return f"{len(handles)} weights and biases"


def flipped_byte(file: Editor) -> str:
    """One byte of the largest weight inverted: of a float32 the one that holds sign and exponent."""
    layer = _largest(file)
    weight = file.array(layer.weight)
    flat = weight.reshape(-1).view(np.uint8)
    size = weight.dtype.itemsize
    at = weight.size // 2 * size + size - 1  # little-endian: the last of the number in the middle
    flat[at] ^= 0xFF
    file.store(layer.weight, weight)
    return f"{_words(layer)}, byte {at:,}"


# --- int8 -------------------------------------------------------------------------------------


def one_step(file: Editor) -> str:
    """One int8 weight one step up."""
    layer = _int8(file)
    weight = file.array(layer.weight)
    flat = weight.reshape(-1)
    at = next(i for i in range(flat.size // 2, flat.size) if flat[i] < np.iinfo(weight.dtype).max)
    flat[at] += 1
    file.store(layer.weight, weight)
    return f"{_words(layer)}, weight {at:,}"


def layer_steps(file: Editor) -> str:
    """Every int8 weight of one layer one step up, where the type has one."""
    layer = _int8(file)
    weight = file.array(layer.weight)
    file.store(layer.weight, weight + (weight < np.iinfo(weight.dtype).max).astype(weight.dtype))
    return _words(layer)


def weight_zero_point(file: Editor) -> str:
    """A weight's zero point + 1: symmetric weights read as if they were not."""
    layer = _int8(file)
    file.raise_zero_point(layer.weight)
    return _words(layer)


def weight_scale(file: Editor, strength: float) -> str:
    """All scales of one int8 weight, times `strength`."""
    layer = _int8(file)
    file.set_scales(layer.weight, file.scales(layer.weight) * np.float32(strength))
    return _words(layer)


def scales_swapped(file: Editor) -> str:
    """The least and the greatest scale of one int8 weight change places."""
    layer = _int8(file)
    scales = file.scales(layer.weight)
    low, high = int(np.argmin(scales)), int(np.argmax(scales))
    if low == high:
        raise NotApplicableError("one scale alone")
    scales[low], scales[high] = scales[high], scales[low]
    file.set_scales(layer.weight, scales)
    return f"{_words(layer)}, channels {low} and {high}"


def activation_zero_point(file: Editor) -> str:
    """The stored zero point of one activation + 1."""
    activation = middle(file.activations(), "activation with a stored scale")
    file.raise_zero_point(activation)
    return str(activation)


def activation_scale(file: Editor, strength: float) -> str:
    """The stored scale of one activation, times `strength`."""
    activation = middle(file.activations(), "activation with a stored scale")
    file.set_scales(activation, file.scales(activation) * np.float32(strength))
    return str(activation)


def activation_read_otherwise(file: Editor, strength: float) -> str:
    """One activation is written with one scale and read with another."""
    activation = middle(file.activations(), "activation with a stored scale")
    file.read_otherwise(activation, strength)
    return str(activation)


# --- which ------------------------------------------------------------------------------------


def _largest(file: Editor) -> Layer:
    layers = file.layers()
    if not layers:
        raise NotApplicableError("no layer with a weight of its own")
    return max(layers, key=lambda layer: layer.elements)


def _int8(file: Editor) -> Layer:
    layers = [layer for layer in file.layers() if file.array(layer.weight).dtype.itemsize == 1]
    return middle(layers, "int8 layer")


def _floats(file: Editor) -> list[Handle]:
    """Weights and biases, each once; a file that computes anchors or means has other constants too."""
    both = [handle for layer in file.layers() for handle in (layer.weight, layer.bias) if handle is not None]
    handles = [handle for handle in dict.fromkeys(both) if file.array(handle).dtype == np.float32]
    if not handles:
        raise NotApplicableError("no float weights")
    return handles


def _strongest(weight: Array, layer: Layer) -> list[int]:
    """Output channels by the magnitude of their weights, the greatest first."""
    others = tuple(axis for axis in range(weight.ndim) if axis != layer.axis)
    return [int(i) for i in np.argsort(-np.abs(weight.astype(np.float64)).sum(axis=others), kind="stable")]


def _is_square(shape: tuple[int, ...]) -> bool:
    """Two equal axes, and no other of more than 1."""
    sides = [n for n in shape if n > 1]
    return len(sides) == 2 and sides[0] == sides[1]


def _words(layer: Layer) -> str:
    return f"{layer.kind} {list(layer.shape)} ({layer.weight})"
