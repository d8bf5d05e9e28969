"""One import root: every module is `modelparity.<room>...`, in a clone and where the wheel is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from meta_tests.house.sources import ROOMS, ROOT, files_of

LINKED = [room for room in ROOMS if room != "modelparity"]
DATA = (".html", ".css", ".js", ".jinja", ".npz")

WALK = """
import importlib, pkgutil, sys
from pathlib import Path

HEAVY = {"torch", "torchvision", "onnx", "onnxruntime", "ai_edge_litert", "litert_torch", "tensorflow"}

class Refused:  # modules that need these are left out, which makes the walk quick
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in HEAVY:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Refused)
import modelparity

for module in pkgutil.walk_packages(modelparity.__path__, "modelparity."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            assert error.name in HEAVY, error
rooms = [Path(room).resolve() for room in sys.argv[1:]]  # an environment may lie in the clone, beside them
for name, module in sorted(sys.modules.items()):
    file = Path(getattr(module, "__file__", None) or "/").resolve()
    if any(file.is_relative_to(room) for room in rooms):
        print(file, name)
"""
INSTALLED = """
import fixtures, modelparity.converters, modelparity.fixtures, modelparity.parity, modelparity.reports
assert fixtures.OWNER == "the user"
print(modelparity.__file__)
"""


def python(*arguments: str, cwd: Path, executable: str | Path = sys.executable) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(executable), *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.parametrize("room", LINKED)
def test_a_bare_name_is_refused_with_the_right_one(room):
    """In a clone the rooms lie on the path. Imported by two names, a module would be two modules."""
    done = subprocess.run([sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == f"ImportError: this package is modelparity.{room}: import it under that name"


def test_pytest_on_a_bare_room_says_what_to_do():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "parity", "--collect-only"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "this package is modelparity.parity: import it under that name" in done.stdout


def test_the_links_are_whole_and_relative():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == {*ROOMS, "meta_tests"}
    links = {
        path.name: str(path.readlink()) for path in (ROOT / "modelparity").iterdir() if path.is_symlink()
    }
    assert links == {room: f"../{room}" for room in LINKED}


def test_no_module_is_imported_under_two_names():
    modules = [line.split(" ") for line in python("-c", WALK, *ROOMS, cwd=ROOT).splitlines()]
    files = [file for file, _ in modules]
    assert len(files) > 200
    assert not [module for module in modules if files.count(module[0]) > 1]
    assert not [name for _, name in modules if not name.startswith("modelparity")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, made of the source distribution, and that of a copy of the clone."""
    folder = tmp_path_factory.mktemp("build")
    clone = folder / "clone"
    clone.mkdir()
    for name in (*ROOMS, "meta_tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, clone / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "conftest.py"):
        shutil.copy(ROOT / name, clone)
    build = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"
    python("-c", build.format("sdist"), str(folder), cwd=clone)
    (source,) = folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(folder / "source", filter="data")
    (unpacked,) = (folder / "source").iterdir()
    python("-c", build.format("wheel"), str(folder), cwd=unpacked)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_holds_the_rooms_and_nothing_beside_them(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"modelparity"}
    assert len(tops) == 2
    places = {room: "modelparity" if room == "modelparity" else f"modelparity/{room}" for room in ROOMS}
    wanted = {
        f"{place}/{path.relative_to(ROOT / room).as_posix()}"
        for room, place in places.items()
        for path in [*files_of(room), *(p for p in (ROOT / room).rglob("*") if p.suffix in DATA)]
    }
    wanted |= {
        f"modelparity/fixtures/{path.relative_to(ROOT / 'fixtures').as_posix()}"
        for path in (ROOT / "fixtures").rglob("*.json")
    }
    wanted |= {"modelparity/py.typed", "modelparity/reports/measurements/what-it-catches.jsonl"}
    assert len(wanted) > 350
    assert not wanted - names
    assert not [name for name in names if "meta_tests" in name or "conftest" in name]


def test_an_installed_wheel_stands_beside_a_package_named_fixtures(wheel, tmp_path):
    """As a user has it: in an environment of its own, outside the clone, beside packages of any name."""
    venv.create(tmp_path / "venv", with_pip=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    scripts = tmp_path / "venv" / "bin"
    install = ("-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel))
    python(*install, cwd=tmp_path, executable=scripts / "python")
    # The dependencies of this environment; its own path files, such as an editable install's, are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (site / "fixtures").mkdir()
    (site / "fixtures" / "__init__.py").write_text('OWNER = "the user"\n')
    where = python("-c", INSTALLED, cwd=tmp_path, executable=scripts / "python")
    assert Path(where.strip()) == site / "modelparity" / "__init__.py"
    listed = python("list", cwd=tmp_path, executable=scripts / "modelparity")
    assert "objectformer_detection" in listed
    assert "fp32" in listed
