"""A right file of a network with every kind of ending, and a session that judges what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper, numpy_helper

from modelparity.fixtures.specs import ModelSpec, Preprocessing, TensorSpec
from modelparity.parity.results import CellRecord

_NETWORK = "meta_tests.parity.foreign_files.endings_network"
SPEC = ModelSpec(
    name="endings",
    title="Endings",
    deployed=f"{_NETWORK}:Deployed",
    published=f"{_NETWORK}:Deployed",
    published_outputs=("left", "right", "classes", "kinds", "mask"),
    golden="",
    preprocessing=Preprocessing("bilinear"),
    input_sizes=(16,),
    default_input_size=16,
    outputs=(
        TensorSpec("left", ("batch", 4), "logits"),
        TensorSpec("right", ("batch", 4), "logits"),
        TensorSpec("classes", ("batch", 5), "probabilities"),
        TensorSpec("kinds", ("batch", 6), "logarithms of probabilities"),
        TensorSpec("mask", ("batch", 3, "H", "W"), "probabilities of pixels"),
    ),
)


@dataclass(frozen=True)
class Judging:
    """Judges files as the network with the averaged weights of a checkpoint that holds the raw ones, too."""

    session: Any
    store: Path
    checkpoint: Path
    path: Path  # of a right file

    def record(self, path: Path, spec: ModelSpec = SPEC) -> CellRecord:
        from modelparity.modelfiles.describe import describe
        from modelparity.verification.verify import judge_file

        made = describe(path)
        return judge_file(self.session, path, spec=spec, description=made, on_stage=lambda _: None).record

    def converted(self, quantization: str = "fp32", checkpoint: Path | None = None, **fields: Any) -> Path:
        """A file of the network by the project's own converter, of other weights or another class."""
        with _session(self.store, checkpoint or self.checkpoint, replace(SPEC, **fields)) as session:
            return session.artifact("endings", "onnx", quantization).path

    def edited(self, target: Path, edit: Callable[[Graph], None], source: Path | None = None) -> Path:
        graph = Graph(onnx.load(source or self.path))
        edit(graph)
        onnx.save(graph.model, target)
        return target


class Graph:
    """An ONNX model, to be changed at its ports."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self._made = 0

    def constant(self, value: Any) -> str:
        self._made += 1
        self.model.graph.initializer.append(numpy_helper.from_array(value, f"constant_{self._made}"))
        return f"constant_{self._made}"

    def renamed(self, names: dict[str, str]) -> None:
        """Gives tensors other names, all at once."""
        graph = self.model.graph
        for value in (*graph.input, *graph.output, *graph.value_info):
            value.name = names.get(value.name, value.name)
        for node in graph.node:
            for tensors in (node.input, node.output):
                tensors[:] = [names.get(name, name) for name in tensors]

    def behind(self, output: str, kind: str, *constants: Any, **attributes: Any) -> None:
        """Appends an operator to an output."""
        self._made += 1
        before = f"{output}_{self._made}"
        for node in self.model.graph.node:
            for tensors in (node.input, node.output):
                tensors[:] = [before if name == output else name for name in tensors]
        inputs = [before, *map(self.constant, constants)]
        self.model.graph.node.append(helper.make_node(kind, inputs, [output], **attributes))

    def without(self, output: str) -> None:
        """Takes away the operator that makes an output."""
        (node,) = (node for node in self.model.graph.node if output in node.output)
        read = node.input[0]
        self.model.graph.node.remove(node)
        self.model.graph.node.append(helper.make_node("Identity", [read], [output]))

    def before(self, kind: str, *constants: Any, **attributes: Any) -> None:
        """Puts an operator before everything that reads the input."""
        self._made += 1
        inner = f"image_{self._made}"
        for node in self.model.graph.node:
            node.input[:] = [inner if name == "image" else name for name in node.input]
        inputs = ["image", *map(self.constant, constants)]
        self.model.graph.node.insert(0, helper.make_node(kind, inputs, [inner], **attributes))


def _session(store: Path, checkpoint: Path, spec: ModelSpec = SPEC) -> Any:
    from modelparity.parity.cells import CheckBudget
    from modelparity.parity.session import Session

    budget = CheckBudget(images=4, draws=1, batches=(3,), convert_again=False)
    return Session(
        store=store,
        models={"endings": spec},
        checkpoints={"endings": checkpoint},
        limitations={},
        check_budget=budget,
    )


@pytest.fixture(scope="session")
def judging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judging]:
    import torch

    from meta_tests.parity.foreign_files.endings_network import Endings

    folder = tmp_path_factory.mktemp("known_causes")
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = Endings()
        torch.nn.init.normal_(network.norm.running_mean, std=0.3)
        torch.nn.init.uniform_(network.norm.running_var, 0.5, 2)
        # Untrained heads hardly tell two pictures apart.
        states.append(
            {
                key: 3 * value if key.endswith("weight") else value
                for key, value in network.state_dict().items()
            }
        )
    torch.save({"model_state_dict": states[0], "model_ema_state_dict": states[1]}, folder / "both.pt")
    torch.save(states[0], folder / "raw.pt")
    with _session(folder / "store", folder / "both.pt") as session:
        path = session.artifact("endings", "onnx", "fp32").path
        yield Judging(session, folder / "store", folder / "both.pt", path)
