"""Plants faults in what goes in and comes out: other preprocessing or postprocessing, false declarations.

The first argument is an `Editor`; each returns words for where the fault is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelparity.modelfiles.editor import Editor, NotApplicableError

_PATCH = 16  # pixels a side


def input_rescaled(file: Editor, scale: Sequence[float], shift: Sequence[float]) -> str:
    """The network is fed image x scale + shift, channel by channel."""
    file.on_input("multiply", np.array(scale, np.float32).reshape(1, -1, 1, 1))
    file.on_input("add", np.array(shift, np.float32).reshape(1, -1, 1, 1))
    return f"x {np.round(scale, 3)} + {np.round(shift, 3)}"


def channels_reversed(file: Editor) -> str:
    """The network is fed blue, green, red."""
    file.on_input("gather", (1, [2, 1, 0]))
    return "image"


def input_transposed(file: Editor) -> str:
    """The network is fed the image with rows and columns exchanged."""
    file.on_input("transpose", [0, 1, 3, 2])
    return "image"


def output_renamed(file: Editor) -> str:
    names = list(file.outputs())
    file.set_outputs([*names[:-1], f"{names[-1]}_0"], names)
    return names[-1]


def outputs_swapped(file: Editor) -> str:
    """The first two outputs under each other's name; names and order as they were."""
    first, second, *rest = _several(file)
    file.set_outputs([first, second, *rest], [second, first, *rest])
    return f"{first} and {second}"


def outputs_reordered(file: Editor) -> str:
    """The first two outputs in the other order, under their own names."""
    first, second, *rest = _several(file)
    file.set_outputs([second, first, *rest], [second, first, *rest])
    return f"{first} and {second}"


def output_missing(file: Editor) -> str:
    names = _several(file)
    file.set_outputs(names[:-1], names[:-1])
    return names[-1]


def output_float64(file: Editor) -> str:
    name = next(iter(file.outputs()))
    file.on_output(name, "cast", "float64")
    return name


def output_constant(file: Editor, name: str, value: float) -> str:
    """An output that is `value` whatever the image."""
    file.on_output(name, "multiply", np.array(0, np.float32))
    file.on_output(name, "add", np.array(value, np.float32))
    return f"{name} = {value:.4g}"


def sigmoid_once_more(file: Editor, name: str) -> str:
    file.on_output(name, "sigmoid", None)
    return name


def undefined_at(file: Editor, name: str, value: float) -> str:
    """NaN for an image whose greatest pixel is exactly `value`, nothing for any other."""
    file.on_output(name, "undefined_at", value)
    return f"{name}, for a greatest pixel of {value:.6g}"


def branch_added(file: Editor, name: str, *, kind: str, bound: float, strength: float) -> str:
    """A branch from the image to an output that acts where the greatest pixel is beyond, or at, a bound."""
    file.on_output(name, kind, (bound, strength))
    return f"{name}, {kind} {bound:.6g}"


def noise_left_on(file: Editor, name: str, value: float) -> str:
    """Normal noise with the standard deviation `value`, drawn anew in every run."""
    file.on_output(name, "noise", value)
    return f"{name}, {value:.3g}"


def patch_shifted(file: Editor) -> str:
    """One patch in the middle of a map [1, 1, H, W] shows what stands one pixel to its left."""
    maps = [(name, shape) for name, shape in file.outputs().items() if len(shape) == 4]
    if not maps:
        raise NotApplicableError("no map among the outputs")
    name, (_, channels, height, width) = maps[-1]
    places = np.arange(height * width).reshape(height, width)
    top, left, side = height // 2, width // 2, min(_PATCH, width // 4)
    places[top : top + side, left : left + side] -= 1
    file.on_output(name, "reshape", [-1, channels, height * width])
    file.on_output(name, "gather", (2, places.reshape(-1).tolist()))
    file.on_output(name, "reshape", [-1, channels, height, width])
    return f"{name}[{top}:{top + side}, {left}:{left + side}]"


# --- detections -------------------------------------------------------------------------------


def last_row_lost(file: Editor) -> str:
    """One detection fewer than asked for: the last row is padding, whatever was found."""
    rows = file.outputs()["score"][1]
    kept = np.ones((1, rows), np.float32)
    kept[0, -1] = 0
    file.on_output("score", "multiply", kept)
    return f"score[{rows - 1}]"


def category_shifted(file: Editor) -> str:
    """Categories counted from one more, as where the background is counted."""
    file.on_output("category", "add", np.array(1, np.int32))
    return "category"


def corners_reordered(file: Editor) -> str:
    """Boxes as y1, x1, y2, x2."""
    file.on_output("location", "gather", (2, [1, 0, 3, 2]))
    return "location"


def boxes_as_extents(file: Editor) -> str:
    """Boxes as x, y, width, height."""
    file.on_output(
        "location", "matmul", np.array([[1, 0, -1, 0], [0, 1, 0, -1], [0, 0, 1, 0], [0, 0, 0, 1]], np.float32)
    )
    return "location"


def _several(file: Editor) -> list[str]:
    names = list(file.outputs())
    if len(names) < 2:
        raise NotApplicableError("one output alone")
    return names
