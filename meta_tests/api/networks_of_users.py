"""Networks as users have them, with what is easily lost on the way to a file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Tokens(nn.Module):
    """Two inputs of whole numbers; a dictionary of a float output and one of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner, self.head = nn.Embedding(50, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        weight = mask[..., None].float()
        hidden = torch.relu(self.inner(self.table(ids))) * weight
        logits = self.head(hidden.sum(1) / weight.sum(1))
        return {"logits": logits, "best": logits.argmax(-1)}


def tokens() -> tuple[nn.Module, Any]:
    ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2]])
    return Tokens(), {"ids": ids, "mask": torch.ones_like(ids)}


class Recurrent(nn.Module):
    """A step of a recurrent network: the state is a nested pair, with its batch on the second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(6, 8, batch_first=True)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        result: tuple[Tensor, tuple[Tensor, Tensor]] = self.cell(x, state)
        return result


def recurrent() -> tuple[nn.Module, Any]:
    return Recurrent(), (torch.randn(1, 3, 6), (torch.zeros(1, 1, 8), torch.zeros(1, 1, 8)))


class Single(nn.Module):
    """No batch axis: a vector in, a number out."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 12))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).sum()


def single() -> tuple[nn.Module, Any]:
    return Single(), torch.linspace(-1, 1, 12)


class Random(nn.Module):
    """Draws anew at every call, as Dropout does that was left on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * (torch.rand_like(x) > 0.5)


def random() -> tuple[nn.Module, Any]:
    return Random(), torch.randn(1, 6)


class NamesFloat32(nn.Module):
    """Names float32 inside: the reference in float64 must not be narrowed by it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.scale = torch.full((6,), 1 / 3)  # neither parameter nor buffer

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.arange(6, dtype=torch.float32) / 7
        return self.layer(x).to(torch.float32) * self.scale + steps


def names_float32() -> tuple[nn.Module, Any]:
    return NamesFloat32(), torch.randn(1, 6)


def needs_arguments(width: int) -> nn.Module:
    return nn.Linear(width, width)


def plain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 62 * 62, 3))


def no_module() -> int:
    return 3


class OwnState(nn.Module):
    """Makes a state of the default type of PyTorch, of the size of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(x.shape[0], 8)
        for step in range(3):
            state = self.cell(x[:, step], state)
        return state


def own_state() -> tuple[nn.Module, Any]:
    return OwnState(), torch.randn(1, 3, 6)


class Rows(nn.Module):
    """Attends over the first axis, which is a sequence and no batch."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.query(x) @ self.key(x).T, -1) @ x


def rows() -> tuple[nn.Module, Any]:
    return Rows(), torch.randn(5, 8)


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def half() -> tuple[nn.Module, Any]:
    return nn.Linear(4, 4).half(), torch.randn(1, 4).half()


class ScaledBias(nn.Module):
    """A product that adds twice its bias, with a norm behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(6, 8), nn.BatchNorm1d(5)
        self.weight, self.bias = nn.Parameter(torch.randn(8, 5)), nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.addmm(self.bias, torch.relu(self.first(x)), self.weight, beta=2.0))


def scaled_bias() -> tuple[nn.Module, Any]:
    return ScaledBias(), torch.randn(1, 6)
