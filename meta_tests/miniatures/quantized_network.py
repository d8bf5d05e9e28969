"""The network that the recipes are tried on; apart from its tests, which collect without torch."""

from __future__ import annotations

import torch
from torch import nn


class Network(nn.Module):
    """Every kind of layer: convolutions with, without ReLU and grouped, matrices with and without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.second = nn.Conv2d(8, 16, 3, stride=2)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.mix = nn.Linear(16, 96, bias=False)
        self.head = nn.Linear(96, 10)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.depthwise(torch.relu(self.second(self.first(image))))
        tokens = torch.softmax(self.mix(x.flatten(2).transpose(1, 2)), dim=2)
        return self.head(tokens.mean(dim=1)), tokens
