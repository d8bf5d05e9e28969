"""Captures a user's module as an exported program with named inputs and outputs.

From here on the program is the network: it holds the weights and needs none of the user's code. Nested inputs
and outputs become flat ones, named by their path ("past.0.key"), as a file of another format has them.

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
from modelparity.converters.capture.targets import TargetError, function_of, load_weights, network_of
from modelparity.fixtures.arrays import Array
from modelparity.fixtures.programs import ProgramSpec
from modelparity.fixtures.specs import BATCH, TensorSpec

_BATCH_TRACED = 2  # a batch of 1 would be taken for a constant


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
        return Captured(_described(_archive(folder / target), target, path, name=name, ranges=ranges or {}))
    network, examples = network_of(target, folder)
    if example:
        examples = function_of(example, folder)
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
    if examples is None and declared:
        examples = drawn(declared, ranges or {})
    if examples is None:
        examples, told = inferred(network)
        notes.append(told)
    flat = Flat(network, *arguments(network, examples))
    expected = _runs(flat)
    program, reason = _exported(flat, dims or {}, limits or {})
    spec = _described(
        program,
        title,
        path,
        name=name,
        ranges=ranges or {},
        names=(flat.input_names, list(expected)),
        fixed=reason,
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
        return torch.export.load(path)
    except Exception as error:
        raise TargetError(f"{path}: no readable exported program: {str(error).splitlines()[0]}") from error


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


def _exported(
    flat: Flat, dims: Mapping[str, Mapping[int, str]], limits: Mapping[str, tuple[int, int]]
) -> tuple[ExportedProgram, str]:
    """The program, and why its batch is fixed, if it is."""
    tensors = flat.tensors
    if unknown := sorted(set(dims) - set(flat.input_names)):
        raise TargetError(f"no input {unknown[0]!r}; the network has {', '.join(flat.input_names)}")
    declared = any(dims.values())
    axes = {name: dict(dims.get(name, {})) for name in flat.input_names}
    if not declared:
        reason = _no_common_batch(tensors)
        axes = {name: {} if reason else {0: BATCH} for name in flat.input_names}
    else:
        reason = (
            "" if any(BATCH in named.values() for named in axes.values()) else "no axis is declared as batch"
        )
    traced = tensors
    if not reason:
        traced = tuple(
            _repeated(tensor, axes[name]) for name, tensor in zip(flat.input_names, tensors, strict=True)
        )
        try:
            with torch.no_grad():
                flat(*traced)
        except Exception as error:
            if declared:
                raise CaptureError(
                    f"the network does not run a batch of {_BATCH_TRACED}: {_first(error)}"
                ) from error
            reason, traced = f"the network does not run a batch of {_BATCH_TRACED}: {_first(error)}", tensors
            axes = {name: {} for name in flat.input_names}
    try:
        return _export(flat, traced, axes, limits), reason
    except Exception as error:
        if reason or declared:
            raise CaptureError(f"torch.export: {_first(error)}") from error
        failed = error
    try:
        program = _export(flat, tensors, {name: {} for name in flat.input_names}, limits)
    except Exception as error:
        raise CaptureError(f"torch.export: {_first(error)}") from error
    return program, f"torch.export with a dynamic batch: {_first(failed)}"


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
) -> ProgramSpec:
    args, kwargs = program.example_inputs
    examples = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    nodes = {node.name: node for node in program.graph.nodes}
    signature = program.graph_signature
    user_inputs = [nodes[n] for n in signature.user_inputs if isinstance(n, str)]
    user_outputs = [nodes[n] for n in signature.user_outputs if isinstance(n, str)]
    input_names, output_names = names or ([n.name for n in user_inputs], [n.name for n in user_outputs])
    symbols = _symbols(program)
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


def _symbols(program: ExportedProgram) -> dict[str, str]:
    """Names of dynamic axes by symbol, as their owner named them; the first one is the batch, if none is."""
    named = {str(symbol): str(symbol) for symbol in program.range_constraints}
    for node in program.graph.nodes:
        if node.op != "placeholder" or not isinstance(node.meta.get("val"), Tensor):
            continue
        for axis, extent in enumerate(node.meta["val"].shape):
            if not isinstance(extent, int) and named.get(str(extent)) == str(extent):
                named[str(extent)] = BATCH if axis == 0 and BATCH not in named.values() else str(extent)
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
