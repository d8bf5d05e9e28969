"""A network with one of everything that a fault can be planted in; torch is imported as it is built."""

from __future__ import annotations

from typing import Any

OUTPUTS = ["location", "score", "category"]


def network() -> Any:
    """[B, 3, 16, 16] -> [B, 8, 4], [B, 8] and int32 [B, 8], with weights of one seed."""
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
            self.second = nn.Conv2d(8, 8, 3, padding=1)
            self.third = nn.Conv2d(8, 8, 3, padding=1)
            self.norm = nn.LayerNorm(8, eps=1e-4)
            self.square = nn.Linear(8, 8)
            self.boxes = nn.Linear(8, 32)

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            x = functional.leaky_relu(self.first(image), 0.2)
            x = functional.interpolate(x, size=(16, 16), mode="bilinear", align_corners=False)
            x = functional.gelu(self.second(x))
            x = x + torch.tanh(self.third(x))
            tokens = self.norm(x.flatten(2).transpose(1, 2))
            tokens = torch.softmax(4 * self.square(tokens), dim=-1)
            pooled = 2 * tokens[:, ::2].amax(dim=1) - 0.3
            location = torch.sigmoid(self.boxes(pooled)).reshape(-1, 8, 4)
            category = torch.where(pooled > 0.5, 1, 2).to(torch.int32)
            return location, pooled, category

    torch.manual_seed(0)
    return Network().eval()
