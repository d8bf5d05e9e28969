"""The miniature itself; apart from its spec, so that naming it costs no torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Miniature(nn.Module):
    """Two convolutions and a head: [B, 3, 32, 32] -> [B, 1], [B, 1] and [B, 1, 32, 32]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 1, 3, padding=1)
        self.fc = nn.Linear(16, 2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.relu(self.conv1(image))
        scores = torch.sigmoid(self.fc(x.mean(dim=(2, 3))))
        return scores[:, :1], scores[:, 1:], torch.sigmoid(self.conv2(x))


class Deployed(nn.Module):
    """The miniature under `network`, as every spec has it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Miniature()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.network(image)


class AnySize(Deployed):
    """Takes an image of any size; the mask is always [B, 1, 32, 32]."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        score, doubt, mask = self.network(image)
        return score, doubt, nn.functional.interpolate(mask, size=(32, 32), mode="bilinear")
