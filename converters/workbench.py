"""From a model with its weights to artifacts: what is made, from what, in which process, under which key."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters import CONVERTERS, Converter
from converters.artifact import Artifact, Description, whole
from converters.card import Card, card_for
from converters.child import Reply
from converters.program import Exported
from converters.quantization import KEEP_FLOAT, QUANTIZATIONS, KeepFloat
from converters.second_route_graph import Source
from converters.store import Entry, Key, Store, digest_of_files, sha256_of
from converters.workers import CONVERT_TIMEOUT_S, RUN_TIMEOUT_S, Workers
from fixtures.specs import ModelSpec, Signature, TensorSpec

Feeds = Mapping[str, np.ndarray[Any, Any]]
Outputs = dict[str, np.ndarray[Any, Any]]

PROGRAM = "program.pt2"
_LARGE_BYTES = 2 << 30
_HERE = Path(__file__).parent
_SHARED_SOURCES = [_HERE / name for name in ("program.py", "reference.py", "tasks.py")]


@dataclass(frozen=True)
class Calibration:
    """Feeds that show a static recipe the range of each activation; `digest` names them in keys."""

    feeds: Sequence[Feeds]
    digest: str


@dataclass(frozen=True)
class Subject:
    """A model with its weights at one input size. `checkpoint` None: the goldens' weights."""

    spec: ModelSpec
    input_size: int
    checkpoint: Path | None = None
    weights_digest: str = ""

    @staticmethod
    def of(
        spec: ModelSpec, checkpoint: Path | None = None, input_size: int | None = None, size: str = "reduced"
    ) -> Subject:
        """Without a checkpoint, `size` says which definition of the network it is; a checkpoint tells."""
        if checkpoint is None:
            spec = spec.at(size)
            package = importlib.util.find_spec("fixtures")
            assert package is not None
            assert package.submodule_search_locations is not None
            recipe = Path(package.submodule_search_locations[0]) / "golden_weights.py"
            digest = "golden:" + digest_of_files([recipe])
        else:
            checkpoint = checkpoint.resolve()
            digest = sha256_of(checkpoint)
        return Subject(spec, input_size or spec.default_input_size, checkpoint, digest)

    @property
    def signature(self) -> Signature:
        return self.spec.signature(self.input_size)

    @property
    def size(self) -> str:
        return self.spec.size

    @property
    def definition(self) -> str:
        """Every setting and its value, and the outputs where they were selected, for keys."""
        outputs = {"outputs": self.spec.selected} if self.spec.selected else {}
        return json.dumps({**self.spec.values, **outputs}, sort_keys=True)

    @property
    def label(self) -> str:
        return f"{self.spec.name}@{self.input_size}"


class Workbench:
    """Makes, describes and runs artifacts in the workers, and keeps them in the store."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        converters: Mapping[str, Converter] | None = None,
        run_timeout_s: float = RUN_TIMEOUT_S,
    ) -> None:
        self._run_timeout_s = run_timeout_s
        self.store = store
        self.workers = workers
        self.converters = CONVERTERS if converters is None else converters
        self._observed: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}

    def exported_key(self, subject: Subject) -> Key:
        parts = {
            "checkpoint": subject.weights_digest,
            "network": network_digest(subject.spec),
            "input size": str(subject.input_size),
            "definition": subject.definition,
            "converter": digest_of_files(_SHARED_SOURCES),
            "toolchain": versions_text(("torch",)),
        }
        return Key(f"{subject.label} exported", parts)

    def exported(self, subject: Subject) -> Entry:
        """The exported program, once for all formats."""

        def make(folder: Path) -> dict[str, Any]:
            reply = self.workers["torch"].call(
                "converters.reference:export",
                subject.spec,
                subject.checkpoint,
                subject.input_size,
                folder / PROGRAM,
                timeout=CONVERT_TIMEOUT_S,
            )
            return {**reply.value, **_cost(reply)}

        return self.store.get(self.exported_key(subject), make)

    def artifact_key(
        self,
        subject: Subject,
        format: str,
        quantization: str,
        calibration: Calibration | None = None,
        again: bool = False,
        mixed: tuple[KeepFloat, ...] | None = None,
    ) -> Key:
        """Names what the artifact depends on; nothing is made to know it."""
        converter = self._maker(format, quantization)
        keep = kept_float(subject.spec.name, converter.format, quantization) if mixed is None else mixed
        if quantization != "fp32":
            source = self.artifact_key(subject, format, "fp32")
        elif converter.source:
            source = self.artifact_key(subject, converter.source, "fp32")
        else:
            source = self.exported_key(subject)
        parts = {
            "source": source.digest,
            "converter": _format_digest(converter),
            "recipe": json.dumps([quantization, [asdict(entry) for entry in keep]]),
            "calibration": _calibration_for(quantization, calibration).digest,
            "toolchain": versions_text(converter.toolchain),
            "card": hashlib.sha256(self.card(subject, format, quantization).text().encode()).hexdigest()[:16],
        }
        if again:
            parts["again"] = "by another process"
        return Key(f"{subject.label} {format} {quantization}", parts)

    def artifact(
        self,
        subject: Subject,
        format: str,
        quantization: str,
        calibration: Calibration | None = None,
        again: bool = False,
        mixed: tuple[KeepFloat, ...] | None = None,
    ) -> tuple[Artifact, Mapping[str, Any]]:
        """The artifact; what making it cost (`convert_s`, `convert_peak_bytes`), and how many operators
        each of the recipe's exceptions left in float (`kept_float`).

        A quantized artifact is made from the float one. `again` is a second conversion of the same
        thing by a process that did not make the first, to compare the two. `mixed` are exceptions to
        take instead of the recipe's own.
        """
        converter = self._maker(format, quantization)
        name = f"{subject.spec.name}{converter.suffix}"

        def make(folder: Path) -> dict[str, Any]:
            arguments: tuple[Any, ...]
            if quantization == "fp32":
                function = "convert_float"
                inputs = [spec.name for spec in subject.signature.inputs]
                made_from: Exported | Source
                if converter.source:
                    ports = subject.signature
                    path = self.artifact(subject, converter.source, "fp32")[0].path
                    made_from = Source(path, _single(ports.inputs), _single(ports.outputs))
                else:
                    program = self.exported(subject).path(PROGRAM)
                    made_from = Exported(program, subject.spec, subject.checkpoint)
                arguments = (made_from, folder / name, inputs, subject.signature.output_names)
            else:
                function = "quantize"
                source, _ = self.artifact(subject, format, "fp32")
                keep = kept_float(subject.spec.name, converter.format, quantization)
                keep = keep if mixed is None else mixed
                feeds = _calibration_for(quantization, calibration).feeds
                arguments = (source.path, folder / name, quantization, keep, feeds)
            worker = self.workers[format if quantization == "fp32" else converter.format]
            if again:
                _, first = self.artifact(subject, format, quantization, calibration, mixed=mixed)
                if worker.pid == first["pid"]:
                    worker.close()
            reply = worker.call(
                f"converters.tasks:{function}", converter.module, *arguments, timeout=CONVERT_TIMEOUT_S
            )
            text = self.card(subject, format, quantization).text()
            worker.call("converters.card:inscribe", folder / name, text, timeout=CONVERT_TIMEOUT_S)
            made = {"kept_float": reply.value or [], "pid": worker.pid, **_cost(reply)}
            if reply.peak_bytes > _LARGE_BYTES:
                worker.close()  # toolchains keep what they had, beside what comes next
            return made

        key = self.artifact_key(subject, format, quantization, calibration, again, mixed)
        entry = self.store.get(key, make)
        sha256, size = whole(entry.files)
        return Artifact(entry.path(name), sha256, size, entry.key, format, quantization), entry.meta

    def card(self, subject: Subject, format: str, quantization: str) -> Card:
        """What the file says of itself."""
        converter = self._maker(format, quantization)
        versions = {name: importlib.metadata.version(name) for name in converter.toolchain}
        return card_for(
            subject.spec,
            subject.signature,
            converter.format,
            quantization,
            subject.weights_digest,
            versions,
            converter.dynamic_batch,
        )

    def _maker(self, format: str, quantization: str) -> Converter:
        """Who makes it: a second route makes float files, which its format's own converter quantizes."""
        converter = self.converters[format]
        return converter if quantization == "fp32" else self.converters.get(converter.format, converter)

    def at_opset(self, artifact: Artifact, opset: int) -> Artifact:
        """An ONNX artifact written again at an older opset."""
        name = artifact.path.name
        parts = {
            "source": artifact.key,
            "opset": str(opset),
            "converter": digest_of_files([_HERE / "onnx_opset.py", _HERE / "onnx_int8.py"]),
            "toolchain": versions_text(("onnx",)),
        }

        def make(folder: Path) -> dict[str, Any]:
            function = "converters.onnx_opset:lower"
            reply = self.workers["onnx"].call(
                function, artifact.path, folder / name, opset, timeout=CONVERT_TIMEOUT_S
            )
            return _cost(reply)

        entry = self.store.get(Key(f"{name} {artifact.quantization} opset {opset}", parts), make)
        sha256, size = entry.files[name]
        return replace(artifact, path=entry.path(name), sha256=sha256, bytes=size, key=entry.key)

    def describe(self, path: Path) -> Description:
        """What the file says of itself; raises as `census.describe` does."""
        from converters.census import describe

        return describe(path)

    def observed_ranges(
        self, artifact: Artifact, calibration: Calibration, names: Sequence[str]
    ) -> dict[str, tuple[float, float]]:
        """Least and greatest value of a float artifact's activations over the calibration feeds, by name.

        Kept while the workbench lasts: of one float file many quantized ones may be judged.
        """
        known = self._observed.setdefault((artifact.sha256, calibration.digest), {})
        if missing := [name for name in names if name not in known]:
            reply = self.workers[artifact.format].call(
                "converters.lineage:observed_ranges",
                artifact.path,
                calibration.feeds,
                missing,
                timeout=CONVERT_TIMEOUT_S,
            )
            known |= reply.value
        return {name: known[name] for name in names if name in known}

    def run(
        self,
        format: str,
        path: Path,
        feeds: Sequence[Feeds],
        threads: int = 1,
        fresh: bool = False,
        kernels: str = "",
    ) -> list[Outputs]:
        """Runs an artifact in the format's worker, one dictionary of outputs a feed.

        `kernels` "reference" are the runtime's plain ones, where it has them.
        """
        reply = self.workers[format].call(
            "converters.tasks:run",
            self.converters[format].module,
            path,
            feeds,
            threads,
            fresh,
            kernels,
            timeout=self._run_timeout_s * len(feeds),
        )
        return reply.value

    def training_feeds(
        self, subject: Subject, jpegs: Sequence[bytes], input_size: tuple[int, int], resized: str
    ) -> list[np.ndarray[Any, Any]]:
        """JPEGs as the training code feeds them (`converters.training_feeds.prepared`)."""
        reply = self.workers["torch"].call(
            "converters.training_feeds:prepared",
            jpegs,
            subject.spec.preprocessing,
            input_size,
            resized,
            timeout=CONVERT_TIMEOUT_S,
        )
        return list(reply.value)

    def reference(self, subject: Subject, feeds: Sequence[Feeds], **options: Any) -> list[Outputs]:
        """Runs the network itself (`converters.reference.run`)."""
        reply = self.workers["torch"].call(
            "converters.reference:run",
            subject.spec,
            subject.checkpoint,
            feeds,
            timeout=CONVERT_TIMEOUT_S,
            **options,
        )
        return reply.value


def _single(ports: Sequence[TensorSpec]) -> dict[str, tuple[int, ...]]:
    """Shapes at batch 1."""
    return {port.name: tuple(1 if isinstance(n, str) else n for n in port.shape) for port in ports}


def _cost(reply: Reply) -> dict[str, Any]:
    return {
        "convert_s": round(reply.seconds, 3),
        "convert_cpu_s": round(reply.cpu_seconds, 3),
        "convert_peak_bytes": reply.peak_bytes,
    }


def _calibration_for(quantization: str, calibration: Calibration | None) -> Calibration:
    """The calibration as far as the recipe uses it."""
    if not QUANTIZATIONS[quantization].needs_calibration:
        return Calibration((), "")
    if calibration is None:
        raise ValueError(f"{quantization} needs calibration images")
    return calibration


def kept_float(model: str, format: str, quantization: str) -> tuple[KeepFloat, ...]:
    """The recipe's exceptions for one model; none unless declared."""
    return next((keep for key, keep in KEEP_FLOAT.items() if key == (model, format, quantization)), ())


def network_digest(spec: ModelSpec) -> str:
    """One hash over the sources that define the network."""
    return digest_of_files(network_files(spec))


def network_files(spec: ModelSpec) -> list[Path]:
    """Its modules and their companions (`x_*.py`)."""
    files = []
    for path in {spec.deployed, spec.published}:
        found = importlib.util.find_spec(path.partition(":")[0])
        assert found is not None
        assert found.origin is not None
        module = Path(found.origin)
        files += [module, *module.parent.glob(f"{module.stem}_*.py")]
    return sorted(set(files))


def _format_digest(converter: Converter) -> str:
    """One hash over the format's module and its companions (`onnx.py`, `onnx_*.py`)."""
    found = importlib.util.find_spec(converter.module)
    assert found is not None
    assert found.origin is not None
    module = Path(found.origin)
    return digest_of_files([module, *module.parent.glob(f"{module.stem}_*.py"), *_SHARED_SOURCES])


def versions_text(distributions: Sequence[str]) -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in distributions)


def digest_of_arrays(feeds: Sequence[Feeds]) -> str:
    digest = hashlib.sha256()
    for feed in feeds:
        for name in sorted(feed):
            digest.update(
                name.encode() + str(feed[name].shape).encode() + np.ascontiguousarray(feed[name]).tobytes()
            )
    return digest.hexdigest()[:32]
