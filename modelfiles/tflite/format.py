"""The TFLite format, as a value."""

from __future__ import annotations

from modelparity.modelfiles.file_format import FileFormat


def bears_tflite(head: bytes) -> bool:
    """Whether bytes begin as a TFLite flatbuffer: its file identifier stands behind the root's offset."""
    return head[4:8] == b"TFL3"


FORMAT = FileFormat(
    name="tflite",
    title="TFLite",
    suffix=".tflite",
    runtime="ai-edge-litert",
    platform="litert_tflite",
    bears=bears_tflite,
    describe="modelparity.modelfiles.tflite.describe:describe_tflite",
    read_metadata="modelparity.modelfiles.tflite.metadata:read",
    write_metadata="modelparity.modelfiles.tflite.metadata:write",
    graph="modelparity.modelfiles.tflite.float_graph:graph_of",
    observed_ranges="modelparity.modelfiles.tflite.ranges:observed_ranges",
    activations="modelparity.modelfiles.tflite.activations:probe",
    extract_subgraph="modelparity.modelfiles.tflite.extract_subgraph:extract",
    editor="modelparity.modelfiles.tflite.editor.operators:TfliteEditor",
    operators="modelparity.modelfiles.tflite.operators:OPERATORS",
    usage="modelparity.modelfiles.tflite.usage:USAGE",
    signature_name="modelparity.modelfiles.tflite.signature:signature_name",
)
