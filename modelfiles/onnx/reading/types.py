"""Tells which outputs of an ONNX operator have the type of some of its inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from onnx import NodeProto, defs

from modelparity.modelfiles.onnx.opset import STANDARD_DOMAINS


def of_one_type(node: NodeProto, known: Collection[str], opsets: Mapping[str, int]) -> list[str]:
    """The outputs that have the type of an input whose name is in `known`.

    Which types are the same says the operator's schema; of an operator without one, the first output is taken
    to have the type of its inputs.
    """
    places = [place for place, name in enumerate(node.input) if name in known]
    if not places:
        return []
    domain = "" if node.domain in STANDARD_DOMAINS else node.domain
    if not defs.has(node.op_type, domain):
        return list(node.output[:1])
    schema = defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    types = {schema.inputs[min(place, len(schema.inputs) - 1)].type_str for place in places}
    last = len(schema.outputs) - 1
    return [
        name for i, name in enumerate(node.output) if name and schema.outputs[min(i, last)].type_str in types
    ]
