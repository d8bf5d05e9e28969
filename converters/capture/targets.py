"""Finds what a target names: a module of a user's own code, with its example inputs.

A target is "package.module:name" or "path/to/file.py:name". What `name` gives is a module, a class or
function without required arguments that returns one, or a pair of a module and example inputs.

Everything here runs in a worker of its own, because it runs the user's code.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

_SEED = 0  # so that a network without trained weights has the same ones in every run


class TargetError(ValueError):
    """A target that gives no network; the message says what would."""


def network_of(target: str, folder: Path) -> tuple[nn.Module, Any]:
    """The module that a target names, in evaluation mode, and its example inputs or None.

    `folder` is the user's current folder: relative paths and modules are found from there.

    Raises:
        TargetError: there is no such file, module or name, or it gives no module.
    """
    torch.manual_seed(_SEED)
    return _network(object_named(target, folder), target)


def object_named(target: str, folder: Path) -> Any:
    """The object that "package.module:name" or "path/to/file.py:name" names. Raises `TargetError`."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    owner, colon, name = target.rpartition(":")
    if not colon:
        raise TargetError(f"{target}: say what to take of it, as package.module:name or path/to/file.py:name")
    found = _file(folder / owner, target) if owner.endswith(".py") else _imported(owner, target)
    for part in name.split("."):
        if not hasattr(found, part):
            known = ", ".join(n for n in dir(found) if not n.startswith("_"))[:200]
            raise TargetError(f"{target}: {owner} has no {part!r}; it has {known or 'nothing'}")
        found = getattr(found, part)
    return found


def _imported(owner: str, target: str) -> Any:
    try:
        return importlib.import_module(owner)
    except ModuleNotFoundError as error:
        if error.name and (owner == error.name or owner.startswith(error.name + ".")):
            raise TargetError(
                f"{target}: no module {owner!r} can be imported from the current folder or this environment"
            ) from error
        raise


def _file(path: Path, target: str) -> Any:
    if not path.is_file():
        raise TargetError(f"{target}: no such file: {path}")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    name = f"_modelparity_{path.stem}"  # not the name of another module
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{target}: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _network(found: Any, target: str) -> tuple[nn.Module, Any]:
    examples = None
    if callable(found) and not isinstance(found, nn.Module):
        if required := _required(found):
            raise TargetError(
                f"{target}: needs {', '.join(required)}; name a function without required arguments that"
                " returns the module"
            )
        torch.manual_seed(_SEED)
        found = found()
    if isinstance(found, tuple) and len(found) == 2:
        found, examples = found
    if not isinstance(found, nn.Module):
        raise TargetError(
            f"{target}: gives {type(found).__name__}, but should give a torch.nn.Module, or a pair of one and"
            " example inputs"
        )
    return found.eval(), examples


def _required(found: Any) -> list[str]:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in positional]


def load_weights(network: nn.Module, path: Path) -> None:
    """Reads a state dict into the network, without unpickling anything but tensors.

    Raises:
        TargetError: unreadable, or of other keys or shapes.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise TargetError(f"{path}: no readable weights: {said}") from error
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise TargetError(f"{path}: {' '.join(str(error).split())[:300]}") from error
