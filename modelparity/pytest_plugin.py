"""The pytest plugin for other projects: cells of declared models as tests, and the fixture `parity`.

Torch is imported only when a cell runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from modelparity.api.model import Model
    from modelparity.api.prove import Proof
    from modelparity.parity.cells import Cell

_TARGET = "--parity-model"
_DECLARATIONS = "pyproject.toml"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("modelparity")
    group.addoption(
        _TARGET,
        action="append",
        default=[],
        metavar="TARGET",
        help="prove a network, as package.module:name, in ONNX float32",
    )
    group.addoption(
        "--no-parity", action="store_true", help="do not collect the models that pyproject.toml declares"
    )


class Parity:
    """Proves networks in tests; targets are found from the folder of the project's pyproject.toml."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prove(
        self,
        model: Model | Any,
        formats: Sequence[str] = (),
        quantizations: Sequence[str] = (),
        **options: Any,
    ) -> Proof:
        """As `modelparity.prove`; `model` may also be a target or a `torch.nn.Module`."""
        from modelparity.api.model import Model
        from modelparity.api.prove import DEFAULT_FORMATS, prove
        from modelparity.converters.recipes import FLOAT

        declared = model if isinstance(model, Model) else Model(model)
        return prove(
            declared,
            formats or DEFAULT_FORMATS,
            quantizations or (FLOAT,),
            folder=self._folder,
            **options,
        )


@pytest.fixture(scope="session")
def parity(pytestconfig: pytest.Config) -> Parity:
    """Proves networks: `parity.prove(model).check()`."""
    return Parity(pytestconfig.rootpath)


class ParityItem(pytest.Item):
    """One cell of a model."""

    def __init__(self, *, model: Model, format: str, quantization: str, **options: Any) -> None:
        super().__init__(**options)
        self._model, self._format, self._quantization = model, format, quantization

    def runtest(self) -> None:
        Parity(self.config.rootpath).prove(self._model, [self._format], [self._quantization]).check()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], _: Any = None) -> Any:
        from modelparity.api.prove import NotProvenError
        from modelparity.exit_codes import explained

        if isinstance(excinfo.value, NotProvenError):
            return str(excinfo.value)
        return explained(excinfo.value)[0]

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.config.rootpath / "pyproject.toml", None, self.name


class ParityFile(pytest.File):
    """The models that a pyproject.toml declares."""

    def collect(self) -> Iterator[ParityItem]:
        from modelparity.api.project import declared_models
        from modelparity.errors import BadInputError

        try:
            declared = declared_models(self.path.parent)
        except BadInputError as error:
            raise self.CollectError(str(error)) from None
        for each in declared.values():
            yield from _items(self, each.model, each.cells)


def _items(parent: pytest.Collector, model: Model, cells: Sequence[Cell]) -> Iterator[ParityItem]:
    for cell in cells:
        yield ParityItem.from_parent(
            parent,
            name=cell.id,
            nodeid=f"{_DECLARATIONS}::{cell.id}",
            model=model,
            format=cell.format,
            quantization=cell.quantization,
        )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ParityFile | None:
    config = parent.config
    wanted = file_path == config.rootpath / _DECLARATIONS and not config.getoption("--no-parity")
    return ParityFile.from_parent(parent, path=file_path) if wanted else None


@pytest.hookimpl(tryfirst=True)  # before `-k` deselects
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Adds the targets of the command line, and the declared models where `testpaths` leaves them out."""
    for target in config.getoption(_TARGET):
        from modelparity.api.model import Model
        from modelparity.api.prove import DEFAULT_FORMATS, cells_of
        from modelparity.converters.recipes import FLOAT

        model = Model(target)
        items += _items(session, model, cells_of(model.label, DEFAULT_FORMATS, (FLOAT,)))
    path = config.rootpath / _DECLARATIONS
    by_testpaths = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if by_testpaths and path.is_file() and not config.getoption("--no-parity"):
        known = {item.nodeid for item in items}
        try:
            declared = list(ParityFile.from_parent(session, path=path).collect())
        except pytest.Collector.CollectError as error:
            raise pytest.UsageError(str(error)) from None
        items += [item for item in declared if item.nodeid not in known]
