"""A proof is kept until something changes that its verdict depends on, and no longer."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from meta_tests.house.sources import ROOMS, ROOT, files_of
from meta_tests.miniatures.miniature import cell, session_of
from modelparity.converters.engine import source_digest as digests
from modelparity.converters.engine.source_digest import closure, is_first_party, source_digest
from modelparity.converters.engine.workbench import NETWORKS, _format_digest, network_digest
from modelparity.converters.formats import CONVERTERS, ROUTES, modules_of, packages_of
from modelparity.fixtures.limitations import Limitation
from modelparity.fixtures.lookup import named
from modelparity.fixtures.models import DECLARATIONS, MODELS, declaration_module
from modelparity.parity import proof_cache
from modelparity.parity.proof_cache import APART, harness_digest, judge_digest

PYTHON_FILES = [path for room in ROOMS for path in files_of(room)]
WORKER_FUNCTION = re.compile(r"modelparity(\.[A-Za-z_]\w*)+:[A-Za-z_]\w*")
PREFIX = re.compile(r"modelparity(\.[A-Za-z_]\w*)+:")
# Loaded beside the judge, these decide no verdict: they start it, store its records and compute the keys.
DECIDE_NOTHING = (
    "modelparity.parity.session",
    "modelparity.parity.proof_cache",
    "modelparity.parity.results_json",
    "modelparity.converters.engine.source_digest",
)
# Proves one cell, and prints what is loaded afterwards, here and in the workers.
LOADED = """
import sys
from pathlib import Path
from meta_tests.miniatures.miniature import cell, session_of
with session_of(["onnx"], Path(sys.argv[1]), "int8_dynamic") as session:
    record = session.prove(cell("onnx", "int8_dynamic"))
    assert record.claims, record.outcome
    loaded = set(sys.modules)
    for name in list(session.workers._workers):
        loaded |= set(session.workers[name].call("meta_tests.miniatures.worker_tasks:loaded_modules").value)
print(*sorted(name for name in loaded if name.startswith("modelparity.")))
"""


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


@pytest.mark.parametrize("format", CONVERTERS)
@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("modelparity.fixtures.keep_float", "operator == self.operator", "operator != self.operator"),
        (
            "modelparity.modelfiles.{format}.metadata",
            "import annotations\n",
            "import annotations\nUNUSED = 0\n",
        ),
    ],
    ids=["which operators are quantized", "how the model card is written"],
)
def test_what_decides_a_file_s_bytes_is_in_its_key(changed, format, module, old, new):
    digest = _format_digest(CONVERTERS[format])
    changed(module.format(format=format), old, new)
    assert _format_digest(CONVERTERS[format]) != digest


@pytest.mark.parametrize("format", CONVERTERS)
def test_a_format_s_own_module_ages_its_own_cells_alone(changed, format):
    before = {name: judge_digest(name) for name in CONVERTERS}
    changed(
        f"modelparity.modelfiles.{format}.describe",
        "import annotations\n",
        "import annotations\nUNUSED = 0\n",
    )
    assert {name for name in CONVERTERS if judge_digest(name) != before[name]} == {format}


@pytest.mark.parametrize(
    "module",
    [
        "modelparity.parity.limitations",
        *map(declaration_module, DECLARATIONS),
    ],
)
def test_another_limitation_ages_no_other_cell_and_no_reference(changed, module):
    judge, networks = judge_digest(), [network_digest(spec) for spec in MODELS.values()]
    harness = harness_digest()
    changed(module, "import annotations\n", "import annotations\nUNUSED = 0\n")
    assert judge_digest() == judge
    assert [network_digest(spec) for spec in MODELS.values()] == networks
    assert harness_digest() != harness


def test_another_network_ages_no_other_cell(changed):
    judge, networks = judge_digest(), {name: network_digest(spec) for name, spec in MODELS.items()}
    changed(f"{NETWORKS}.ladeda.network", "import annotations\n", "import annotations\nUNUSED = 0\n")
    assert judge_digest() == judge
    assert {name for name, spec in MODELS.items() if network_digest(spec) != networks[name]} == {
        "ladeda",
        "tiny_ladeda",
    }


def test_no_network_is_in_the_hash_of_the_judge():
    for name in closure("modelparity.parity.prove", *modules_of("onnx"), apart=APART):
        assert not name.startswith(APART)


def test_a_limitation_asks_for_the_proof_of_its_own_cell_alone(tmp_path):
    mine, other = cell("honest"), cell("honest_too")
    with session_of(["honest", "honest_too"], tmp_path) as session:

        def keys(limitation=None):
            session.limitations = {mine: limitation} if limitation else {}
            return [session._evidence_key(each).digest for each in (mine, other)]

        none = keys()
        known = keys(Limitation("run", "no kernel for one operator"))
        elsewhere = keys(Limitation("load", "no kernel for one operator"))
    assert len({none[0], known[0], elsewhere[0]}) == 3
    assert len({none[1], known[1], elsewhere[1]}) == 1


def test_whatever_a_model_declares_is_in_its_keys(tmp_path):
    def keys(models):
        with session_of(["honest"], tmp_path) as session:
            session.models = models or session.models
            exported = session.bench.exported_key(session.subject(mine.model))
            return session.models[mine.model], session._evidence_key(mine).digest, exported.digest

    mine = cell("honest")
    spec, evidence, exported = keys({})
    preprocessing = replace(spec.preprocessing, mean=(0.1, 0.1, 0.1))
    for other in (replace(spec, preprocessing=preprocessing), replace(spec, free_size=True)):
        _, *others = keys({mine.model: other})
        assert others[0] != evidence
        assert others[1] != exported


def judged_by(monkeypatch, format: str) -> tuple[str, ...]:
    """The modules that `judge_digest` covers for a format."""
    covered: list[str] = []

    def digest(*modules: str, apart: list[str]) -> str:
        covered.extend(closure(*modules, apart=apart))
        return ""

    monkeypatch.setattr(proof_cache, "source_digest", digest)
    judge_digest(format)
    return tuple(covered)


def test_every_module_that_judges_is_in_a_key(tmp_path, monkeypatch):
    command = [sys.executable, "-c", LOADED, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert len(loaded) > 50
    known = {
        *judged_by(monkeypatch, "onnx"),
        *closure("modelparity.converters.engine.network", CONVERTERS["onnx"].module),
    }
    # The tables of formats load what the other formats are; a key names its own format's modules.
    others = [package for name in (*CONVERTERS, *ROUTES) if name != "onnx" for package in packages_of(name)]
    beside = tuple(f"{name}." for name in (*APART, *DECIDE_NOTHING, *others))
    assert not {name for name in loaded - known if not f"{name}.".startswith(beside)}


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(ROOT)))
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
