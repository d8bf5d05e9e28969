"""The profile of a gate counts the CPU time of child processes, each call at its step."""

from __future__ import annotations

from modelparity.benchmarks.profile_gate import SHARED, Profile, ProfiledWorkers, step_of, table

CELL = ("onnx", "fp32")
WORK = ("timeit:timeit", "sum(range(10_000))")


def test_a_call_is_added_to_the_cell_that_it_is_made_for():
    profile = Profile()
    with ProfiledWorkers(profile) as workers:
        workers["torch"].call(*WORK, number=1)
        with profile.of(CELL):
            seconds = workers["torch"].call(*WORK, number=2_000).cpu_seconds
            workers["torch"].call("os:getpid")
    counted = profile.seconds[CELL]["timeit"]
    assert abs(counted - seconds) < 0.1 < counted
    assert profile.seconds[SHARED]["start of processes"] > 0
    assert profile.seconds[CELL]["getpid"] < 0.05
    assert profile.calls["timeit"] == 2


def test_a_process_that_is_started_again_is_counted_from_its_start():
    profile = Profile()
    with ProfiledWorkers(profile) as workers:
        for _ in range(2):
            workers["torch"].call(*WORK, number=1_000)
            workers["torch"].close()
    assert profile.calls["start of processes"] == 2
    assert all(seconds >= 0 for steps in profile.seconds.values() for seconds in steps.values())


def test_steps_have_names():
    assert step_of("modelparity.converters.engine.network:export") == "export"
    assert step_of("modelparity.converters.engine.tasks:quantize") == "convert"
    assert step_of("modelparity.elsewhere:unknown") == "unknown"


def test_the_table_has_sums():
    profile = Profile()
    profile.add("export", 3.0)
    with profile.of(CELL):
        profile.add("convert", 1.0)
    lines = [[part.strip() for part in line.split("|")[1:-1]] for line in table(profile).splitlines()]
    assert lines[0] == ["step", "calls", "shared", "onnx fp32", "sum", "share"]
    assert lines[2] == ["export", "1", "3.0", "", "3.0", "75 %"]
    assert lines[3] == ["convert", "1", "", "1.0", "1.0", "25 %"]
    assert lines[-1][-3:-1] == ["1.0", "4.0"]
