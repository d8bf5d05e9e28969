"""The weights that a file needs are those that the network's outputs depend on."""

from __future__ import annotations

from modelparity.converters.engine.network import kept_weights


def test_what_no_output_depends_on_and_what_exporters_fold_are_not_needed():
    import torch
    from torch import nn

    class Network(nn.Module):
        """With a head that nothing reads, a table of which a part is read, and two matrices that are one."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.unused = nn.Linear(8, 16), nn.Linear(16, 100)
            self.places = nn.Parameter(torch.randn(50, 16))
            self.narrow, self.wide = nn.Parameter(torch.randn(16, 2)), nn.Parameter(torch.randn(2, 30))
            self.scale = nn.Parameter(torch.ones(1, 16))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            x = self.first(image) * self.scale + self.places[:4].mean(0)
            return x @ (self.narrow @ self.wide)

    axes = {"image": {0: torch.export.Dim("batch", min=1)}}
    program = torch.export.export(Network(), (torch.zeros(2, 8),), dynamic_shapes=axes)
    table = 16  # the mean of four rows
    assert kept_weights(program) == 8 * 16 + table + 16 * 2 + 2 * 30


def test_what_a_norm_multiplies_by_0_and_constants_are_not_needed():
    import torch
    from torch import nn

    class Network(nn.Module):
        """A residual branch whose last norm starts at 0, and a table that starts at 0."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.branch = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)
            self.norm = nn.BatchNorm2d(8)
            self.table = nn.Parameter(torch.zeros(8, 30, 30))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            x = self.first(image)
            return x + self.norm(self.branch(x)) + self.table

    network = Network().eval()
    program = torch.export.export(network, (torch.zeros(2, 3, 32, 32),))
    assert kept_weights(program) == 8 * 3 * 9 + 8 * 8
    with torch.no_grad():
        network.norm.weight.zero_()
    assert kept_weights(torch.export.export(network, (torch.zeros(2, 3, 32, 32),))) == 8 * 3 * 9
