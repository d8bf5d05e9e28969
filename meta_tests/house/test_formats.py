"""Formats and quantizations are values: no code outside their own folders names one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from meta_tests.house.sources import ROOMS, ROOT, files_of
from modelparity.arguments import checked_quantization
from modelparity.converters.converter import Converter
from modelparity.converters.formats import CONVERTERS, ROUTES, packages_of
from modelparity.converters.recipes import FLOAT, QUANTIZATIONS
from modelparity.errors import BadInputError
from modelparity.fixtures.lookup import named
from modelparity.modelfiles.file_format import FileFormat
from modelparity.modelfiles.formats import FILE_FORMATS
from modelparity.modelfiles.operator_traits import OperatorTraits
from modelparity.modelfiles.usage import Usage
from modelparity.parity.cells import columns

# Folders, or files, whose code may name a format or a quantization, each with its reason.
MAY_NAME_A_FORMAT = {
    "modelfiles/formats.py": "the registry: NAMES",
    "converters/formats.py": "the registry: _ROUTES",
    "fixtures/networks": "declarations of networks: what a cell keeps in float, and its limitation",
    "benchmarks/chunkyseal_full.py": "measures four named cells",
    "benchmarks/noise_floors.py": "measures how one runtime's threads change one file's numbers",
    "modelparity/commands/serve.py": "the default is one named cell, the fastest that was measured",
}
MAY_NAME_A_QUANTIZATION = {
    "converters/recipes.py": "the registry: QUANTIZATIONS",
    "modelfiles/description.py": "names the recipe whose traces a file bears; its room knows no recipes",
    "fixtures/networks": "declarations of networks: what a cell keeps in float, and its limitation",
    "benchmarks/chunkyseal_full.py": "measures four named cells",
    "reports/charts.py": "its room knows recorded results alone, and ratios are to the float cell",
    "modelparity/commands/serve.py": "the default is one named cell, the fastest that was measured",
}
# The same distributions serve the network itself, whatever the format.
_NOT_A_FORMAT_S_OWN = {"torch", "tensorflow"}
_HELP = ("help", "metavar")


def _words() -> set[str]:
    """Names and titles of formats and of their toolchains, in lower case, as words are told apart below."""
    words = {
        *FILE_FORMATS,
        *ROUTES,
        *(format.runtime for format in FILE_FORMATS.values()),
        *(name for entry in (*CONVERTERS.values(), *ROUTES.values()) for name in entry.toolchain),
    }
    return {re.sub(r"[-.]", "_", word.lower()) for word in words} - _NOT_A_FORMAT_S_OWN


FORMAT_WORD = re.compile(rf"(?<![a-z0-9])({'|'.join(sorted(_words()))}|litert)(?![a-z0-9])")
QUANTIZATION_WORD = re.compile(rf"(?<![A-Za-z0-9])({'|'.join(QUANTIZATIONS)})(?![A-Za-z0-9_])")
QUANTIZATION_PREFIX = ("int", "fp", "float16")


def sources(exceptions: dict[str, str]) -> list[Path]:
    """The files of all rooms, but for those of the formats' own folders and the exceptions."""
    own = [package for name in (*FILE_FORMATS, *ROUTES) for package in packages_of(name)]
    apart = [ROOT / package.removeprefix("modelparity.").replace(".", "/") for package in own]
    apart += [ROOT / path for path in exceptions]
    return [
        path for room in ROOMS for path in files_of(room) if not any(path.is_relative_to(it) for it in apart)
    ]


def code_words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Identifiers and texts of a file with their lines; docstrings, help texts and sentences are left out.

    A text with a space in it is a sentence, unless it is code itself.
    """
    prose = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose.add(node.value)  # a docstring, or nothing that runs
        if isinstance(node, ast.keyword) and node.arg in _HELP:
            prose.update(ast.walk(node.value))
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=str(text)) if node not in prose:
                if not re.search(r"\s", text) or "import " in text:
                    yield line, text
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) | ast.arg(arg=name):
                yield line, name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.keyword(arg=str(name)):
                yield line, name
            case ast.ImportFrom(module=str(name)):
                yield line, name


def format_names(source: str) -> list[str]:
    """Where code names a format: `OnnxRunner`, "tflite", "cut.onnx", `import ai_edge_litert`."""
    return [
        f"{line}: {word}" for line, word in code_words(ast.parse(source)) if FORMAT_WORD.search(_split(word))
    ]


def _split(word: str) -> str:
    """`OnnxRunner` as onnx_runner, "ai-edge-litert" as ai_edge_litert, so that words have borders."""
    return re.sub(r"[-.:]", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word)).lower()


def quantization_names(source: str) -> list[str]:
    """Where code names a quantization, whole ("int8_static") or by how it begins."""
    tree = ast.parse(source)
    whole = [f"{line}: {word}" for line, word in code_words(tree) if QUANTIZATION_WORD.search(word)]
    begun = [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "startswith"
        and "quantization" in ast.unparse(node.func.value)
        and any(
            isinstance(word, ast.Constant) and str(word.value).startswith(QUANTIZATION_PREFIX)
            for word in node.args
        )
    ]
    return whole + begun


@pytest.mark.parametrize(
    ("names", "exceptions"),
    [(format_names, MAY_NAME_A_FORMAT), (quantization_names, MAY_NAME_A_QUANTIZATION)],
    ids=["format", "quantization"],
)
def test_no_code_outside_its_own_folders_names_one(names, exceptions):
    wrong = {
        str(path.relative_to(ROOT)): places
        for path in sources(exceptions)
        if (places := names(path.read_text(encoding="utf-8")))
    }
    assert not wrong


@pytest.mark.parametrize(
    ("names", "exceptions"),
    [(format_names, MAY_NAME_A_FORMAT), (quantization_names, MAY_NAME_A_QUANTIZATION)],
    ids=["format", "quantization"],
)
def test_every_exception_is_needed(names, exceptions):
    for exception in exceptions:
        place = ROOT / exception
        files = place.rglob("*.py") if place.is_dir() else [place]
        assert any(names(path.read_text(encoding="utf-8")) for path in files), exception


@pytest.mark.parametrize(
    "code",
    [
        'if format == "onnx": pass',
        'cut = f"{name}.tflite"',
        "from modelparity.converters.onnx.runner import OnnxRunner",
        "runner = TfliteRunner(path)",
        'title = {"x": "ONNX"}["x"]',
        "import ai_edge_litert",
        'script = "import onnxruntime; run()"',
        'call("modelparity.modelfiles.onnx.describe:describe")',
        "onnx_path = 1",
    ],
)
def test_code_that_names_a_format_is_seen(code):
    assert format_names(code)


@pytest.mark.parametrize(
    "code",
    [
        'if quantization == "fp32": pass',
        'cells = ("a-onnx-int8_static",)',
        'rounded = cell.quantization.startswith("int8")',
        'name = f"{stem}_fp16"',
    ],
)
def test_code_that_names_a_quantization_is_seen(code):
    assert quantization_names(code)


@pytest.mark.parametrize(
    "code",
    [
        '"""Reads ONNX and TFLite files in fp32 or int8_static."""',
        'raise ValueError("an ONNX file in fp32 is needed")',
        'option(help="onnx", metavar="onnx|tflite")',
        'dtype = np.dtype("int8"); float16 = "float16"',
        'datatype = {"float32": "FP32"}',
    ],
)
def test_prose_and_dtypes_name_none(code):
    assert not format_names(code)
    assert not quantization_names(code)


def capabilities(value: FileFormat | Converter) -> dict[str, str]:
    """The "module:function" strings of a value, by field."""
    texts = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: text for name, text in texts.items() if isinstance(text, str) and ":" in text}


VALUES = [*FILE_FORMATS.values(), *CONVERTERS.values(), *ROUTES.values()]


@pytest.mark.parametrize(
    ("capability", "text"),
    [
        pytest.param(name, text, id=f"{type(value).__name__} {value.title} {name}")
        for value in VALUES
        for name, text in capabilities(value).items()
    ],
)
def test_every_capability_is_there(capability, text):
    found = named(text)
    if capability == "usage":
        assert isinstance(found, Usage)
    elif capability == "operators":
        assert found
        assert all(isinstance(traits, OperatorTraits) for traits in found.values())
    else:
        assert callable(found)


def test_every_format_has_all_that_is_asked_of_any():
    optional = {"signature_name", "opset", "rename_external_data"}
    for format in FILE_FORMATS.values():
        assert {field.name for field in fields(format)} - optional <= {
            name for name, value in vars(format).items() if value
        }
    for name, converter in CONVERTERS.items():
        assert converter.format == name
        assert converter.suffix == FILE_FORMATS[name].suffix
        assert converter.runner


def test_a_converter_may_make_some_quantizations_alone(monkeypatch):
    whole = columns()
    name, converter = next(iter(CONVERTERS.items()))
    assert {column for column in whole if column[0] == name} == {(name, each) for each in QUANTIZATIONS}
    some = replace(converter, quantizations=(FLOAT,))
    monkeypatch.setattr("modelparity.parity.cells.CONVERTERS", {**CONVERTERS, name: some})
    monkeypatch.setattr("modelparity.arguments.CONVERTERS", {**CONVERTERS, name: some})
    assert set(whole) - set(columns()) == {(name, each) for each in QUANTIZATIONS if each != FLOAT}
    checked_quantization(FLOAT, name)
    other = next(each for each in QUANTIZATIONS if each != FLOAT)
    with pytest.raises(BadInputError, match=f"{name} files are made in {FLOAT} only"):
        checked_quantization(other, name)


@pytest.mark.parametrize(("format", "quantization"), columns())
def test_every_format_has_the_arithmetic_of_its_quantizations(format, quantization, tmp_path):
    """A format without it refuses the name, before it reads a file."""
    quantize = named(f"{CONVERTERS[format].module}:quantize")
    missing = tmp_path / f"missing{CONVERTERS[format].suffix}"
    with pytest.raises(Exception) as caught:  # noqa: PT011 (toolchains raise anything on a missing file)
        quantize(missing, tmp_path / "target", quantization, keep_float=(), calibration=())
    assert ("has no recipe" in str(caught.value)) == (quantization == FLOAT)


def test_quantizations_are_told_apart_by_what_they_do():
    (only,) = (recipe for recipe in QUANTIZATIONS.values() if recipe.is_float)
    assert only.name == FLOAT
    assert not only.rounds_activations
    assert all(recipe.weight_share > 0 for recipe in QUANTIZATIONS.values() if not recipe.is_float)
    words = [word for recipe in QUANTIZATIONS.values() for word in (recipe.name, *recipe.aliases)]
    assert len(words) == len(set(words))
