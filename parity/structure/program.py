"""Runs the exported program with substitutes for its non-linear functions. In the `torch` worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from modelparity.fixtures.arrays import Array
from modelparity.parity.simulation.network import Simulation
from modelparity.parity.simulation.places import HARDSIGMOID, Place
from modelparity.parity.simulation.rounding import Moves
from modelparity.parity.structure.program_rules import (
    DISCRETE,
    INDEXES,
    ORDERS,
    PASSES,
    RULES,
    hardened,
    is_float,
)

_ATEN = torch.ops.aten
_ULP = 2.0**-23


class Substituted(Simulation):
    """The network, with a file's float16 weights if it has any.

    Without `whole`, truth values and integers are as they are, and so is everything behind what orders or
    selects numbers.

    Attributes:
        masks, follows, parts: As `program_rules.Run` has them.
        values: Of each node, if asked for.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        places: Sequence[Place] = (),
        *,
        cast: AbstractSet[fx.Node] = frozenset(),
        perturbed: bool = False,
        whole: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(module, places, cast=cast)
        self._perturbs = perturbed
        self._whole = whole
        self._behind_order = set() if whole else behind(module)
        self._moved_by = Moves(seed)
        self.follows = following(module)
        self.parts: set[fx.Node] = set()  # stand for truth values or integers
        self.masks = False
        self.values: dict[fx.Node, Tensor] | None = None

    def computed(self, feed: Mapping[str, Array]) -> list[Tensor]:
        """The outputs, in order."""
        ports = [node.target for node in self.module.graph.nodes if node.op == "placeholder"]  # type: ignore[union-attr]
        arrays = [
            feed[port] if port in feed else list(feed.values())[place] for place, port in enumerate(ports)
        ]
        self.parts.clear()
        with torch.no_grad():
            outputs = self.run(*[torch.from_numpy(np.array(array, order="C")) for array in arrays])
        return [output for output in outputs if isinstance(output, Tensor)]

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        in_place = n.op == "call_function" and _in_place(n)
        if self._perturbs and n in self.follows and not in_place and is_float(value):
            value = torch.addcmul(value, value, self._moved_by(tuple(value.shape)), value=_ULP)
        if self.values is not None and isinstance(value, Tensor):
            self.values[n] = value.clone()
        return value

    def _computed(self, n: fx.Node) -> Any:
        if n not in self.follows or n.op != "call_function":
            return super()._computed(n)
        rule = RULES.get(n.target)
        if rule is not None and n not in self._behind_order and (self._whole or n.target not in DISCRETE):
            arguments, keywords = self.fetch_args_kwargs_from_env(n)
            if n in self._ends and n.target == HARDSIGMOID and self._ends[n].bias is not None:
                arguments = (arguments[0] - 3,)  # the file added it to the layer's bias
            if (result := rule(self, n, arguments, dict(keywords))) is not None:
                if _in_place(n):
                    return arguments[0].copy_(result)
                return result
        if not self.parts.isdisjoint(n.all_input_nodes):
            return self._of_parts(n)
        return super()._computed(n)

    # --- what stands for truth values and integers ------------------------------------------------

    def stands(self, n: fx.Node, value: Tensor) -> Tensor:
        """Notes that a node's numbers stand for truth values or integers."""
        self.parts.add(n)
        return value

    def _of_parts(self, n: fx.Node) -> Any:
        """Of an operator that reads such numbers: what moves or adds them gives such numbers again."""
        indexed = n.args[0] if n.target in INDEXES and n.args[0] in self.parts else None
        kept = n.target in PASSES or indexed is not None
        changed = [each for each in n.all_input_nodes if each in self.parts and each is not indexed]
        before = {each: self.env[each] for each in changed}
        if n.target not in PASSES:
            self.env |= {each: hardened(value, each.meta["val"].dtype) for each, value in before.items()}
        try:
            value = super()._computed(n)
        finally:
            self.env |= before
        known = n.meta.get("val")
        if kept and isinstance(known, Tensor) and not known.dtype.is_floating_point:
            self.parts.add(n)
        return value

    def is_real(self, node: Any) -> bool:
        """Whether an argument is a number or tensor of floats, or stands for truth values or integers."""
        if not isinstance(node, fx.Node):
            return True
        return node in self.parts or is_float(self.env.get(node))

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype


def following(module: torch.nn.Module) -> set[fx.Node]:
    """The nodes whose values depend on those of an input."""
    found: set[fx.Node] = set()
    for node in module.graph.nodes:  # type: ignore[union-attr]
        if node.target == _ATEN.sym_size.int:
            continue
        if node.op == "placeholder" or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def behind(module: torch.nn.Module) -> set[fx.Node]:
    """The nodes that depend on one that orders or selects numbers."""
    found: set[fx.Node] = set()
    for node in module.graph.nodes:  # type: ignore[union-attr]
        if node.target in ORDERS or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def _in_place(n: fx.Node) -> bool:
    name = str(n.target).split(".")[1:2]
    return bool(name) and name[0].endswith("_") and not name[0].endswith("__")
