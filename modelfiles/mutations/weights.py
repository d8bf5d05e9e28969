"""Plants faults in stored numbers: one channel, one bias, or all of them a little (`rounding`: the rest).

The first argument is an `Editor`; each returns words for where the fault is. A channel behind which all
is cut off (by a ReLU that never opens) is dead: whatever is planted there moves nothing. Those that take
a `place` plant in the `place`-th channel of their order, so that a live one can be looked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelparity.fixtures.arrays import Array
from modelparity.modelfiles.editor import Editor, Handle, Layer, NotApplicableError, middle


def row_scaled(file: Editor, strength: float, place: int = 0) -> str:
    """One output channel of the largest weight, times `strength`."""
    layer = _largest(file)
    weight = file.array(layer.weight)
    at = layer.channel(nth(strongest(weight, layer), place))
    weight[at] *= strength
    file.store(layer.weight, weight)
    return f"{words(file, layer)}, channel {at[layer.axis]}"


def row_zeroed(file: Editor, place: int = 0) -> str:
    """One output channel of a middle layer gone, as a pruner leaves it."""
    layer = middle(file.layers(), "layer")
    weight = file.array(layer.weight)
    at = layer.channel(nth(strongest(weight, layer), place))
    weight[at] = 0
    file.store(layer.weight, weight)
    return f"{words(file, layer)}, channel {at[layer.axis]}"


def bias_dropped(file: Editor, place: int = 0) -> str:
    """The bias of one channel set to 0: the greatest of a middle layer."""
    layers = [layer for layer in file.layers() if layer.bias is not None]
    layer = middle([layer for layer in layers if np.any(file.array(layer.bias))], "layer with a bias")
    bias = file.array(layer.bias)
    order = np.argsort(-np.abs(bias.astype(np.float64)).reshape(-1), kind="stable")
    at = nth([int(i) for i in order if bias.reshape(-1)[i]], place)
    bias.reshape(-1)[at] = 0
    file.store(layer.bias, bias)
    return f"{words(file, layer)}, channel {at}"


def channels_swapped(file: Editor, place: int = 0) -> str:
    """Two output channels of a middle layer change places, weights alone."""
    layer = middle([layer for layer in file.layers() if layer.shape[layer.axis] > 1], "layer of two channels")
    weight = file.array(layer.weight)
    order = strongest(weight, layer)
    first, second = order[0], nth(order[1:], place)
    one, other = layer.channel(first), layer.channel(second)
    weight[one], weight[other] = weight[other].copy(), weight[one].copy()
    file.store(layer.weight, weight)
    return f"{words(file, layer)}, channels {first} and {second}"


def alike_swapped(file: Editor) -> str:
    """The two output channels of a middle layer that are most alike change places, weights alone."""
    layer = middle([layer for layer in file.layers() if layer.shape[layer.axis] > 1], "layer of two channels")
    weight = file.array(layer.weight)
    rows = np.moveaxis(weight, layer.axis, 0).reshape(layer.shape[layer.axis], -1).astype(np.float64)
    order = np.argsort(rows.sum(axis=1), kind="stable")  # neighbours in this order are compared
    between = np.abs(np.diff(rows[order], axis=0)).sum(axis=1)
    between[between == 0] = np.inf
    nearest = int(np.argmin(between))
    if not np.isfinite(between[nearest]):
        raise NotApplicableError("channels that differ")
    first, second = int(order[nearest]), int(order[nearest + 1])
    one, other = layer.channel(first), layer.channel(second)
    weight[one], weight[other] = weight[other].copy(), weight[one].copy()
    file.store(layer.weight, weight)
    return f"{words(file, layer)}, channels {first} and {second}"


def square_transposed(file: Editor) -> str:
    """A matrix with as many rows as columns, or such a 1 x 1 kernel, turned: its shape cannot tell."""
    layers = [layer for layer in file.layers() if _is_square(layer.shape)]
    layer = middle(layers, "square weight")
    side = max(layer.shape)
    weight = file.array(layer.weight)
    file.store(layer.weight, weight.reshape(side, side).T.reshape(weight.shape))
    return words(file, layer)


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
    return f"{words(file, layer)}, byte {at:,}"


# --- which ------------------------------------------------------------------------------------


def _largest(file: Editor) -> Layer:
    layers = file.layers()
    if not layers:
        raise NotApplicableError("no layer with a weight of its own")
    return max(layers, key=lambda layer: layer.elements)


def nth(order: Sequence[int], place: int) -> int:
    if place >= len(order):
        raise NotApplicableError("channel that moves an output")
    return order[place]


def _floats(file: Editor) -> list[Handle]:
    """Weights and biases, each once; a file that computes anchors or means has other constants too."""
    both = [handle for layer in file.layers() for handle in (layer.weight, layer.bias) if handle is not None]
    handles = [handle for handle in dict.fromkeys(both) if file.array(handle).dtype == np.float32]
    if not handles:
        raise NotApplicableError("no float weights")
    return handles


def strongest(weight: Array, layer: Layer) -> list[int]:
    """Output channels by the magnitude of their weights, the greatest first."""
    others = tuple(axis for axis in range(weight.ndim) if axis != layer.axis)
    return [int(i) for i in np.argsort(-np.abs(weight.astype(np.float64)).sum(axis=others), kind="stable")]


def _is_square(shape: tuple[int, ...]) -> bool:
    """Two equal axes, and no other of more than 1."""
    sides = [n for n in shape if n > 1]
    return len(sides) == 2 and sides[0] == sides[1]


def words(file: Editor, layer: Layer) -> str:
    return f"{layer.kind} {list(layer.shape)} ({file.name(layer.weight)})"
