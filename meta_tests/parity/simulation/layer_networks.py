"""Small networks with every kind of layer that owns weights, other than what a plain classifier has."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _pixels(image: Tensor, steps: int) -> Tensor:
    """Rows of a corner of the image as a sequence: [B, steps, 24]."""
    return image[:, :, 8 : 8 + steps, :8].permute(0, 2, 1, 3).flatten(2)


class Sequence(nn.Module):
    """An LSTM, and a GRU in both directions behind it: [B, 3, 32, 32] -> [B, 3, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(24, 10, batch_first=True)
        self.gru = nn.GRU(10, 6, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 5)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        hidden, _ = self.lstm(_pixels(image, 3))
        return (self.head(self.gru(hidden)[0]),)


class Columns(nn.Module):
    """An LSTM whose batch are rows of one image: [B, 3, 32, 32] -> [B, 32, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        rows = image[..., :3].permute(0, 2, 3, 1).flatten(0, 1)
        return (self.lstm(rows)[0][:, -1].unflatten(0, (-1, 32)),)


class Recurrence(nn.Module):
    """Steps that converters write out, so that layers share a weight: [B, 3, 32, 32] -> [B, 3, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.RNN(24, 10, batch_first=True)
        self.head = nn.Linear(10, 5)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.head(self.steps(_pixels(image, 3))[0]),)


class Products(nn.Module):
    """Products in every form that an exported program has: [B, 3, 32, 32] -> [B, 3, 8, 6]."""

    def __init__(self) -> None:
        super().__init__()

        def weight(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape) / shape[-2] ** 0.5)

        self.first, self.second, self.turned = weight(24, 20), weight(20, 16), weight(12, 16)
        self.stack, self.gain, self.heads = (
            weight(4, 12, 10),
            nn.Parameter(torch.rand(14, 1) + 1),
            weight(3, 14, 6),
        )
        self.direction = weight(14, 10)
        self.shift, self.bias = nn.Parameter(torch.randn(20)), nn.Parameter(torch.randn(14))

    def forward(self, image: Tensor) -> tuple[Tensor]:
        x = torch.tanh(torch.addmm(self.shift, _pixels(image, 8).reshape(-1, 24), self.first))
        x = torch.tanh(x.mm(self.second)).reshape(-1, 8, 16)
        x = torch.tanh(x @ self.turned.T)[:, None]
        x = torch.tanh(torch.matmul(x, self.stack)).mean(dim=1)
        normed = self.gain * self.direction / self.direction.norm(dim=1, keepdim=True)
        x = torch.tanh(x.matmul(normed.t()) + self.bias)
        return (torch.einsum("bti,hio->bhto", x, self.heads),)


class Upsampling(nn.Module):
    """Transposed convolutions, one with a norm behind it, one with groups.

    [B, 3, 32, 32] -> [B, 6, 64, 64].
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.groups = nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2)
        self.mix = nn.Conv2d(4, 6, 3, padding=1, groups=2)
        nn.init.uniform_(self.norm.weight, 0.5, 2)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)
        nn.init.uniform_(self.norm.running_mean)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        x = torch.relu(self.norm(self.up(torch.relu(self.stem(image)))))
        return (self.mix(self.groups(x)),)


class Tokens(nn.Module):
    """A table that is the last layer's weight, too: [B, 3, 32, 32] -> [B, 8, 64]."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(64, 24)
        self.mix = nn.Linear(24, 24)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        names = (image[:, 0, ::4, 0].sigmoid() * 63.999).long().clamp(0, 63)
        return (torch.tanh(self.mix(self.table(names))) @ self.table.weight.T,)


class Cells(nn.Module):
    """Steps from a state of zeros, in the first of which one product gives its bias alone."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(32, 24)
        with torch.no_grad():
            self.cell.bias_hh *= 10

    def forward(self, image: Tensor) -> tuple[Tensor]:
        zero = torch.zeros(image.shape[0], 24, dtype=image.dtype)
        state = zero, zero
        for step in range(3):
            state = self.cell(image[:, 0, step], state)
        return (state[0],)


NETWORKS = {kind.__name__: kind for kind in (Sequence, Recurrence, Products, Upsampling, Tokens)}


class Mixed(nn.Module):
    """[B, 3, 32, 32] -> [B, 10], by a convolution, two matrices and what quantizers write as integers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.wide, self.last = nn.Linear(8 * 16, 48), nn.Linear(48, 10)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        x = torch.sigmoid(self.stem(image)) + 0.1
        x = nn.functional.avg_pool2d(x, 4).flatten(1)
        x = nn.functional.leaky_relu(self.wide(x), 0.1)
        return (torch.softmax(self.last(x), -1),)


class Loud(nn.Module):
    """[B, 3, 32, 32] -> [B, 4]; what it adds up is beyond float16."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 4)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.last((image.abs() * 1000).sum((2, 3)) / 1000),)


class Three(nn.Module):
    """[B, 3, 32, 32] -> [B, 32], by three matrices with biases."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(32, 32) for _ in range(3)))

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.layers(image[:, 0, 0]),)
