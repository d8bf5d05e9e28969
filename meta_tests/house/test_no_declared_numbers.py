"""No network declares a number that a verdict depends on: bounds come from the reference alone."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, is_dataclass

import pytest

from meta_tests.house.sources import ROOT, files_of, named_in
from modelparity.fixtures import networks
from modelparity.fixtures.declaration import Declaration
from modelparity.fixtures.models import DECLARATIONS, MODELS

NETWORKS = ROOT / "fixtures" / "networks"
# The rooms whose code may decide a verdict; what a network computes is not theirs.
DECIDING = [
    path
    for room in ("fixtures", "modelfiles", "converters", "parity", "modelparity")
    for path in files_of(room)
    if not path.is_relative_to(NETWORKS)
]
# The fields of a declaration that hold numbers, and what these are.
NUMBERS = {
    "Declaration.position": "a place in lists and reports",
    "Golden.inputs": "shapes of the inputs that pin a network",
    "Golden.settings": "settings of the published network",
    "Golden.built_with": "settings of the published network",
    "ModelSpec.centred": "what is added to the golden weights",
    "ModelSpec.input_sizes": "sizes of the image",
    "ModelSpec.default_input_size": "a size of the image",
    "ModelSpec.full": "settings of the network",
    "Preprocessing.mean": "how a photograph becomes the input",
    "Preprocessing.std": "how a photograph becomes the input",
    "Setting.default": "a setting of the network",
    "Setting.min": "a limit of a setting",
    "Setting.max": "a limit of a setting",
    "TensorSpec.shape": "a shape",
    "TensorSpec.range": "what a value can be, such as a probability",
    "KeepFloat.shapes": "which operators stay in float",
    "KeepFloat.elements": "which operators stay in float",
}


def numbers_in(value: object, place: str = "") -> Iterator[str]:
    """The field of each number in a value, as "Class.field"; once for each number."""
    if _is_number(value):
        yield place
    elif is_dataclass(value):
        for field in fields(value):
            yield from numbers_in(getattr(value, field.name), f"{type(value).__name__}.{field.name}")
    elif isinstance(value, Mapping):
        yield from numbers_in((*value.keys(), *value.values()), place)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for each in value:
            yield from numbers_in(each, place)


def tables_of_numbers(tree: ast.AST, apart: AbstractSet[str] = frozenset()) -> list[str]:
    """The numbers that code has for a model or cell that it names: in tables, in calls, behind comparisons.

    What is passed to a function or class of `apart` is left out.
    """
    found: dict[ast.Constant, None] = {}
    for node in ast.walk(tree):
        parts: list[ast.AST] = []
        match node:
            case ast.Dict(keys=keys, values=values):
                parts = [v for key, v in zip(keys, values, strict=True) if key is not None and _names(key)]
            case ast.DictComp(key=test) | ast.If(test=test) | ast.IfExp(test=test):
                parts = [node] if _names(test) else []
            case ast.match_case(pattern=test):
                parts = [node] if _names(test) else []
            case ast.Call(args=given, keywords=named):
                parts = [node] if any(map(_is_name, [*given, *(word.value for word in named)])) else []
            case ast.Tuple(elts=values) | ast.List(elts=values):
                parts = [node] if any(map(_is_name, values)) else []
        found |= dict.fromkeys(number for part in parts for number in _numbers(part, apart))
    return [f"{number.lineno}: {number.value}" for number in found]


def _names(node: ast.AST) -> bool:
    return any(map(_is_name, ast.walk(node)))


def _is_name(node: ast.AST) -> bool:
    """Whether a node is the name of a model, or of one of its cells."""
    text = node.value if isinstance(node, ast.Constant) else None
    return isinstance(text, str) and (text in MODELS or text.rpartition("-")[0].rpartition("-")[0] in MODELS)


def _numbers(node: ast.AST, apart: AbstractSet[str]) -> Iterator[ast.Constant]:
    if isinstance(node, ast.Call) and ast.unparse(node.func) in apart:
        return
    if isinstance(node, ast.Constant) and _is_number(node.value):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _numbers(child, apart)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def public_names(tree: ast.Module) -> set[str]:
    """What other modules could take from a declaration."""
    named = {
        name.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    }
    named |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return {name for name in named if not name.startswith("_")}


def test_no_number_of_a_declaration_is_a_bound():
    declared = [place for declaration in DECLARATIONS.values() for place in numbers_in(declaration)]
    assert len(declared) > 100
    bounds = [place for place in declared if place not in NUMBERS]
    assert len(bounds) == 0, bounds


def test_every_field_of_numbers_is_in_use():
    declared = {place for declaration in DECLARATIONS.values() for place in numbers_in(declaration)}
    assert declared == set(NUMBERS)


def test_a_declaration_has_no_field_for_bounds():
    assert [field.name for field in fields(Declaration)] == [
        "position",
        "models",
        "goldens",
        "keep_float",
        "limitations",
    ]


@pytest.mark.parametrize("network", DECLARATIONS)
def test_a_declaration_offers_its_one_value_alone(network):
    """So that no table of numbers can be imported from beside it."""
    tree = ast.parse((NETWORKS / network / "declaration.py").read_text("utf-8"))
    assert public_names(tree) == {"DECLARATION"}
    known = {place.partition(".")[0] for place in NUMBERS}  # the values of their fields are walked above
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert tables_of_numbers(tree, known | own) == []


def test_networks_share_no_module():
    assert [path.name for path in NETWORKS.glob("*.py")] == ["__init__.py"]


def test_no_code_that_decides_has_a_number_for_a_model():
    assert len(DECIDING) > 150
    found = [
        f"{path.relative_to(ROOT)}:{place}"
        for path in DECIDING
        for place in tables_of_numbers(ast.parse(path.read_text("utf-8")))
    ]
    assert len(found) == 0, found


def test_no_judge_imports_from_a_network():
    judges = files_of("parity")
    assert len(judges) > 40
    taken = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in judges
        for name in named_in(path)
        if name.startswith(f"{networks.__name__}.")
    ]
    assert len(taken) == 0, taken


@pytest.mark.parametrize(
    "code",
    [
        'FLOORS = {"ladeda": 9}',
        'FLOORS = {("ladeda", "onnx", "fp32"): (8, 60)}',
        'FLOORS = {"ladeda-onnx-fp32": Tolerance(floors=8)}',
        'FLOORS = {Cell("ladeda", "onnx", "fp32"): 8}',
        'bound = 9 if cell.model == "ladeda" else allowed',
        'if "ladeda" in model:\n    bound *= 1.5',
        'match model:\n    case "ladeda":\n        bound = 9',
        'budget("ladeda", score=(9, 2))',
        'budget(model="ladeda", floors=9)',
        'ROWS = (("ladeda", 9.0),)',
        'expectations = {("ladeda", format, "fp16"): budget("...", score=(60, 55)) for format in FORMATS}',
    ],
)
def test_a_number_for_a_model_is_seen(code):
    assert tables_of_numbers(ast.parse(code))


def test_a_number_of_no_model_is_not():
    code = 'FLOORS = {"miniature": 9}; bound = 9; SKIPPED = {"ladeda": (True, "42 GFLOP")}'
    assert not tables_of_numbers(ast.parse(code))


def test_a_bound_in_a_declaration_is_seen():
    @dataclass(frozen=True)
    class Tolerance:
        because: str
        floors: float

    @dataclass(frozen=True)
    class Former(Declaration):
        expectations: Mapping = ()

    declared = Former(1, (), expectations={("ladeda", "onnx", "fp16"): Tolerance("measured", 8)})
    assert set(numbers_in(declared)) - set(NUMBERS) == {"Former.position", "Tolerance.floors"}


def test_a_table_beside_a_declaration_is_seen():
    source = "DECLARATION = 1\n_OWN = 2\nBOUNDS: dict = {}\nclass Bound: pass\ndef budget(): pass"
    assert public_names(ast.parse(source)) == {"DECLARATION", "BOUNDS", "Bound", "budget"}
