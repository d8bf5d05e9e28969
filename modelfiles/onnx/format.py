"""The ONNX format, as a value."""

from __future__ import annotations

from modelparity.modelfiles.file_format import FileFormat
from modelparity.modelfiles.kinds import is_text

# ModelProto's fields: number -> wire type (0 varint, 2 length-delimited), from onnx.proto.
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}


_MODEL_TEXTS = {2, 3, 4, 6}  # producer name and version, domain, doc string


_GRAPH = 7


_GRAPH_TAGS = {n << 3 | 2 for n in (1, 2, 5, 10, 11, 12, 13, 14, 15, 16)}  # all its fields have a length


_MAX_IR_VERSION = 30


def bears_onnx(head: bytes) -> bool:
    """Whether bytes begin as a ModelProto: ir_version, then its own fields as far as one can see.

    SavedModel and Core ML begin with the same two fields, but with a message where ModelProto has text.
    """
    if len(head) < 8 or head[0] != 0x08 or not 1 <= head[1] <= _MAX_IR_VERSION:
        return False
    at = 2
    while at < len(head):
        tag, at = _varint(head, at)
        number, wire = tag >> 3, tag & 7
        if _MODEL_FIELDS.get(number) != wire:
            return False
        length, at = _varint(head, at)
        if wire == 0:
            continue
        if number in _MODEL_TEXTS and not is_text(head[at : at + length], cut=at + length > len(head)):
            return False
        if number == _GRAPH:
            return at >= len(head) or head[at] in _GRAPH_TAGS
        at += length
    return True  # every field is one of its own, the last one perhaps cut


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends; one that the data cut short ends behind them."""
    value = 0
    for step, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << 7 * step
        if byte < 0x80:
            return value, at + step + 1
    return value, len(data) + 1


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
    editor="modelparity.modelfiles.onnx.editor_operators:OnnxEditor",
)
