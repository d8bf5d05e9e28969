"""The reader in C++ of docs/on-device.md is compiled and run on feeds, and what it writes is judged."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from meta_tests.commands.device.device import array_of, failed
from meta_tests.house.sources import ROOT

DOCUMENT = ROOT / "docs" / "on-device.md"
COMPILER = shutil.which("g++") or shutil.which("clang++")
# Gives the outputs that were recorded, and writes down what it was given.
INFER = """
#include <cstdlib>
#include <numeric>

void infer(Run& run) {
    if (run.number == std::getenv("FAILS")) throw std::runtime_error("out of memory");
    std::ofstream log(std::getenv("LOG"), std::ios::app);
    for (const Array& input : run.inputs) {
        const float* values = reinterpret_cast<const float*>(input.bytes.data());
        const std::size_t count = input.bytes.size() / sizeof(float);
        log << run.number << ' ' << run.threads << ' ' << run.load_anew;
        log << ' ' << input.name << ' ' << input.dtype;
        for (auto axis : input.shape) log << ' ' << axis;
        log << ' ' << values[0] << ' ' << values[count - 1] << '\\n';
    }
    for (Array& output : run.outputs) output.bytes = read(fs::path(std::getenv("RECORDED")) / output.file);
}
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Path:
    if COMPILER is None:
        pytest.skip("no C++ compiler: neither g++ nor clang++ is installed")
    folder = tmp_path_factory.mktemp("reader")
    (source,) = blocks("cpp")
    (folder / "reader.cpp").write_text(source + INFER)
    words = [COMPILER, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-O1"]
    built = subprocess.run(
        [*words, str(folder / "reader.cpp"), "-o", str(folder / "reader")], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return folder / "reader"


def run(reader: Path, case, outputs: Path, fails: str = "none") -> str:
    log = outputs.with_suffix(".log")
    environment = {"RECORDED": str(case.outputs), "LOG": str(log), "FAILS": fails}
    subprocess.run([reader, case.feeds, outputs], check=True, env=environment)
    return log.read_text()


@pytest.mark.parametrize("which", [("onnx", "fp32"), ("tflite", "fp32")])
def test_it_reads_what_feeds_writes_and_judge_reads_what_it_writes(reader, cases, tmp_path, which):
    case = cases[which].copy(tmp_path)
    lines = run(reader, case, tmp_path / "theirs").splitlines()
    wanted = []
    for entry in case.entries:
        (given,) = entry["inputs"]
        values = array_of(case.feeds, given)
        ends = (f"{values.flat[0]:g}", f"{values.flat[-1]:g}")
        axes = map(str, given["shape"])
        first = (
            entry["run"],
            str(entry["threads"]),
            str(int(entry["load_anew"])),
            given["name"],
            given["dtype"],
        )
        wanted.append(" ".join((*first, *axes, *ends)))
    assert lines == wanted
    case.outputs = tmp_path / "theirs"
    assert case.judge().verdict == "pass"


def test_it_writes_the_error_of_a_run(reader, case, tmp_path):
    run(reader, case, tmp_path / "theirs", fails=f"{case.again('a batch of 5'):03}")
    case.outputs = tmp_path / "theirs"
    assert failed(case.judge()) == {"batch"}


def test_the_readers_are_short():
    for language in ("cpp", "kotlin", "swift"):
        (source,) = blocks(language)
        assert len(source.splitlines()) <= 75
