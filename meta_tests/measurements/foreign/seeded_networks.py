"""Small networks, each for operators that tools carry in their own ways, with weights drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from meta_tests.measurements.trained.networks import TRAINED
from meta_tests.measurements.trained.sources import Trained, output
from modelparity.fixtures.specs import ModelSpec, Preprocessing, TensorSpec

_SIDE = 32


class Rows(nn.Module):
    """Reads an image row by row in both directions: [B, 3, 32, 32] -> [B, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.LSTM(3 * _SIDE, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * 16, 4)

    def forward(self, image: Tensor) -> Tensor:
        states, _ = self.read(image.permute(0, 2, 1, 3).flatten(2))
        scores: Tensor = self.head(states.mean(1))
        return scores


class Larger(nn.Module):
    """Transposed convolutions, one of them in groups: [B, 3, 32, 32] -> [B, 4, 64, 64]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
        self.grouped = nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2)

    def forward(self, image: Tensor) -> Tensor:
        larger: Tensor = self.grouped(torch.relu(self.up(torch.relu(self.stem(image)))))
        return larger


class Tied(nn.Module):
    """A transformer of tokens whose head is its table: 16 levels of green -> logits [B, 16, 64]."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(64, 32)
        self.mixed = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)

    def forward(self, image: Tensor) -> Tensor:
        tokens = (image[:, 1, ::8, ::8].flatten(1) * 63).round().clamp(0, 63).long()
        return self.mixed(self.table(tokens)) @ self.table.weight.T


class Unused(nn.Module):
    """With a head that evaluation leaves out: [B, 3, 32, 32] -> [B, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12)
        self.auxiliary = nn.Conv2d(12, 40, 3)
        self.head = nn.Linear(12, 5)

    def forward(self, image: Tensor) -> Tensor:
        features = torch.relu(self.norm(self.stem(image)))
        scores: Tensor = self.head(features.mean((2, 3)))
        return scores + self.auxiliary(features).mean() if self.training else scores


class Products(nn.Module):
    """A matrix product with factors, and a sum over two axes: [B, 3, 32, 32] -> [B, 6]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.matrix, self.bias = nn.Parameter(torch.empty(16, 8)), nn.Parameter(torch.empty(8))
        self.cube = nn.Parameter(torch.empty(4, 2, 6))

    def forward(self, image: Tensor) -> Tensor:
        read = torch.relu(self.stem(image)).mean((2, 3))
        x = torch.addmm(self.bias, read, self.matrix, beta=2.0, alpha=0.5)
        return torch.einsum("bij,ijk->bk", torch.tanh(x).unflatten(1, (4, 2)), self.cube)


class Segments(nn.Module):
    """The operators of a U-Net of today: [B, 3, 32, 32] -> [B, 2, 32, 32]."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16)
        self.act = nn.PReLU(16)
        self.second, self.norm = (
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.InstanceNorm2d(32, affine=True),
        )
        self.third = nn.Conv2d(8, 16, 3, padding=1)
        self.last = nn.Conv2d(32, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        high = self.act(self.grouped(self.first(nn.functional.pad(image, (1, 1, 1, 1), mode="reflect"))))
        low = nn.functional.silu(self.norm(self.second(high)))
        low = self.third(nn.functional.pixel_shuffle(low, 2))
        half = nn.functional.interpolate(
            nn.functional.max_pool2d(low, 2), scale_factor=2, mode="bilinear", align_corners=False
        )
        found: Tensor = self.last(torch.cat([high, nn.functional.gelu(low) + half], 1))
        return found


class Plain(nn.Module):
    """Without any matrix of weights: [B, 3, 32, 32] -> [B, 3, 16, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.empty(3, 1, 1)), nn.Parameter(torch.empty(3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(torch.tanh(image * self.slope + self.offset), 2)


class _Deployed(nn.Module):
    kind: Callable[[], nn.Module]

    def __init__(self) -> None:
        super().__init__()
        self.network = self.kind()

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.network(image),)


class DeployedRows(_Deployed):
    kind = Rows


class DeployedLarger(_Deployed):
    kind = Larger


class DeployedTied(_Deployed):
    kind = Tied


class DeployedUnused(_Deployed):
    kind = Unused


class DeployedProducts(_Deployed):
    kind = Products


class DeployedSegments(_Deployed):
    kind = Segments


class DeployedPlain(_Deployed):
    kind = Plain


class Named(nn.Module):
    """A network with its outputs in a dictionary, whose keys name them in a file."""

    def __init__(self, network: nn.Module, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.network, self.inputs, self.outputs = network, inputs, outputs

    def forward(self, **feeds: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.outputs, self.network(*(feeds[name] for name in self.inputs)), strict=True))


@dataclass(frozen=True)
class Seeded(Trained):
    """A network whose weights are drawn from a seed."""

    def checkpoint(self, folder: Path, scratch: Path) -> Path | None:
        """The weights, of a standard deviation of 1 / sqrt(what each sums over), written to `scratch`."""
        module = self.spec.build().network
        draw = torch.Generator().manual_seed(0)
        state = {}
        for name, value in module.state_dict().items():
            if not value.is_floating_point():
                state[name] = value
                continue
            terms = max(1, value[0].numel()) if value.dim() > 1 else 4
            drawn = torch.randn(value.shape, generator=draw) / terms**0.5
            state[name] = 1 + drawn.abs() if name.endswith(("norm.weight", "var")) else drawn
        path = scratch / f"{self.spec.name}.pt"
        torch.save(state, path)
        return path


def _seeded(name: str, deployed: str, *shape: int) -> Seeded:
    spec = ModelSpec(
        name=name,
        title=name,
        deployed=f"{__name__}:{deployed}",
        published=f"{__name__}:{deployed}",
        published_outputs=("y",),
        golden="",
        preprocessing=Preprocessing("bilinear"),
        input_sizes=(_SIDE,),
        default_input_size=_SIDE,
        outputs=(_output(*shape),),
    )
    return Seeded(spec, f"{name}, drawn from a seed", "")


def _output(*shape: int) -> TensorSpec:
    return output("y", "result", *shape)


SEEDED = {
    each.spec.name: each
    for each in (
        _seeded("lstm_rows", "DeployedRows", 4),
        _seeded("transposed", "DeployedLarger", 4, 2 * _SIDE, 2 * _SIDE),
        _seeded("tied_tokens", "DeployedTied", 16, 64),
        _seeded("unused_head", "DeployedUnused", 5),
        _seeded("products", "DeployedProducts", 6),
        _seeded("unet_operators", "DeployedSegments", 2, _SIDE, _SIDE),
        _seeded("no_matrix", "DeployedPlain", 3, _SIDE // 2, _SIDE // 2),
    )
}
NETWORKS: dict[str, Trained] = {**TRAINED, **SEEDED}
