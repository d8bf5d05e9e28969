"""The table of files that other tools made counts what was said of them."""

from __future__ import annotations

from dataclasses import replace

from meta_tests.measurements import foreign_files
from meta_tests.measurements.foreign.recipes import TOOLS, WRONG
from meta_tests.measurements.foreign.seeded_networks import NETWORKS
from meta_tests.measurements.foreign_files import Row, document

ROW = Row(
    "onet", "nncf", "nncf.quantize", "int8_static", "passed", "20 dB", fault="a: b", faulty="mismatched, c"
)


def test_right_files_and_faults_are_counted():
    rows = [
        ROW,
        replace(
            ROW, tool="ort_dynamic_s8", status="inconclusive", said="simulated: not known", faulty="passed"
        ),
        replace(ROW, tool="onnxsim", status="mismatched", saturates="3 of 4 pairs", faulty="inconclusive, x"),
        replace(ROW, tool="onnxslim", status="not made", said="ValueError: no", fault="", faulty=""),
        replace(ROW, network="products", tool="ort_qdq_entropy", status="mismatched", said="10 dB"),
    ]
    text = document(rows)
    assert "3 right files, by 3 tools and options, of 1 networks: 1 pass, 1 are not decided, 1 fail." in text
    assert "Of 3 copies with a planted fault, 1 are red and 1 not decided. 0 right files" in text
    assert "- onet, onnxsim: 3 of 4 pairs" in text
    assert "- onet, onnxslim: ValueError: no" in text
    assert "- products, ort_qdq_entropy: onnxruntime's quantizer loses the beta of a Gemm" in text


def test_every_tool_is_tried_on_networks_that_there_are():
    assert all(network in NETWORKS for tool in TOOLS.values() for network in tool.networks)
    assert all(network in TOOLS[tool].networks for network, tool in WRONG)
    assert sum(len(tool.networks) for tool in TOOLS.values()) > 80


def test_a_tool_that_fails_makes_no_file(tmp_path, monkeypatch):
    def fails(*_: object) -> None:
        raise SystemExit("it gave up")

    class Spec:
        name = "onet"

    class Source:
        spec = Spec()

    tool = replace(TOOLS["nncf"], make=fails)
    row = foreign_files._row(None, Source(), tool, tmp_path, python="", faults=True)
    assert (row.status, row.said) == ("not made", "SystemExit: it gave up")
