"""`modelparity feeds` and `modelparity judge`: inputs for a device, and the verdict on its outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from modelparity import arguments, terminal
from modelparity.commands.judging.verify import print_verification
from modelparity.device import manifest
from modelparity.device.exchanged import exchanged
from modelparity.device.recorded import RecordedRuns, device_in, expect_inputs, expect_outputs
from modelparity.device.runs import runs_asked
from modelparity.device.target import Target
from modelparity.errors import BadInputError
from modelparity.parity.judge import Judge
from modelparity.parity.prove import judged
from modelparity.parity.reference import Reference
from modelparity.parity.session import Session
from modelparity.verification.verify import Verification, blank_record, finished, reference_data

NOT_ASKED = {"reproducible": "no device converts; the gate asks it where the file is made"}


def feeds(target: Target, output: Path, *, with_model: bool) -> None:
    """Writes the folder that a device reads, and says what is in it."""
    folder = arguments.writable_folder(output.absolute())
    if output.exists() and not output.is_dir():
        raise BadInputError(f"{output}: a file, not a folder")
    with (
        terminal.progress(f"feeds of {target.cell.id}") as progress,
        target.session(progress.stage) as session,
    ):
        reference_data(session, target.spec.name)
        file = target.file(session)
        runs = runs_asked(session, target.cell)
        data = manifest.manifest_of(manifest.head_of(session, target, file), runs)
        manifest.write(folder, data, runs, target.files(file) if with_model else ())
    terminal.say(f"{folder / manifest.MANIFEST}: {len(runs)} runs of {target.cell.id}")
    terminal.say(f"judge the outputs with: modelparity judge {output} OUTPUTS")


def judge(
    folder: Path, outputs: Path, *, artifact: Path | None, checkpoint: Path | None, as_json: bool
) -> bool:
    """Judges a device's outputs and prints the verdict; returns whether it is a pass."""
    data = manifest.read(folder)
    artifact, checkpoint = (path.absolute() if path else None for path in (artifact, checkpoint))
    target = manifest.read_target(data, folder.absolute(), artifact, checkpoint)
    with terminal.progress(f"judging {outputs}") as progress, target.session(progress.stage) as session:
        verification = verified(
            session, target, data, folder=folder, outputs=outputs, on_stage=progress.stage
        )
    if as_json:
        terminal.say(verification.as_json())
    else:
        print_verification(verification)
    return verification.verdict == "pass"


def verified(
    session: Session,
    target: Target,
    data: manifest.Data,
    *,
    folder: Path,
    outputs: Path,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Verification:
    """The verdict on the outputs in a folder.

    Raises:
        BadInputError: the manifest, the inputs or the outputs are refused; the message says why.
    """
    cell, path = target.cell, target.file(session)
    head = manifest.head_of(session, target, path)
    manifest.expect_head(data, head, folder)
    truth = reference_data(session, cell.model)
    runs = runs_asked(session, cell)
    manifest.expect_runs(data, manifest.manifest_of(head, runs), folder)
    expect_inputs(folder, data)
    expect_outputs(outputs, data, folder)
    told = device_in(outputs)
    on_stage(f"judging {outputs} as {cell.id}")
    judge = Judge(
        session.bench,
        truth,
        cell,
        path,
        check_budget=session.check_budget,
        calibration=session.calibration(cell.model),
        third_party=not target.own,
        run=RecordedRuns(outputs, data, runs),
    )
    words = ("modelparity", "judge", str(folder), str(outputs))
    blank = blank_record(cell, path, size=session.subject(cell.model).size, words=words)
    record, outcome = judged(blank, judge)
    _expect_order(judge, truth.reference, folder=outputs, data=data)
    record = replace(record, not_asked={**record.not_asked, **NOT_ASKED}, ran_on=told)
    return Verification(finished(record, record.claims, outcome), session.limitations.get(cell))


def _expect_order(judge: Judge, exact: Reference, *, folder: Path, data: manifest.Data) -> None:
    """Raises `BadInputError` if images of the evaluation set have one another's outputs."""
    reference = exact if judge.right is None else judge.right.reference
    names = [f"{run['run']} ({name})" for run, name in zip(data["runs"], reference.names, strict=False)]
    if moved := exchanged(reference, judge.outputs):
        words = "; ".join(f"{names[image]} has those of {names[other]}" for image, other in moved.items())
        raise BadInputError(f"{folder}: reordered: outputs are in one another's files: {words}")
