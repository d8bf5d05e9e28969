"""A network of a batch norm and every kind of ending, which known mistakes can be made in."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Endings(nn.Module):
    """[B, 3, 16, 16] -> logits [B, 4] twice, probabilities, their logarithms, a map [B, 3, 16, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.left = nn.Linear(8, 4)
        self.right = nn.Linear(8, 4)
        self.classes = nn.Linear(8, 5)
        self.kinds = nn.Linear(8, 6)
        self.mask = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = torch.relu(self.norm(self.stem(image)))
        seen = x.mean(dim=(2, 3))
        classes = torch.softmax(self.classes(seen), dim=1)
        kinds = torch.log_softmax(self.kinds(seen), dim=1)
        return self.left(seen), self.right(seen), classes, kinds, torch.sigmoid(self.mask(x))


class Deployed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = Endings()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.network(image)


class _OfTheBatch(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(0, 2, 3), keepdim=True)
        variance = (x - mean).square().mean(dim=(0, 2, 3), keepdim=True)
        weight, bias = (value.reshape(1, -1, 1, 1) for value in (self.weight, self.bias))
        return (x - mean) / torch.sqrt(variance + self.eps) * weight + bias


class InTraining(Deployed):
    """Its batch norm has the statistics of the batch, as in training."""

    def __init__(self) -> None:
        super().__init__()
        self.network.norm = _OfTheBatch(8)
