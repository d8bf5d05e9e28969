"""Defines what the house asks of a format of model files, as a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelparity.fixtures.lookup import named


@dataclass(frozen=True)
class FileFormat:
    """One format of model files.

    `title` is how people write it, `suffix` how its files' names end, `runtime` the distribution that runs
    them, `platform` the Open Inference Protocol's word for it. `bears` tells from a file's first bytes
    whether it is of this format. `usage` and `operators`, "module:NAME", are
    code that runs its files, for documents, and the `OperatorTraits` of its operators by name.

    The others name functions, "module:function", so that a toolchain is imported where it is needed:
    `describe(path)` returns a `Description`; `read_metadata(path)` and `write_metadata(path, text)` read and
    write the model card's text; `graph(path)` returns the file's `Graph`, roundings taken off;
    `observed_ranges(path, feeds, names)` returns the least and greatest value of activations;
    `activations(path, feed, folder)` writes every tensor that the file computes; `extract_subgraph(path,
    target, inputs, output)` writes a part of the file; `editor(path)` opens a file to plant faults in it.

    Those that only some formats have are empty elsewhere: `signature_name(path)` returns the name under which
    mobile developers call the file; `opset(path)` the version of its operators; `rename_external_data(source,
    target, name)` writes a file again whose weights are beside it in a file called `name`.
    """

    name: str
    title: str
    suffix: str
    runtime: str
    platform: str
    bears: Callable[[bytes], bool]
    describe: str
    read_metadata: str
    write_metadata: str
    graph: str
    observed_ranges: str
    activations: str
    extract_subgraph: str
    editor: str
    operators: str
    usage: str
    signature_name: str = ""
    opset: str = ""
    rename_external_data: str = ""

    def call(self, capability: str, *arguments: Any) -> Any:
        """Calls the function that a capability names."""
        return named(getattr(self, capability))(*arguments)
