"""A detector of a few thousand weights with Faster R-CNN's settings and outputs, for cheap runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

STRIDE = 16


class Network(nn.Module):
    """[B, 3, H, W] -> [B, 4 + classes, H/16, W/16]: a box and a logit a class, cell by cell."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 5, stride=4, padding=2)
        self.body = nn.Conv2d(16, 16, 5, stride=4, padding=2)
        self.head = nn.Conv2d(16, 4 + classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.body(torch.relu(self.stem(x)))))


class Detector(nn.Module):
    """image [B, 3, H, W] in 0..1 -> location [B, N, 4], score [B, N], category [B, N] int64 from 1."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.network = Network(settings["classes"])
        self.settings = settings
        for name in ("mean", "std"):
            values = torch.tensor(settings[name], dtype=torch.float32, device="cpu").reshape(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        height, width, classes = (int(self.settings[name]) for name in ("height", "width", "classes"))
        x = (image - self.get_buffer("mean")) / self.get_buffer("std")
        x = nn.functional.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
        cells = self.network(x).flatten(2).transpose(1, 2)
        rows, columns = height // STRIDE, width // STRIDE
        y, x = torch.meshgrid(
            (torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij"
        )
        centre = torch.stack((x.flatten(), y.flatten()), dim=1).to(cells.dtype)
        half = 0.02 + 0.1 * torch.sigmoid(cells[..., :4])
        boxes = torch.cat((centre - half[..., :2], centre + half[..., 2:]), dim=-1).clamp(0, 1)
        scores = torch.softmax(cells[..., 4:], dim=-1).flatten(1)
        score, at = scores.topk(self.settings["detections"], dim=1)
        cell = torch.div(at, classes, rounding_mode="floor")
        location = boxes.gather(1, cell[..., None].expand(-1, -1, 4))
        real = score > self.settings["score_threshold"]
        category = torch.where(real, at % classes + 1, torch.ones_like(at))
        location = torch.where(real[..., None], location, torch.zeros_like(location))
        return location, torch.where(real, score, torch.zeros_like(score)), category


def settings_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The number of classes."""
    head = shapes.get("head.weight")
    return {"classes": head[0] - 4} if head else {}
