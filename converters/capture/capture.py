"""Captures a user's module as an exported program with named inputs and outputs.

From here on the program is the network: it holds the weights and needs none of the user's code. Nested inputs
and outputs become flat ones, named by their path ("past_0_key"), as a file of another format has them.

Everything here runs in a worker of its own, because it runs the user's code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from modelparity.converters.capture.example_inputs import drawn, inferred, sampling_of, telling_samples
from modelparity.converters.capture.flat import Flat, arguments
from modelparity.converters.capture.targets import TargetError, load_weights, network_of, object_named
from modelparity.fixtures.arrays import Array
from modelparity.fixtures.programs import ProgramSpec
from modelparity.fixtures.specs import BATCH, TensorSpec

_NARROW = (torch.float16, torch.bfloat16, torch.float64, torch.complex64)
_BATCH_TRACED = 2  # a batch of 1 would be taken for a constant
_NEAR = 1e-3  # relative: another order of sums moves an output by less, another sample by more


@dataclass(frozen=True)
class Captured:
    """A program's description, and what the module itself gives for its example inputs.

    Both are empty for a program that came as one, whose module is not here.
    """

    spec: ProgramSpec
    feeds: Mapping[str, Array] = field(default_factory=dict)
    outputs: Mapping[str, Array] = field(default_factory=dict)


class CaptureError(ValueError):
    """A network that cannot be captured; the message names the operator or the line where it fails."""


def capture(
    target: str,
    folder: Path,
    path: Path,
    *,
    name: str,
    example: str = "",
    weights: Path | None = None,
    dims: Mapping[str, Mapping[int, str]] | None = None,
    limits: Mapping[str, tuple[int, int]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    declared: Mapping[str, tuple[str, tuple[int, ...]]] | None = None,
) -> Captured:
    """Writes the network that `target` names as a program to `path` and describes it.

    Args:
        folder: The user's current folder.
        example: "module:name" of example inputs, or of a function that returns them.
        weights: A state dict to read into the network.
        declared: By input, dtype and extents of an example that is drawn where none is given.
        dims: By input, the names of dynamic axes by position; by default the first axis is the batch.
        limits: By name, the least and the greatest extent of a dynamic axis.
        ranges: By input, the least and the greatest value that may be generated.

    Raises:
        TargetError: the target gives no network, or the example inputs are missing.
        CaptureError: the network does not run on its example inputs, or cannot be exported.
    """
    if target.endswith(".pt2"):
        given = {"--weights": weights, "--example": example, "--input": declared, "--dim": limits}
        if option := next((option for option, value in given.items() if value), ""):
            raise TargetError(f"{target}: an exported program has its own; leave out {option}")
        return Captured(_described(_archive(folder / target), target, path, name=name, ranges=ranges or {}))
    network, examples = network_of(target, folder)
    if example:
        examples = object_named(example, folder)
        examples = examples() if callable(examples) else examples
    return capture_module(
        network,
        examples,
        path,
        title=target,
        name=name,
        weights=folder / weights if weights else None,
        dims=dims,
        limits=limits,
        ranges=ranges,
        declared=declared,
    )


def capture_module(
    network: nn.Module,
    examples: Any,
    path: Path,
    *,
    title: str,
    name: str,
    example: str = "",
    weights: Path | None = None,
    dims: Mapping[str, Mapping[int, str]] | None = None,
    limits: Mapping[str, tuple[int, int]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    declared: Mapping[str, tuple[str, tuple[int, ...]]] | None = None,
) -> Captured:
    """As `capture`, of a module that is at hand, and of its example inputs or None."""
    if example:
        raise TargetError(f"{example}: a module that is at hand takes its example inputs themselves")
    network = network.eval()
    if weights is not None:
        load_weights(network, weights)
    notes = []
    if narrow := sorted({str(value.dtype) for value in network.parameters() if value.dtype in _NARROW}):
        raise TargetError(
            f"the network holds {narrow[0].removeprefix('torch.')} weights; bring it in float32"
        )
    if examples is None and declared:
        examples = drawn(declared, ranges or {})
    if examples is None:
        examples, told = inferred(network)
        notes.append(told)
    flat = Flat(network, *arguments(network, examples))
    expected = _runs(flat)
    _check_declared(flat, declared or {}, limits or {}, dims or {})
    program, axes, reason = _exported(flat, dims or {}, limits or {}, declared=bool(declared or dims))
    spec = _described(
        program,
        title,
        path,
        name=name,
        ranges=ranges or {},
        names=(flat.input_names, list(expected)),
        fixed=reason,
        axes=axes,
    )
    return Captured(
        replace(spec, notes=tuple(notes)),
        {n: tensor.numpy().copy() for n, tensor in zip(flat.input_names, flat.tensors, strict=True)},
        {n: tensor.numpy().copy() for n, tensor in expected.items()},
    )


def _archive(path: Path) -> ExportedProgram:
    if not path.is_file():
        raise TargetError(f"{path}: no such file")
    try:
        program = torch.export.load(path)
    except Exception as error:
        raise TargetError(f"{path}: no readable exported program: {_first(error)}") from error
    args, kwargs = program.example_inputs
    results = program.module()(*args, **kwargs)
    if (
        kwargs
        or not isinstance(results, tuple)
        or not all(isinstance(each, Tensor) for each in (*args, *results))
    ):
        raise TargetError(
            f"{path}: export a module that takes tensors by position and returns a tuple of tensors"
        )
    return program


# --- export ---------------------------------------------------------------------------------------


def _runs(flat: Flat) -> dict[str, Tensor]:
    try:
        outputs = flat.named_outputs()
    except Exception as error:
        shapes = ", ".join(
            f"{name} {list(tensor.shape)}"
            for name, tensor in zip(flat.input_names, flat.tensors, strict=True)
        )
        said = _first(error)
        raise CaptureError(f"the network does not run on its example inputs ({shapes}): {said}") from error
    if not outputs:
        raise CaptureError("the network returns no tensor")
    return outputs


Axes = Mapping[str, Mapping[int, str]]  # by input, the names of its dynamic axes by position


def _check_declared(
    flat: Flat,
    declared: Mapping[str, tuple[str, tuple[int, ...]]],
    limits: Mapping[str, tuple[int, int]],
    dims: Axes,
) -> None:
    """Raises `TargetError` where a declaration is not of this network."""
    examples = dict(zip(flat.input_names, flat.tensors, strict=True))
    for name, (dtype, shape) in declared.items():
        if name not in examples:
            raise TargetError(f"no input {name!r}; the network has {', '.join(examples)}")
        example = examples[name]
        fixed = [axis for axis in range(len(shape)) if axis not in dims.get(name, {})]
        alike = example.dim() == len(shape) and all(example.shape[axis] == shape[axis] for axis in fixed)
        if not alike or str(example.dtype) != f"torch.{dtype}":
            held = f"{str(example.dtype).removeprefix('torch.')}{list(example.shape)}"
            raise TargetError(f"{name} is declared as {dtype}{list(shape)}, but its example is {held}")
    axes = {axis for named in dims.values() for axis in named.values()}
    if unknown := sorted(set(limits) - axes):
        raise TargetError(f"no input has an axis {unknown[0]!r}; declare it with --input")


def _exported(
    flat: Flat, dims: Axes, limits: Mapping[str, tuple[int, int]], *, declared: bool
) -> tuple[ExportedProgram, Axes, str]:
    """The program, its dynamic axes, and why its batch is fixed, if it is."""
    if declared:
        axes = {name: dict(dims.get(name, {})) for name in flat.input_names}
        batched = any(BATCH in named.values() for named in axes.values())
        try:
            program = _export(flat, _several(flat, axes) if batched else flat.tensors, axes, limits)
        except Exception as error:
            raise CaptureError(f"torch.export: {_first(error)}") from error
        return program, axes, "" if batched else "no axis is declared as batch"
    fixed: Axes = {name: {} for name in flat.input_names}
    axes = {name: {0: BATCH} for name in flat.input_names}
    reason = _no_common_batch(flat.tensors) or _samples_interact(flat, axes)
    if not reason:
        try:
            return _export(flat, _several(flat, axes), axes, limits), axes, ""
        except Exception as error:
            reason = f"torch.export with a dynamic batch: {_first(error)}"
    try:
        return _export(flat, flat.tensors, fixed, limits), fixed, reason
    except Exception as error:
        raise CaptureError(f"torch.export: {_first(error)}") from error


def _several(flat: Flat, axes: Axes) -> tuple[Tensor, ...]:
    """The example inputs with a batch of more than one."""
    return tuple(
        _repeated(value, axes[name]) for name, value in zip(flat.input_names, flat.tensors, strict=True)
    )


def _samples_interact(flat: Flat, axes: Axes) -> str:
    """Why the first axis is no batch, though all inputs have it; "" if it is one.

    The first sample has to give the same alone, and beside another one.
    """
    alone = tuple(value[:1] for value in flat.tensors)
    other = (value.flip(-1) if value.dim() > 1 else value for value in alone)
    both = tuple(torch.cat(pair) for pair in zip(alone, other, strict=True))
    try:
        with torch.no_grad():
            one, two, _ = flat(*alone), flat(*both), flat(*_several(flat, axes))
    except Exception as error:
        return f"the network does not run another number of samples: {_first(error)}"
    for single, pair in zip(one, two, strict=True):
        grown = [n for n, extent in enumerate(single.shape) if pair.shape[n] == _BATCH_TRACED * extent > 0]
        if not grown and single.numel():
            return "an output has no axis that grows with the number of samples"
        for axis in grown[:1]:
            expected, got = single.double(), pair.double().narrow(axis, 0, single.shape[axis])
            if float((got - expected).abs().max()) > _NEAR * float(expected.abs().max()):
                return "samples of a batch change one another's outputs"
    return ""


def _no_common_batch(tensors: Sequence[Tensor]) -> str:
    """Why the first axis of the inputs is no batch; "" if it is one."""
    if any(tensor.dim() == 0 for tensor in tensors):
        return "an input is a single number, without a batch axis"
    sizes = {tensor.shape[0] for tensor in tensors}
    return "" if len(sizes) == 1 else "the first axes of the inputs have different extents"


def _repeated(tensor: Tensor, axes: Mapping[int, str]) -> Tensor:
    """The example with a batch of more than one."""
    for axis, name in axes.items():
        if name == BATCH and tensor.shape[axis] == 1:
            return torch.cat([tensor] * _BATCH_TRACED, dim=axis)
    return tensor


def _export(
    flat: Flat,
    tensors: tuple[Tensor, ...],
    axes: Mapping[str, Mapping[int, str]],
    limits: Mapping[str, tuple[int, int]],
) -> ExportedProgram:
    made: dict[str, Any] = {}
    for named in axes.values():
        for name in named.values():
            low, high = limits.get(name, (1, None))
            made.setdefault(name, Dim(name, min=low, max=high))
    shapes = tuple({axis: made[n] for axis, n in axes[name].items()} for name in flat.input_names)
    with torch.no_grad():
        return torch.export.export(flat, tensors, dynamic_shapes=(shapes,))


def _first(error: BaseException) -> str:
    """The line of an error's message that says most, and where in the user's code it was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if not line.startswith(("#", "Node:", "from user code"))), "")
    where = next((line for line in lines if line.startswith('File "')), "")
    return f"{type(error).__name__}: {said[:300]}" + (f" ({where[:160]})" if where else "")


# --- description ----------------------------------------------------------------------------------


def _described(
    program: ExportedProgram,
    target: str,
    path: Path,
    *,
    name: str,
    ranges: Mapping[str, tuple[float, float]],
    names: tuple[Sequence[str], Sequence[str]] | None = None,
    fixed: str = "",
    axes: Axes | None = None,
) -> ProgramSpec:
    args, kwargs = program.example_inputs
    examples = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    nodes = {node.name: node for node in program.graph.nodes}
    signature = program.graph_signature
    user_inputs = [nodes[n] for n in signature.user_inputs if isinstance(n, str)]
    user_outputs = [nodes[n] for n in signature.user_outputs if isinstance(n, str)]
    input_names, output_names = names or ([n.name for n in user_inputs], [n.name for n in user_outputs])
    if axes is None:  # of an archive, a dynamic first axis is the batch
        axes = {name: {0: BATCH} for name in input_names}
    symbols = _symbols(program, user_inputs, [axes.get(name, {}) for name in input_names])
    if unknown := sorted(set(ranges) - set(input_names)):
        raise TargetError(f"no input {unknown[0]!r}; the network has {', '.join(input_names)}")
    with torch.no_grad():
        results = [r for r in pytree.tree_leaves(program.module()(*args, **kwargs)) if isinstance(r, Tensor)]
    inputs = tuple(
        _port(n, node.meta["val"], example, symbols)
        for n, node, example in zip(input_names, user_inputs, examples, strict=True)
    )
    outputs = tuple(
        _port(n, node.meta["val"], result, symbols)
        for n, node, result in zip(output_names, user_outputs, results, strict=True)
    )
    if not fixed and not any(port.batch_axis is not None for port in inputs):
        fixed = "no axis of the program is dynamic"
    torch.export.save(program, path)
    spec = ProgramSpec(
        name=name,
        title=target,
        inputs=inputs,
        outputs=outputs,
        sampling=sampling_of(program, input_names, examples, ranges),
        digest=_digest(program),
        fixed_batch=fixed,
        limits=tuple(
            (symbols[str(symbol)], int(limit.lower), int(limit.upper) if limit.upper.is_Integer else None)
            for symbol, limit in program.range_constraints.items()
        ),
    )
    return replace(spec, samples=telling_samples(program, spec))


def _symbols(
    program: ExportedProgram, inputs: Sequence[fx.Node], axes: Sequence[Mapping[int, str]]
) -> dict[str, str]:
    """Names of dynamic axes by symbol: as declared; else, the first axis of the first input is the batch."""
    named = {str(symbol): str(symbol) for symbol in program.range_constraints}
    for node, declared in zip(inputs, axes, strict=True):
        for axis, name in declared.items():
            extent = node.meta["val"].shape[axis]
            if not isinstance(extent, int):
                named[str(extent)] = name
    return named


def _port(name: str, traced: Tensor, example: Tensor, symbols: Mapping[str, str]) -> TensorSpec:
    shape: tuple[int | str, ...] = tuple(
        extent if isinstance(extent, int) else symbols.get(str(extent), str(extent))
        for extent in traced.shape
    )
    batch = [axis for axis, extent in enumerate(shape) if extent == BATCH]
    sample = tuple(1 if axis in batch else int(extent) for axis, extent in enumerate(example.shape))
    return TensorSpec(name, shape, "", dtype=str(example.dtype).removeprefix("torch."), sample_shape=sample)


def _digest(program: ExportedProgram) -> str:
    """sha256 over the graph and every tensor that it holds."""
    graphs = [part for part in program.graph_module.modules() if isinstance(part, fx.GraphModule)]
    digest = hashlib.sha256("\n".join(graph.code for graph in graphs).encode())
    digest.update(str(program.range_constraints).encode())
    held = {**program.state_dict, **{k: v for k, v in program.constants.items() if isinstance(v, Tensor)}}
    for name in sorted(held):
        tensor = held[name].detach().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()
