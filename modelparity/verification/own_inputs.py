"""Reads the user's own inputs, on which a file is judged instead of the evaluation set."""

from __future__ import annotations

from pathlib import Path

from modelparity.arrays import Wanted, check_arrays, not_finite, read_arrays
from modelparity.errors import BadInputError
from modelparity.fixtures.inputs.tensors import FeedsError, TensorSample, TensorSet, feeds_of_file
from modelparity.fixtures.programs import ProgramSpec
from modelparity.fixtures.specs import NetworkSpec, Signature

SAMPLES = "samples"


def samples_of(path: Path, spec: NetworkSpec, input_size: int | None = None) -> TensorSet:
    """The user's samples for a network of photographs, or for one of their own. Raises `BadInputError`."""
    if not isinstance(spec, ProgramSpec):
        return own_inputs(path, spec.signature(input_size))
    try:
        return feeds_of_file(path, spec)
    except FeedsError as error:
        raise BadInputError(str(error)) from error


def own_inputs(path: Path, signature: Signature) -> TensorSet:
    """The samples of an `.npz` that has an array [samples, ...] for each input of the network, by its name.

    Raises:
        BadInputError: the file cannot be read, or holds other names, dtypes or shapes, different numbers of
            samples, or a value that is not finite.
    """
    arrays = read_arrays(path)
    wanted = [Wanted(spec.name, (SAMPLES, *spec.shape[1:]), spec.dtype) for spec in signature.inputs]
    check_arrays(arrays, wanted, path)
    if wrong := not_finite(arrays):
        raise BadInputError(f"{path}: {'; '.join(wrong)}")
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        held = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise BadInputError(f"{path}: each input should have as many samples as the others, but: {held}")
    samples = range(next(iter(counts.values())))
    return TensorSet(
        tuple(
            TensorSample(
                f"{path.name} {place}", {name: array[place : place + 1] for name, array in arrays.items()}
            )
            for place in samples
        )
    )
