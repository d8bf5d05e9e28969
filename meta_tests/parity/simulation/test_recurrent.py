"""Recurrent layers that are written out compute what PyTorch's own compute."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_first": True, "bias": False},
        {"num_layers": 2, "bidirectional": True},
        {"proj_size": 3, "bidirectional": True},
        {"nonlinearity": "relu"},
    ],
)
def test_steps_are_pytorchs(kind, options):
    import torch
    from torch import fx, nn

    from modelparity.parity.simulation.recurrent import write_out

    if ("proj_size" in options and kind != "LSTM") or ("nonlinearity" in options and kind != "RNN"):
        pytest.skip("no such option")

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = getattr(nn, kind)(5, 4, **options)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            hidden, state = self.layer(x)
            return (hidden, *(state if isinstance(state, tuple) else [state]))

    torch.manual_seed(0)
    network, x = Network().eval(), torch.randn(3, 2, 5)
    module = torch.export.export(network, (x,)).module()
    names = {str(node.target) for node in module.graph.nodes}
    write_out(module)
    after = {str(node.target) for node in module.graph.nodes}
    assert any(".input" in name for name in names)
    assert not any(".input" in name for name in after)
    with torch.no_grad():
        for found, due in zip(fx.Interpreter(module).run(x), network(x), strict=True):
            torch.testing.assert_close(found, due)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"nonlinearity": "relu"}])
@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_a_cell_is_pytorchs(kind, options):
    import torch
    from torch import fx, nn

    from modelparity.parity.simulation.recurrent import write_out

    if "nonlinearity" in options and kind != "RNNCell":
        pytest.skip("no such option")

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = getattr(nn, kind)(5, 4, **options)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            first = torch.ones(len(x[0]), 4)
            state = self.cell(x[0], (first, first) if kind == "LSTMCell" else first)
            state = self.cell(x[1], state)
            return state if isinstance(state, tuple) else (state,)

    torch.manual_seed(0)
    network, x = Network().eval(), torch.randn(2, 3, 5)
    module = torch.export.export(network, (x,)).module()
    assert sum("_cell" in str(node.target) for node in module.graph.nodes) == 2
    write_out(module)
    assert not any("_cell" in str(node.target) for node in module.graph.nodes)
    with torch.no_grad():
        for found, due in zip(fx.Interpreter(module).run(x), network(x), strict=True):
            torch.testing.assert_close(found, due)
