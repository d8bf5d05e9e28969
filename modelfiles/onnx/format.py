"""The ONNX format, as a value."""

from __future__ import annotations

from modelparity.fixtures.file_kinds import is_text
from modelparity.modelfiles.file_format import FileFormat
from modelparity.modelfiles.onnx import protobuf

# ModelProto's fields -> wire types, from onnx.proto.
_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_TEXTS = {2, 3, 4, 6}  # producer name and version, domain, doc string
_GRAPH = 7
_GRAPH_TAGS = {n << 3 | 2 for n in (1, 2, 5, 10, 11, 12, 13, 14, 15, 16)}  # all its fields have a length
_MAX_IR_VERSION = 30


def bears_onnx(head: bytes) -> bool:
    """Whether bytes begin as a ModelProto: ir_version, then its other fields as far as `head` goes.

    SavedModel and Core ML begin with the same two fields, but with a message where ModelProto has text.
    """
    if len(head) < 8 or head[0] != 0x08 or not 1 <= head[1] <= _MAX_IR_VERSION:
        return False
    try:
        for field in protobuf.fields(head, cut=True):
            if _FIELDS.get(field.number) != field.wire_type:
                return False
            content = head[field.start : field.end]
            if field.number in _TEXTS and not is_text(content, cut=field.end > len(head)):
                return False
            if field.number == _GRAPH:
                return not content or content[0] in _GRAPH_TAGS
    except ValueError:
        return False
    return True


FORMAT = FileFormat(
    name="onnx",
    title="ONNX",
    suffix=".onnx",
    runtime="onnxruntime",
    platform="onnxruntime_onnx",
    bears=bears_onnx,
    describe="modelparity.modelfiles.onnx.describe:describe_onnx",
    read_metadata="modelparity.modelfiles.onnx.metadata:read",
    write_metadata="modelparity.modelfiles.onnx.metadata:write",
    graph="modelparity.modelfiles.onnx.float_graph:graph_of",
    observed_ranges="modelparity.modelfiles.onnx.ranges:observed_ranges",
    activations="modelparity.modelfiles.onnx.activations:probe",
    extract_subgraph="modelparity.modelfiles.onnx.extract_subgraph:extract",
    editor="modelparity.modelfiles.onnx.editor.operators:OnnxEditor",
    operators="modelparity.modelfiles.onnx.operators:OPERATORS",
    usage="modelparity.modelfiles.onnx.usage:USAGE",
    opset="modelparity.modelfiles.onnx.opset:opset",
    rename_external_data="modelparity.modelfiles.onnx.external_data:rename",
)
