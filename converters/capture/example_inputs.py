"""Guesses example inputs of a network whose owner gave none, and how its inputs should be sampled.

Everything here runs in a worker that has torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from modelparity.converters.capture.targets import TargetError
from modelparity.converters.engine.network import arguments, runnable
from modelparity.fixtures.inputs.input_sets import EVALUATION
from modelparity.fixtures.inputs.tensors import sample
from modelparity.fixtures.programs import ProgramSpec, Sampling

_SIDES = (224, 64, 32, 28, 299)  # of pictures, the usual ones first
_LENGTH = 16  # of a sequence
_MASK = "mask"
_CANDIDATES = 64  # samples that are tried for outputs of whole numbers that vary


def inferred(network: nn.Module) -> tuple[Any, str]:
    """Example inputs that the network runs on, and a text that says that they were guessed.

    They are guessed from its first layer and the names of the required arguments of `forward`.

    Raises:
        TargetError: none of the guesses runs.
    """
    required = [
        name
        for name, parameter in inspect.signature(network.forward).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    main = getattr(network, "main_input_name", None)  # transformers say which it is
    if main and not required:
        required = [main]
    if len(required) <= 1:
        for guess in _guesses(network):
            try:
                with torch.no_grad():
                    network(**{main: guess}) if main and required == [main] else network(guess)
            except Exception:
                continue
            told = f"example input guessed: {str(guess.dtype).removeprefix('torch.')} {list(guess.shape)}"
            return ({main: guess} if main and required == [main] else (guess,)), told
    raise TargetError(
        "no example inputs: let the target return a pair of the module and its inputs, or name them with"
        f" --example; forward takes {', '.join(required) or 'nothing required'}"
    )


def drawn(
    declared: Mapping[str, tuple[str, tuple[int, ...]]], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, Tensor]:
    """Example inputs by name: standard normal, or whole numbers, within their range if there is one."""
    generator = torch.Generator().manual_seed(0)
    examples = {}
    for name, (dtype, shape) in declared.items():
        kind = getattr(torch, dtype)
        low, high = ranges.get(name, (0, 1))
        if kind.is_floating_point and name not in ranges:
            value = torch.randn(shape, generator=generator)
        elif kind.is_floating_point:
            value = low + (high - low) * torch.rand(shape, generator=generator)
        else:
            value = torch.randint(int(low), int(high) + 1, shape, generator=generator)
        examples[name] = value.to(kind)
    return examples


def _guesses(network: nn.Module) -> list[Tensor]:
    """Candidates by the first layer with weights."""
    guesses: list[Tensor] = []
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            ids = torch.randint(0, module.num_embeddings, (1, _LENGTH), generator=generator)
            guesses.append(ids)
            break
        if isinstance(module, nn.Conv3d):
            guesses += [
                torch.randn(1, module.in_channels, 16, side, side, generator=generator) for side in (112, 32)
            ]
            break
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            guesses += [torch.randn(1, module.in_channels, s, s, generator=generator) for s in _SIDES]
            break
        if isinstance(module, nn.Conv1d):
            guesses += [torch.randn(1, module.in_channels, n, generator=generator) for n in (16000, 256, 64)]
            break
        if isinstance(module, nn.Linear):
            width = module.in_features
            guesses += [
                torch.randn(*shape, generator=generator) for shape in ((1, width), (1, _LENGTH, width))
            ]
            break
        if isinstance(module, nn.RNNBase):
            guesses.append(torch.randn(1, _LENGTH, module.input_size, generator=generator))
            break
    return guesses


def sampling_of(
    program: ExportedProgram,
    names: Sequence[str],
    examples: Sequence[Tensor],
    ranges: Mapping[str, tuple[float, float]],
) -> tuple[Sampling, ...]:
    """How to generate each input: by the range that was declared, what reads it, or the example."""
    nodes = {node.name: node for node in program.graph.nodes}
    readers = [nodes[n] for n in program.graph_signature.user_inputs if isinstance(n, str)]
    return tuple(
        _sampling(name, node, example, ranges.get(name))
        for name, node, example in zip(names, readers, examples, strict=True)
    )


def _sampling(name: str, node: fx.Node, example: Tensor, declared: tuple[float, float] | None) -> Sampling:
    whole = not example.dtype.is_floating_point
    if declared is not None:
        return Sampling("integers" if whole else "uniform", *declared, "declared")
    values = example.double()
    low, high = (float(values.min()), float(values.max())) if example.numel() else (0.0, 0.0)
    of_mask = _MASK in name.lower() and {low, high} <= {0.0, 1.0}
    if example.dtype == torch.bool or (whole and of_mask):
        return Sampling("mask", 0, 1, "ones and zeros in the example")
    if whole:
        if (rows := _embedding_rows(node)) is not None:
            return Sampling("integers", 0, rows - 1, f"rows of the embedding that reads it: {rows}")
        return Sampling("integers", low, high, "least and greatest value of the example")
    if of_mask and high > 0:
        return Sampling("mask", 0, 1, "ones and zeros in the example")
    spread = float(values.std()) if example.numel() > 1 else 0.0
    if spread == 0:
        return Sampling("normal", 0, 1, "the example is constant")
    if low >= 0:  # what is never negative may be read as a length, a probability or a pixel
        return Sampling("uniform", low, high, "least and greatest value of the example")
    return Sampling("normal", float(values.mean()), spread, "mean and spread of the example")


def telling_samples(program: ExportedProgram, spec: ProgramSpec) -> tuple[int, ...]:
    """Numbers of generated samples on which every output of whole numbers takes two values, where some do.

    Where it is the same for all samples, as the label of a network without training may be, a file that
    returned a constant would agree with it.
    """
    whole = [output.name for output in spec.outputs if not output.dtype.startswith("float")]
    if not whole:
        return ()
    module = runnable(program)
    seen: dict[str, dict[bytes, int]] = {name: {} for name in whole}
    for number in range(_CANDIDATES):
        feed = sample(spec, f"modelparity:{EVALUATION}:{number}")
        with torch.no_grad():
            values = module(*arguments(feed, spec.signature(), torch.float32))
        for output, value in zip(spec.outputs, values, strict=True):
            if output.name in seen:
                seen[output.name].setdefault(value.numpy().tobytes(), number)
        if all(len(found) > 1 for found in seen.values()):
            break
    return tuple(sorted({number for found in seen.values() for number in list(found.values())[:2]}))


def _embedding_rows(node: fx.Node) -> int | None:
    """Rows of the smallest embedding that reads an input, through views of it; None if none does."""
    rows, seen, pending = [], {node}, list(node.users)
    while pending:
        reader = pending.pop()
        if reader in seen:
            continue
        seen.add(reader)
        if reader.target is torch.ops.aten.embedding.default:
            table: Any = reader.args[0]
            rows.append(int(table.meta["val"].shape[0]))
        elif reader.op == "call_function" and _is_view(reader):
            pending += reader.users
    return min(rows) if rows else None


def _is_view(node: fx.Node) -> bool:
    name = str(node.target)
    return any(
        word in name for word in ("view", "reshape", "unsqueeze", "squeeze", "slice", "to.dtype", "clone")
    )
