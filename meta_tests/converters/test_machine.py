"""What is told of the CPU and of the session in which a file is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta_tests.miniatures.miniature import cell, session_of
from modelparity.converters.engine import machine

CPUINFO = """processor : 0
model name : Some CPU @ 2.00GHz
flags : fpu avx2 avx512f avx512bw avx512_vnni amx_int8 avx_vnni
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd evtstrm asimddp sve i8mm\n"


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (CPUINFO, "avx2 avx512bw avx512_vnni avx_vnni amx_int8"),
        (CPUINFO.replace("avx512_vnni ", "").replace(" avx_vnni", ""), "avx2 avx512bw amx_int8"),
        (ARM, "asimd asimddp i8mm sve"),
        ("flags : fpu mmx\n", "none"),
        ("hart : 0\n", "unknown"),
    ],
)
def test_the_flags_that_decide_kernels(text, flags):
    assert machine.decisive(text) == flags


def test_the_name_and_the_flags_of_this_machine(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine.cpu() == {
        "cpu": "Some CPU @ 2.00GHz",
        "cpu flags": "avx2 avx512bw avx512_vnni avx_vnni amx_int8",
    }


def test_a_system_without_cpuinfo(monkeypatch):
    monkeypatch.setattr(machine, "_CPUINFO", Path("/nowhere/cpuinfo"))
    monkeypatch.setattr(machine, "_sysctl", lambda name: "1" if name.endswith("DotProd") else "")
    assert machine.cpu()["cpu flags"] == "asimddp"
    monkeypatch.setattr(machine, "_sysctl", lambda _: "")
    assert machine.cpu()["cpu flags"] == "unknown"


@pytest.mark.parametrize(
    ("format", "runtime", "options"),
    [
        (
            "onnx",
            "onnxruntime ",
            {
                "providers": "CPUExecutionProvider",
                "graph_optimization_level": "ORT_ENABLE_ALL",
                "execution_mode": "ORT_SEQUENTIAL",
                "intra_op_num_threads": "1",
                "inter_op_num_threads": "1",
                "session.force_spinning_stop": "1",
            },
        ),
        ("tflite", "ai-edge-litert ", {"num_threads": "1", "experimental_op_resolver_type": "AUTO"}),
    ],
)
def test_a_record_says_in_which_session_the_file_was_judged(tmp_path, format, runtime, options):
    with session_of([format], tmp_path) as session:
        record = session.prove(cell(format))
        again = session.prove(cell(format))
    told = dict(record.ran_on)
    assert told.pop("runtime").startswith(runtime)
    assert told == {**machine.cpu(), **options}
    assert again.cached
    assert again.ran_on == record.ran_on


def test_of_a_file_that_never_ran_the_cpu_is_told_alone(tmp_path):
    with session_of(["segfaults"], tmp_path) as session:
        record = session.prove(cell("segfaults"))
    assert record.status == "crashed"
    assert record.ran_on.keys() >= {"cpu", "cpu flags"}
