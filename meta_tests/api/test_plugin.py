"""The pytest plugin in a user's project: declared models are collected as cells, without torch."""

from __future__ import annotations

import pytest

pytest_plugins = ("pytester",)
PLUGIN = ("-p", "modelparity.pytest_plugin", "-p", "no:cacheprovider")
DECLARED = """
[tool.modelparity.models.net]
build = "package_of_user:build"
formats = ["onnx", "tflite"]
quantizations = ["fp32", "int8_dynamic"]
"""


def collected(pytester: pytest.Pytester, *options: str) -> list[str]:
    result = pytester.runpytest_subprocess(*PLUGIN, "--collect-only", "-q", *options)
    return [line.rpartition("::")[2] for line in result.outlines if "::" in line]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyprojecttoml(DECLARED)
    pytester.makepyfile(test_own="def test_of_user(parity):\n    pass\n")
    return pytester


def test_cells_of_declared_models_are_collected_and_selected(project: pytest.Pytester) -> None:
    cells = ["net-onnx-fp32", "net-onnx-int8_dynamic", "net-tflite-fp32", "net-tflite-int8_dynamic"]
    assert collected(project) == [*cells, "test_of_user"]
    assert collected(project, "-k", "net and tflite and dynamic") == ["net-tflite-int8_dynamic"]


def test_they_are_left_out_on_request_and_where_the_user_names_tests(project: pytest.Pytester) -> None:
    assert collected(project, "--no-parity") == ["test_of_user"]
    assert collected(project, "test_own.py") == ["test_of_user"]
    assert collected(project, "pyproject.toml")[0] == "net-onnx-fp32"


def test_they_are_collected_where_testpaths_names_a_folder(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml(DECLARED + '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n')
    pytester.mkdir("tests").joinpath("test_it.py").write_text("def test_of_user(parity):\n    pass\n")
    assert collected(pytester)[:2] == ["test_of_user", "net-onnx-fp32"]


def test_a_target_needs_no_test_file(pytester: pytest.Pytester) -> None:
    found = collected(pytester, "--parity-model", "somewhere:classifier")
    assert found == ["classifier-onnx-fp32"]


def test_collecting_imports_no_torch(project: pytest.Pytester) -> None:
    project.makeconftest("import sys\ndef pytest_collection_finish():\n    print('torch' in sys.modules)\n")
    result = project.runpytest_subprocess(*PLUGIN, "--collect-only", "-q", "-s")
    assert "False" in result.outlines


def test_a_broken_declaration_ends_in_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml('[tool.modelparity.models.net]\nformats = ["onnx"]\n')
    result = pytester.runpytest_subprocess(*PLUGIN, "--collect-only", "-q")
    assert result.ret != pytest.ExitCode.OK
    assert any("needs build" in line for line in result.outlines)
    assert not any("Traceback" in line for line in (*result.errlines, *result.outlines))


def test_a_cell_that_cannot_be_captured_fails_with_its_reason(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess(*PLUGIN, "-q", "--parity-model", "no_such_package:net")
    result.assert_outcomes(failed=1)
    assert any("no module 'no_such_package'" in line for line in result.outlines)
