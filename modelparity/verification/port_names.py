"""Which port of a file is which of the network's: what the user says of it, or what shapes and types tell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

from modelparity.errors import BadInputError
from modelparity.fixtures.specs import Signature, TensorSpec
from modelparity.modelfiles import ports as mapping
from modelparity.modelfiles.description import Description, Port
from modelparity.modelfiles.ports import FIRST, LAST, LAYOUTS, Ports

_MOST_PORTS = 6  # whose orders are all tried
_Names = tuple[tuple[str, str], ...]
# Layouts of inputs and outputs, the likeliest first.
_TRIED = ((FIRST, FIRST), (LAST, FIRST), (LAST, LAST), (FIRST, LAST))


def ports_of(
    description: Description, signature: Signature, renames: Sequence[str], *, layouts: tuple[str, str]
) -> Ports:
    """The ports by the `THEIRS=OURS` texts of `--rename` and the layouts of inputs and outputs.

    Raises:
        BadInputError: a name that the file or the network does not have, or that is given twice; a layout
            that is not known, or that no port can have.
    """
    pairs: dict[str, str] = {}
    for text in renames:
        theirs, equals, ours = text.partition("=")
        if not (theirs and equals and ours):
            raise BadInputError(f"--rename {text!r}, but should be THEIRS=OURS")
        if theirs in pairs:
            raise BadInputError(f"--rename names {theirs} twice")
        pairs[theirs] = ours
    sides = ((description.inputs, signature.inputs), (description.outputs, signature.outputs))
    for theirs, ours in pairs.items():
        if not any(_has(have, theirs) and _has(wanted, ours) for have, wanted in sides):
            known = _known(description, signature)
            raise BadInputError(f"--rename {theirs}={ours}: no two inputs or outputs of these names; {known}")
    inputs, outputs = (_side(have, wanted, pairs) for have, wanted in sides)
    for option, layout, (have, _) in zip(("--input-layout", "--output-layout"), layouts, sides, strict=True):
        if layout not in LAYOUTS:
            raise BadInputError(f"{option} {layout}, but should be {' or '.join(LAYOUTS)}")
        if layout == LAST and not any(len(port.shape) == len(LAST) for port in have):
            raise BadInputError(f"{option} {layout}: no port has four axes: {mapping.words(have)}")
    return Ports(inputs, outputs, input_layout=layouts[0], output_layout=layouts[1])


def _has(ports: Sequence[Port | TensorSpec], name: str) -> bool:
    return any(port.name == name for port in ports)


def _known(description: Description, signature: Signature) -> str:
    theirs = f"the file has {mapping.words(description.inputs)} -> {mapping.words(description.outputs)}"
    return f"{theirs}; the network has {_words(signature.inputs)} -> {_words(signature.outputs)}"


def _words(specs: Sequence[TensorSpec]) -> str:
    return mapping.words([Port(spec.name, spec.shape, spec.dtype) for spec in specs])


def _side(have: Sequence[Port], wanted: Sequence[TensorSpec], pairs: dict[str, str]) -> _Names:
    """(theirs, ours) of all ports in the network's order; () where none is renamed."""
    taken = {port.name: pairs.get(port.name, port.name) for port in have}
    if all(theirs == ours for theirs, ours in taken.items()):
        return ()
    if len(set(taken.values())) < len(taken):
        twice = next(name for name in taken.values() if list(taken.values()).count(name) > 1)
        sources = [theirs for theirs, ours in taken.items() if ours == twice]
        raise BadInputError(f"--rename: {' and '.join(sources)} would both be {twice}")
    order = {spec.name: place for place, spec in enumerate(wanted)}
    return tuple(sorted(taken.items(), key=lambda pair: order.get(pair[1], len(order))))


def proposal(description: Description, signature: Signature, ports: Ports) -> str:
    """How a file of other names or layouts can be judged; "" if its names and axes are the network's.

    `description` is the file's own, and `ports` what was said of it.
    """
    seen = ports.seen(description)
    sides = ((seen.inputs, signature.inputs), (seen.outputs, signature.outputs))
    if all({port.name for port in have} == {spec.name for spec in wanted} for have, wanted in sides):
        tried = _with_layouts(description, signature, ports)
        return f"its axes are in another order: {_try(tried)}" if tried else ""
    found: list[Ports] = []
    for layouts in _TRIED:
        turned = replace(ports, input_layout=layouts[0], output_layout=layouts[1])
        described = turned.seen(description)
        inputs = _matches(described.inputs, signature.inputs)
        outputs = _matches(described.outputs, signature.outputs)
        if len(inputs) == len(outputs) == 1:
            found = [_named(turned, description, signature, inputs[0] | outputs[0])]
            break
        if inputs and outputs:
            break
    known = _known(description, signature)
    if found:
        return f"its ports have other names: {_try(found[0])}"
    if any(len(have) != len(wanted) for have, wanted in sides):
        return ""  # one is missing, or one too many
    return f"its ports have other names, and --rename THEIRS=OURS says which is which: {known}"


def _try(ports: Ports) -> str:
    renames = [f"{theirs}={ours}" for theirs, ours in ports.renames.items()]
    return f"try {shlex.join(options(renames, (ports.input_layout, ports.output_layout)))}"


def options(renames: Sequence[str], layouts: tuple[str, str]) -> list[str]:
    """The command-line options that say so."""
    named = zip(("--input-layout", "--output-layout"), layouts, strict=True)
    return [
        *(part for text in renames for part in ("--rename", text)),
        *(part for option, layout in named if layout != FIRST for part in (option, layout)),
    ]


def _named(ports: Ports, description: Description, signature: Signature, ours: dict[str, str]) -> Ports:
    """`ports` with the network's names of those that it names already, or that have the file's own."""
    before = ports.renames
    pairs = {
        port.name: ours[before.get(port.name, port.name)]
        for port in (*description.inputs, *description.outputs)
    }
    inputs = _side(description.inputs, signature.inputs, pairs)
    return replace(ports, inputs=inputs, outputs=_side(description.outputs, signature.outputs, pairs))


def _with_layouts(description: Description, signature: Signature, ports: Ports) -> Ports | None:
    """The other layouts in which the file's shapes are the network's; None if its own are, or none does."""
    tried = [replace(ports, input_layout=one, output_layout=other) for one, other in _TRIED]
    fitting = [each for each in tried if _fits(each.seen(description), signature)]
    return None if ports in fitting or not fitting else fitting[0]


def _fits(description: Description, signature: Signature) -> bool:
    named = {port.name: port for port in (*description.inputs, *description.outputs)}
    wanted = (*signature.inputs, *signature.outputs)
    return all(spec.name in named and _alike(named[spec.name], spec) for spec in wanted)


def _matches(have: Sequence[Port], wanted: Sequence[TensorSpec]) -> list[dict[str, str]]:
    """All ways to give each port a name of the network, shapes and types being alike; equal names stay."""
    same = {port.name for port in have} & {spec.name for spec in wanted}
    left = [port for port in have if port.name not in same]
    open_ = [spec for spec in wanted if spec.name not in same]
    if len(left) != len(open_) or len(left) > _MOST_PORTS:
        return []
    kept = {name: name for name in same}
    return [
        kept | {port.name: spec.name for port, spec in zip(left, order, strict=True)}
        for order in permutations(open_)
        if all(_alike(port, spec) for port, spec in zip(left, order, strict=True))
    ]


def _alike(port: Port, spec: TensorSpec) -> bool:
    """Whether the file's port may be the network's; a dynamic axis fits any."""
    return (
        port.dtype == spec.dtype
        and len(port.shape) == len(spec.shape)
        and all(
            isinstance(one, str) or isinstance(other, str) or one == other
            for one, other in zip(port.shape, spec.shape, strict=True)
        )
    )
