"""The pytest plugin for other projects: cells of declared models as tests, and the fixture `parity`.

Torch is imported only when a cell runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from modelparity.api.model import Model
    from modelparity.api.prove import Proof

_TARGET = "--parity-model"


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
        formats: Sequence[str] = ("onnx",),
        quantizations: Sequence[str] = ("fp32",),
        **options: Any,
    ) -> Proof:
        """As `modelparity.prove`; `model` may also be a target or a `torch.nn.Module`."""
        from modelparity.api.model import Model
        from modelparity.api.prove import prove

        declared = model if isinstance(model, Model) else Model(model)
        return prove(declared, formats, quantizations, folder=self._folder, **options)


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


@pytest.hookimpl(tryfirst=True)  # before `-k` deselects
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    targets = config.getoption(_TARGET)
    named = config.args_source is pytest.Config.ArgsSource.ARGS  # the user asked for certain tests
    if config.getoption("--no-parity") or (named and not targets):
        return
    from modelparity.api.model import Model
    from modelparity.api.project import declared_models
    from modelparity.api.prove import cells_of

    asked = [(Model(target), cells_of(Model(target).label, ["onnx"], ["fp32"])) for target in targets]
    if not named:
        asked += [(each.model, each.cells) for each in declared_models(config.rootpath).values()]
    for model, cells in asked:
        items += [
            ParityItem.from_parent(
                session, name=cell.id, model=model, format=cell.format, quantization=cell.quantization
            )
            for cell in cells
        ]
