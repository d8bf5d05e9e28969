"""A proof is kept until something changes that its verdict depends on, and no longer."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import modelparity
from meta_tests.miniatures.miniature import cell, session_of
from modelparity.converters.engine import source_digest as digests
from modelparity.converters.engine.source_digest import closure, is_first_party, source_digest
from modelparity.converters.engine.workbench import NETWORKS
from modelparity.converters.formats import CONVERTERS, modules_of
from modelparity.fixtures.lookup import named
from modelparity.parity.proof_cache import APART, judge_digest

PACKAGE = Path(modelparity.__file__).parent
WORKER_FUNCTION = re.compile(r"modelparity(\.[A-Za-z_]\w*)+:[A-Za-z_]\w*")
PREFIX = re.compile(r"modelparity(\.[A-Za-z_]\w*)+:")
# Run beside the judge without deciding anything: what keeps, finds and carries, and the face of it all.
DECIDE_NOTHING = (
    "modelparity.parity.session",
    "modelparity.parity.proof_cache",
    "modelparity.converters.engine.source_digest",
)


@pytest.fixture
def changed(monkeypatch):
    """Reads a module's source as if it had been edited."""

    def change(module: str, old: str, new: str) -> None:
        path = digests._source_of(module)
        text = path.read_text(encoding="utf-8")
        assert old in text
        digests._parsed.cache_clear()
        original = Path.read_text
        monkeypatch.setattr(
            Path,
            "read_text",
            lambda self, *a, **k: text.replace(old, new, 1) if self == path else original(self, *a, **k),
        )

    yield change
    monkeypatch.undo()
    digests._parsed.cache_clear()


def python_files() -> list[Path]:
    return [
        path
        for room in [PACKAGE, *(child for child in PACKAGE.iterdir() if child.is_dir())]
        for path in (room.glob("*.py") if room == PACKAGE else room.rglob("*.py"))
    ]


def test_a_docstring_or_a_comment_ages_nothing(changed):
    before = judge_digest()
    changed("modelparity.parity.claims.kernels", '"""The claim `kernels`', '"""Another wording of `kernels`')
    assert judge_digest() == before
    changed("modelparity.parity.claims.kernels", "# of the stream", "# of something")
    assert judge_digest() == before


def test_a_constant_ages_what_depends_on_it(changed):
    judge, network = judge_digest(), source_digest("modelparity.converters.engine.network", apart=[NETWORKS])
    changed("modelparity.parity.claims.kernels", "IMAGES = 1", "IMAGES = 2")
    assert judge_digest() != judge
    assert source_digest("modelparity.converters.engine.network", apart=[NETWORKS]) == network


def test_what_chooses_the_quantized_operators_is_in_the_artifact_s_key(changed):
    digest = source_digest(CONVERTERS["onnx"].module, apart=[NETWORKS])
    changed("modelparity.converters.recipes", "operator == self.operator", "operator != self.operator")
    assert source_digest(CONVERTERS["onnx"].module, apart=[NETWORKS]) != digest


@pytest.mark.parametrize("format", CONVERTERS)
def test_a_format_s_own_module_ages_its_own_cells_alone(changed, format):
    before = {name: judge_digest(name) for name in CONVERTERS}
    changed(f"modelparity.modelfiles.{format}.describe", "import annotations\n", "import annotations\nUNUSED = 0\n")
    assert {name for name in CONVERTERS if judge_digest(name) != before[name]} == {format}


def test_another_bound_or_network_ages_no_other_cell(changed):
    before = judge_digest()
    changed("modelparity.parity.expectations", "import annotations\n", "import annotations\nUNUSED = 0\n")
    assert judge_digest() == before
    for name in closure("modelparity.parity.prove", *modules_of("onnx"), apart=APART):
        assert not name.startswith(APART)


def test_another_bound_asks_for_the_proof_of_its_own_cell(tmp_path):
    with session_of(["honest"], tmp_path) as session:
        mine = cell("honest")
        key = session._evidence_key(mine).digest
        session.expectations = {mine: session.expectations[mine].__class__(9, 60, "other floors than before")}
        assert session._evidence_key(mine).digest != key


def test_every_module_that_judges_is_in_a_key(tmp_path):
    """What is loaded after judging a cell, here and in the workers, is named by its keys."""
    script = (
        "import sys\n"
        "from meta_tests.miniatures.miniature import cell, session_of\n"
        "from pathlib import Path\n"
        f"with session_of(['onnx'], Path({str(tmp_path)!r}), 'int8_dynamic') as session:\n"
        "    session.prove(cell('onnx', 'int8_dynamic'))\n"
        "    loaded = set(sys.modules)\n"
        "    for name in list(session.workers._workers):\n"
        "        loaded |= set(session.workers[name].call("
        "'meta_tests.miniatures.worker_tasks:loaded_modules').value)\n"
        "print(sorted(name for name in loaded if name.startswith('modelparity')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    loaded = set(ast.literal_eval(done.stdout))
    # The registries load the values of all formats; a cell's key names its own format's.
    other = {module for name in CONVERTERS if name != "onnx" for module in modules_of(name)}
    known = {
        *closure("modelparity.parity.prove", *modules_of("onnx"), apart=APART),
        *closure("modelparity.converters.engine.network", CONVERTERS["onnx"].module),
    }
    strange = {
        name
        for name in loaded - known - other
        if not name.startswith((*APART, *DECIDE_NOTHING)) and "." in name
    }
    assert not {name for name in strange if not _registry_of_another_format(name)}


def _registry_of_another_format(name: str) -> bool:
    return any(name.startswith(f"modelparity.{room}.{other}") for room in ("modelfiles", "converters")
               for other in (*CONVERTERS, "onnx2tf") if other != "onnx")


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_worker_function_exists(path):
    """No type checker follows the `"module:function"` strings that workers are given."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            first = node.values[0]
            if isinstance(first, ast.Constant) and PREFIX.fullmatch(str(first.value)):
                assert is_first_party(str(first.value).removesuffix(":")), first.value
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and WORKER_FUNCTION.fullmatch(node.value)
        ):
            module, _, name = node.value.partition(":")
            assert is_first_party(module), node.value
            defined = ast.parse(digests._source_of(module).read_text(encoding="utf-8"))
            assert name in names_of(defined), node.value
    assert named("modelparity.fixtures.lookup:named") is named


def names_of(tree: ast.Module) -> set[str]:
    """What a module's top level defines or imports."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found
