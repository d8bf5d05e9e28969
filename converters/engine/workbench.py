"""Makes artifacts of a model with its weights: from what, in which process, under which key."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from modelparity.converters.converter import Converter
from modelparity.converters.engine.child import Reply
from modelparity.converters.engine.exported_program import Exported, FloatFile
from modelparity.converters.engine.model_under_test import ModelUnderTest
from modelparity.converters.engine.source_digest import source_digest
from modelparity.converters.engine.store import Entry, Key, Store
from modelparity.converters.engine.workers import CONVERT_TIMEOUT_S, RUN_TIMEOUT_S, Workers
from modelparity.converters.formats import CONVERTERS
from modelparity.converters.recipes import FLOAT, QUANTIZATIONS
from modelparity.fixtures.arrays import Feeds, Outputs
from modelparity.fixtures.keep_float import KeepFloat
from modelparity.fixtures.models import KEEP_FLOAT
from modelparity.fixtures.specs import ModelSpec, NetworkSpec
from modelparity.modelfiles.describe import describe
from modelparity.modelfiles.description import Artifact, Description, whole
from modelparity.modelfiles.formats import FILE_FORMATS
from modelparity.modelfiles.model_card import ModelCard, card_for
from modelparity.modelfiles.ports import Ports

PROGRAM = "program.pt2"
_LARGE_BYTES = 2 << 30
# Networks and their declarations: keys name those that they depend on by `network_digest` and their settings.
NETWORKS = "modelparity.fixtures.networks"


@dataclass(frozen=True)
class Calibration:
    """Feeds that show a static recipe the range of each activation; `digest` names them in keys."""

    feeds: Sequence[Feeds]
    digest: str


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
        self.ports = defaultdict[Path, Ports](Ports)  # of files that call or lay out theirs otherwise
        self._observed: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}

    def exported_key(self, subject: ModelUnderTest) -> Key:
        parts = {
            "checkpoint": subject.weights_digest,
            "network": network_digest(subject.spec),
            "input size": str(subject.input_size),
            "definition": subject.definition,
            "converter": source_digest("modelparity.converters.engine.network", apart=[NETWORKS]),
            "toolchain": versions_text(("torch",)),
        }
        return Key(f"{subject.label} exported", parts)

    def exported(self, subject: ModelUnderTest) -> Entry:
        """The exported program, once for all formats."""

        def make(folder: Path) -> dict[str, Any]:
            reply = self.workers["torch"].call(
                "modelparity.converters.engine.network:export",
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
        subject: ModelUnderTest,
        format: str,
        quantization: str,
        calibration: Calibration | None = None,
        *,
        again: bool = False,
        mixed: tuple[KeepFloat, ...] | None = None,
    ) -> Key:
        """Names what the artifact depends on; nothing is made to know it."""
        converter = self._maker(format, quantization)
        keep = kept_float(subject.spec, converter.format, quantization) if mixed is None else mixed
        if not QUANTIZATIONS[quantization].is_float:
            source = self.artifact_key(subject, format, FLOAT)
        elif converter.source:
            source = self.artifact_key(subject, converter.source, FLOAT)
        else:
            source = self.exported_key(subject)
        parts = {
            "source": source.digest,
            "converter": _format_digest(converter),
            "recipe": json.dumps([quantization, [asdict(entry) for entry in keep]]),
            "calibration": _calibration_for(quantization, calibration).digest,
            "toolchain": versions_text(converter.toolchain),
            "card": hashlib.sha256(self._card_text(subject, format, quantization).encode()).hexdigest()[:16],
        }
        if again:
            parts["again"] = "by another process"
        return Key(f"{subject.label} {format} {quantization}", parts)

    def artifact(
        self,
        subject: ModelUnderTest,
        format: str,
        quantization: str,
        calibration: Calibration | None = None,
        *,
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
        is_float = QUANTIZATIONS[quantization].is_float

        def make(folder: Path) -> dict[str, Any]:
            made_from: Exported | FloatFile | Path
            if is_float:
                function = "convert_float"
                if converter.source:
                    path = self.artifact(subject, converter.source, FLOAT)[0].path
                    made_from = FloatFile.of(path, subject.signature)
                else:
                    program = self.exported(subject).path(PROGRAM)
                    made_from = Exported(program, subject.spec, subject.checkpoint)
                options: dict[str, Any] = {
                    "inputs": [spec.name for spec in subject.signature.inputs],
                    "outputs": subject.signature.output_names,
                }
            else:
                function = "quantize"
                made_from = self.artifact(subject, format, FLOAT)[0].path
                own = kept_float(subject.spec, converter.format, quantization)
                options = {
                    "quantization": quantization,
                    "keep_float": own if mixed is None else mixed,
                    "calibration": converter.fed(_calibration_for(quantization, calibration).feeds),
                }
            worker = self.workers[format if is_float else converter.format]
            if again:
                _, first = self.artifact(subject, format, quantization, calibration, mixed=mixed)
                if worker.pid == first["pid"]:
                    worker.close()
            reply = worker.call(
                f"modelparity.converters.engine.tasks:{function}",
                converter.module,
                made_from,
                folder / name,
                timeout=CONVERT_TIMEOUT_S,
                **options,
            )
            if text := self._card_text(subject, format, quantization):
                worker.call(
                    "modelparity.modelfiles.model_card:write_metadata",
                    folder / name,
                    text,
                    timeout=CONVERT_TIMEOUT_S,
                )
            meta = {"kept_float": reply.value or [], "pid": worker.pid, **_cost(reply)}
            if reply.peak_bytes > _LARGE_BYTES:
                worker.close()  # toolchains keep what they had, beside what comes next
            return meta

        key = self.artifact_key(subject, format, quantization, calibration, again=again, mixed=mixed)
        entry = self.store.get(key, make)
        sha256, size = whole(entry.files)
        return Artifact(entry.path(name), sha256, size, entry.key, format, quantization), entry.meta

    def card(self, subject: ModelUnderTest, format: str, quantization: str) -> ModelCard:
        """What the file says of itself."""
        converter = self._maker(format, quantization)
        versions = {name: importlib.metadata.version(name) for name in converter.toolchain}
        return card_for(
            subject.photographs,
            subject.signature,
            converter.format,
            quantization,
            checkpoint=subject.weights_digest,
            versions=versions,
            dynamic_batch=converter.dynamic_batch,
        )

    def _card_text(self, subject: ModelUnderTest, format: str, quantization: str) -> str:
        """The card of a network of photographs; "" for any other, whose files have none."""
        if not isinstance(subject.spec, ModelSpec):
            return ""
        return self.card(subject, format, quantization).text()

    def _maker(self, format: str, quantization: str) -> Converter:
        """Who makes it: a second route makes float files, which its format's own converter quantizes."""
        converter = self.converters[format]
        is_float = QUANTIZATIONS[quantization].is_float
        return converter if is_float else self.converters.get(converter.format, converter)

    def at_opset(self, artifact: Artifact, opset: int) -> Artifact:
        """An artifact written again at an older opset, of a format that has them."""
        converter = self.converters[artifact.format]
        name = artifact.path.name
        parts = {
            "source": artifact.key,
            "opset": str(opset),
            "converter": source_digest(converter.lower.partition(":")[0]),
            "toolchain": versions_text(converter.toolchain),
        }

        def make(folder: Path) -> dict[str, Any]:
            reply = self.workers[artifact.format].call(
                converter.lower, artifact.path, folder / name, opset, timeout=CONVERT_TIMEOUT_S
            )
            return _cost(reply)

        entry = self.store.get(Key(f"{name} {artifact.quantization} opset {opset}", parts), make)
        sha256, size = entry.files[name]
        return replace(artifact, path=entry.path(name), sha256=sha256, bytes=size, key=entry.key)

    def describe(self, path: Path) -> Description:
        """What the file says of itself, in the network's terms; raises as `modelfiles.describe`."""
        return self.ports[path].seen(describe(path))

    def observed_ranges(
        self, artifact: Artifact, calibration: Calibration, names: Sequence[str]
    ) -> dict[str, tuple[float, float]]:
        """Least and greatest value of a float artifact's activations over the calibration feeds, by name.

        Kept while the workbench lasts: of one float file many quantized ones may be judged.
        """
        known = self._observed.setdefault((artifact.sha256, calibration.digest), {})
        if missing := [name for name in names if name not in known]:
            reply = self.workers[artifact.format].call(
                "modelparity.modelfiles.lineage:observed_ranges",
                artifact.path,
                self.converters[artifact.format].fed(calibration.feeds),
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
        *,
        fresh: bool = False,
        kernels: str = "",
    ) -> list[Outputs]:
        """Runs an artifact in the format's worker, one dictionary of outputs a feed, in the network's terms.

        `kernels` "reference" are the runtime's plain ones, where it has them.
        """
        ports = self.ports[path]
        reply = self.workers[format].call(
            "modelparity.converters.engine.tasks:run",
            self.converters[format].module,
            path,
            self.converters[format].fed([ports.fed(feed) for feed in feeds]),
            threads=threads,
            fresh=fresh,
            kernels=kernels,
            timeout=self._run_timeout_s * len(feeds),
        )
        return [ports.given(outputs) for outputs in reply.value]

    def training_feeds(
        self, subject: ModelUnderTest, jpegs: Sequence[bytes], input_size: tuple[int, int], resized: str
    ) -> list[np.ndarray[Any, Any]]:
        """JPEGs as the training code feeds them (`engine.training_transforms.prepared`)."""
        reply = self.workers["torch"].call(
            "modelparity.converters.engine.training_transforms:prepared",
            jpegs,
            subject.photographs.preprocessing,
            input_size,
            resized,
            timeout=CONVERT_TIMEOUT_S,
        )
        return list(reply.value)

    def reference(self, subject: ModelUnderTest, feeds: Sequence[Feeds], **options: Any) -> list[Outputs]:
        """Runs the network itself (`modelparity.converters.engine.network.run`)."""
        reply = self.workers["torch"].call(
            "modelparity.converters.engine.network:run",
            subject.spec,
            subject.checkpoint,
            feeds,
            timeout=CONVERT_TIMEOUT_S,
            **options,
        )
        return reply.value


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


def kept_float(spec: NetworkSpec, format: str, quantization: str) -> tuple[KeepFloat, ...]:
    """The recipe's exceptions for one model; none unless declared."""
    declared = isinstance(spec, ModelSpec)  # another network may bear the same name
    return KEEP_FLOAT.get((spec.name, format, quantization), ()) if declared else ()


def network_digest(spec: NetworkSpec) -> str:
    """One hash over the sources that define the network."""
    return source_digest(*sorted({path.partition(":")[0] for path in spec.sources}))


def _format_digest(converter: Converter) -> str:
    """One hash over the sources that make and quantize files of a format, and write their model cards."""
    # By the suffix: a test's converter may bear a name that is no format's.
    formats = [format for format in FILE_FORMATS.values() if format.suffix == converter.suffix]
    writers = [format.write_metadata.partition(":")[0] for format in formats]
    return source_digest(converter.module, "modelparity.converters.engine.tasks", *writers, apart=[NETWORKS])


def versions_text(distributions: Sequence[str]) -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in distributions)


def digest_of_arrays(feeds: Sequence[Feeds]) -> str:
    digest = hashlib.sha256()
    for feed in feeds:
        for name in sorted(feed):
            shape = str(feed[name].shape)
            digest.update(f"{name}{shape}".encode() + np.ascontiguousarray(feed[name]).tobytes())
    return digest.hexdigest()[:32]
