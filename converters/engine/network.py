"""Exports the network once for all formats, and runs it in float32 and float64 as the reference.

Everything here runs in the `torch` worker. Weights come from a checkpoint file or, where the
path is None, from the goldens. The checkpoint of a network that its owner brought is its program.
"""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from modelparity.converters.engine import exported_program as program_file
from modelparity.converters.engine.float64 import as_float64
from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.fixtures.checkpoints.load import read_checkpoint, weighted
from modelparity.fixtures.programs import ProgramSpec
from modelparity.fixtures.specs import ModelSpec, NetworkSpec, Signature, TensorSpec

# A batch of 2 keeps the traced batch from being taken for a constant 1.
_TRACE_BATCH = 2


_LATEST: dict[tuple[NetworkSpec, Path | None, int], dict[str, nn.Module]] = {}
LARGE = 200_000_000  # weights, of which float32 and float64 together are 2.4 GB


def _deployed(spec: NetworkSpec, checkpoint: Path | None, precision: str) -> nn.Module:
    """The module, kept in memory until another network is asked for; of a large one, one precision."""
    # The time tells a file from another one that was there before.
    key = (spec, checkpoint, checkpoint.stat().st_mtime_ns if checkpoint else 0)
    if key not in _LATEST:
        _LATEST.clear()
    kept = _LATEST.setdefault(key, {})
    if precision not in kept:
        if any(sum(p.numel() for p in module.parameters()) > LARGE for module in kept.values()):
            kept.clear()
        kept[precision] = _made(spec, checkpoint, precision)
    return kept[precision]


def _made(spec: NetworkSpec, checkpoint: Path | None, precision: str) -> nn.Module:
    if isinstance(spec, ModelSpec):
        return weighted(spec, checkpoint).to(getattr(torch, precision))
    assert checkpoint is not None
    module = runnable(program_file.Exported(checkpoint).load())
    return as_float64(module) if precision == "float64" else module


def runnable(program: ExportedProgram) -> GraphModule:
    """The program as a module that takes inputs of any dtype."""
    module = program.module(check_guards=False)
    module._forward_pre_hooks.clear()  # they hold the inputs to the program's own dtypes
    return module


def fitted(spec: ModelSpec, checkpoint: Path) -> ModelSpec:
    """`spec` with the settings that a checkpoint tells. Raises `CheckpointError`."""
    return read_checkpoint(checkpoint, spec).spec


def export(spec: NetworkSpec, checkpoint: Path | None, input_size: int, target: Path) -> dict[str, int]:
    """Writes the deployed module as a `.pt2` exported program with a dynamic batch.

    Returns counts of the module's elements: `weights` of matrices and kernels (`kept_weights`), and
    `elements` of everything it holds.
    """
    if isinstance(spec, ProgramSpec):
        assert checkpoint is not None
        shutil.copyfile(checkpoint, target)
        return _counts_of_program(program_file.Exported(checkpoint).load())
    assert isinstance(spec, ModelSpec)
    module = _deployed(spec, checkpoint, "float32")
    image = torch.zeros(_TRACE_BATCH, 3, input_size, input_size)
    axes = {0: torch.export.Dim("batch", min=1)}
    if spec.free_size:
        axes |= {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
    with torch.no_grad():
        program = torch.export.export(module, (image,), dynamic_shapes={"image": axes})
    weights = kept_weights(program)  # before saving, which takes large weights out of the program
    program_file.save(program, target)
    buffers = (buffer for buffer in module.buffers() if buffer.is_floating_point())
    return {"weights": weights, "elements": sum(t.numel() for t in (*module.parameters(), *buffers))}


def _counts_of_program(program: ExportedProgram) -> dict[str, int]:
    """As `export` counts them."""
    held = (*program.state_dict.values(), *program.constants.values())
    floats = {
        (tensor.data_ptr(), tensor.shape): tensor.numel()
        for tensor in held
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
    }
    return {"weights": kept_weights(program), "elements": sum(floats.values())}


def kept_weights(program: torch.export.ExportedProgram) -> int:
    """Elements of the matrices and kernels that a file needs to compute what the program does.

    A parameter that no output depends on, such as a head for training, needs none. What depends on no input
    may be computed by the exporter: of such constants that parameters go into, either those are needed or
    the constants, whichever are fewer. A parameter with less than two axes above 1 may be folded. So may one
    whose values are all alike, and all that a norm multiplies by 0, as networks without training have it.
    """
    signature, graph = program.graph_signature, program.graph
    outputs = next(node for node in graph.nodes if node.op == "output")
    used, pending = set(), [outputs]
    while pending:
        node = pending.pop()
        if node not in used:
            used.add(node)
            pending += node.all_input_nodes[1:] if _gives_nothing(program, node) else node.all_input_nodes
    fed: set[fx.Node] = set()  # what depends on an input
    groups: dict[fx.Node, set[fx.Node]] = {}  # of the rest, which nodes go into each other
    for node in graph.nodes:
        if node not in used:
            continue
        read = [each for each in node.all_input_nodes if each in used]
        if node.name in signature.user_inputs or node is outputs or any(each in fed for each in read):
            fed.add(node)
            continue
        joined = {node}.union(*(groups[each] for each in read))
        groups |= dict.fromkeys(joined, joined)
    total = 0
    for group in {id(group): group for group in groups.values()}.values():
        parameters = [node for node in group if node.name in signature.inputs_to_parameters]
        held = [node for node in parameters if not _alike(program, node)]
        matrices = [node for node in held if sum(n > 1 for n in node.meta["val"].shape) > 1]
        given = [node for node in group if any(user in fed for user in node.users)]
        counts = [[math.prod(node.meta["val"].shape) for node in nodes] for nodes in (matrices, given)]
        total += min(map(sum, counts))
    return total


def _alike(program: ExportedProgram, node: fx.Node) -> bool:
    """Whether a parameter has one value only."""
    value = program.state_dict[program.graph_signature.inputs_to_parameters[node.name]]
    return value.numel() > 0 and bool((value == value.reshape(-1)[0]).all())


def _gives_nothing(program: ExportedProgram, node: fx.Node) -> bool:
    """Whether a batch norm multiplies what it reads by 0."""
    names = program.graph_signature.inputs_to_parameters
    if node.target is not torch.ops.aten.batch_norm.default or not isinstance(node.args[1], fx.Node):
        return False
    weight = names.get(node.args[1].name)
    return weight is not None and not bool(program.state_dict[weight].any())


def run(
    spec: NetworkSpec,
    checkpoint: Path | None,
    feeds: Sequence[Feeds],
    *,
    precision: str = "float32",
    threads: int = 1,
    fused_kernels: bool = True,
    batch_statistics: bool = False,
) -> list[Outputs]:
    """The deployed module's outputs by name, one dictionary a feed.

    `precision` is "float32" or "float64"; `threads` and `fused_kernels` (oneDNN) choose among
    summation orders, all of them float32 and none more right than another. `batch_statistics` is what batch
    norms compute with in training.
    """
    module = _deployed(spec, checkpoint, precision)
    dtype = getattr(torch, precision)
    with _batch_statistics(module) if batch_statistics else contextlib.nullcontext():
        return _run(module, spec.signature(), feeds, dtype, threads=threads, fused_kernels=fused_kernels)


@contextlib.contextmanager
def _batch_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms take the mean and the variance of the batch, and leave their own as they are."""
    norms = [each for each in module.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    tracking = [norm.track_running_stats for norm in norms]
    try:
        for norm in norms:
            norm.track_running_stats = False
            norm.train()
        yield
    finally:
        for norm, tracks in zip(norms, tracking, strict=True):
            norm.track_running_stats = tracks
            norm.eval()


def run_published(spec: ModelSpec, checkpoint: Path | None, feeds: Feeds) -> Outputs:
    """Every output of the published network, named as in the goldens."""
    module = weighted(spec, checkpoint, published=True)
    threads = torch.get_num_threads()
    outputs = tuple(TensorSpec(name, (), "") for name in spec.published_outputs)
    ports = Signature(spec.signature().inputs, outputs)
    return _run(module, ports, [feeds], torch.float32, threads=threads, fused_kernels=True)[0]


def _run(
    module: nn.Module,
    ports: Signature,
    feeds: Sequence[Feeds],
    dtype: torch.dtype,
    *,
    threads: int,
    fused_kernels: bool,
) -> list[Outputs]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    # Without oneDNN a grouped convolution copies what it needs of a transposed input once a group.
    grouped = [each for each in module.modules() if isinstance(each, nn.Conv2d) and each.groups > 1]
    hooks = [each.register_forward_pre_hook(_contiguous) for each in grouped]
    try:
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=fused_kernels):
            return [
                {
                    name: value.numpy().copy()
                    for name, value in zip(
                        ports.output_names, module(*arguments(feed, ports, dtype)), strict=True
                    )
                }
                for feed in feeds
            ]
    finally:
        for hook in hooks:
            hook.remove()
        torch.set_num_threads(before)


def arguments(feed: Feeds, ports: Signature, dtype: torch.dtype) -> list[torch.Tensor]:
    """The inputs in their order; floating-point ones in `dtype`."""
    tensors = [torch.from_numpy(np.asarray(feed[port.name], order="C")) for port in ports.inputs]
    return [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors]


def _contiguous(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(each.contiguous() for each in inputs)
