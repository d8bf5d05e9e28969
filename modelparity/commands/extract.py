"""`modelparity extract`: writes one network's part of a checkpoint to a file of its own."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from modelparity import arguments, terminal
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S
from modelparity.errors import BadInputError
from modelparity.fixtures.specs import ModelSpec
from modelparity.fixtures.whole_files import replaced
from modelparity.parity.session import Session

_STEPS = 100


def extract(model: str, source: Path, output: Path) -> None:
    """Writes `output`, whole or not at all, and says what is in it."""
    spec = arguments.model_named(model)
    if not spec.checkpoint_prefix:
        raise BadInputError(
            f"{model}: its checkpoints hold nothing else; `convert {model} --format pretrained` cleans one"
        )
    suffixes = arguments.SUFFIXES[arguments.PRETRAINED]
    if output.suffix not in suffixes:
        raise BadInputError(f"{output}: suffix {output.suffix!r}, but should be one of {', '.join(suffixes)}")
    source, output = source.absolute(), output.absolute()
    if not source.exists():
        raise BadInputError(f"{source}: no such file")
    arguments.checked_output(output, source)
    start = time.monotonic()
    with Session() as session, terminal.progress(f"reading {source.name}", _STEPS) as progress:
        reader = session.workers["torch"]
        part = reader.call(
            "modelparity.converters.pretrained.extract:read_part", source, spec, timeout=CONVERT_TIMEOUT_S
        ).value
        progress.stage(f"writing {output.name}")
        with replaced(output) as (partial,), _GrowthBar(partial, part["bytes"], progress):
            reader.call(
                "modelparity.converters.pretrained.extract:write_part",
                source,
                spec,
                output,
                partial,
                timeout=CONVERT_TIMEOUT_S,
            )
    _print(
        spec,
        source=source,
        output=output,
        part=part,
        size=output.stat().st_size,
        seconds=time.monotonic() - start,
    )


class _GrowthBar:
    """Advances a progress bar as a file grows."""

    def __init__(self, path: Path, size: int, progress: terminal.Progress) -> None:
        self._path, self._size, self._progress = path, size, progress
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        steps = 0
        while not self._done.wait(0.3):
            grown = self._path.stat().st_size if self._path.exists() else 0
            while steps < min(_STEPS, _STEPS * grown // self._size):
                self._progress.advance()
                steps += 1


def _print(
    spec: ModelSpec, *, source: Path, output: Path, part: dict[str, object], size: int, seconds: float
) -> None:
    settings = ", ".join(f"{name} = {value}" for name, value in part["settings"].items())  # type: ignore[attr-defined]
    terminal.say(f"{output}")
    terminal.say(f"  {spec.title}: {part['parameters']:,} parameters in {part['keys']} tensors; {settings}")
    terminal.say(f"  {size:,} of {source.stat().st_size:,} bytes, {seconds:.0f} s; from {part['source']}")
