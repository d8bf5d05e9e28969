"""Helpers of the checkpoint tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelparity.fixtures.models import MODELS
from modelparity.fixtures.specs import ModelSpec

TINY = MODELS["tiny_ladeda"]


def saved(path: Path, content: object, **options: Any) -> Path:
    """torch.save, handing on the path."""
    import torch

    torch.save(content, path, **options)
    return path


def refusal(path: Path, spec: ModelSpec = TINY) -> str:
    """The one line of the error, less the path it opens with."""
    from modelparity.fixtures.checkpoints.load import CheckpointError, read_checkpoint

    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path, spec)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    return message.removeprefix(f"{path}: ")
