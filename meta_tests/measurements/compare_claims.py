"""Compares the claims of two runs of the gate, value by value.

    python -m meta_tests.measurements.compare_claims BEFORE AFTER [--renamed OLD=NEW]...

BEFORE and AFTER are each a report folder, with its run.jsonl, or a commit of this repository: that is cloned
to a temporary folder, where `tox -e gate` runs on an empty store (20 minutes). Prints each cell or claim that
only one of the two has, and each claim whose `observed`, `bound` or `status` is not exactly the same. The
exit code is 1 if there is any. Costs are not claims: they are measured anew in every run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).resolve().parents[2]
RECORD, REPORT = "run.jsonl", "modelparity-report"
COMPARED = ("observed", "bound", "status")
MISSING = "missing"

# A claim's name and output, and how many of the same name and output stand before it in the cell.
ClaimKey: TypeAlias = tuple[str, str, int]
# By cell and claim, the values compared, as the record spells them: 1 is not 1.0.
Claims: TypeAlias = dict[str, dict[ClaimKey, dict[str, str]]]


def read_claims(record: Path, renamed: Mapping[str, str]) -> Claims:
    """The claims of each cell in a run.jsonl; of a cell recorded twice, those of the later line."""
    cells: Claims = {}
    for line in record.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        if data["kind"] != "cell":
            continue
        seen: Counter[tuple[str, str]] = Counter()
        cells[data["id"]] = claims = {}
        for claim in data["claims"]:
            name = (renamed.get(claim["name"], claim["name"]), claim["output"] or "")
            claims[(*name, seen[name])] = {key: json.dumps(claim[key]) for key in COMPARED}
            seen[name] += 1
    return cells


def differences(before: Claims, after: Claims) -> Iterator[str]:
    """A line for each difference, cell by cell."""
    for cell in sorted(before.keys() | after.keys()):
        if cell not in before or cell not in after:
            yield f"{cell}: {MISSING} {'before' if cell in after else 'after'}"
            continue
        old, new = before[cell], after[cell]
        for key in sorted(old.keys() | new.keys()):
            name = " ".join((cell, *filter(None, key[:2])))
            if key not in old or key not in new:
                value = {**old, **new}[key]["observed"]
                yield f"{name}: {MISSING} {'before' if key in new else 'after'} (observed {value})"
                continue
            for part in COMPARED:
                if old[key][part] != new[key][part]:
                    yield f"{name}: {part} {old[key][part]} -> {new[key][part]}"


def record_of(place: str, scratch: Path) -> Path:
    """The run.jsonl of a report folder, or of a commit, whose gate is run in `scratch`.

    Raises:
        ValueError: `place` is neither, or the gate of that commit wrote no record.
    """
    if (Path(place) / RECORD).is_file():
        return Path(place) / RECORD
    if _git("rev-parse", "--verify", "--quiet", f"{place}^{{commit}}") != 0:
        raise ValueError(f"{place}: neither a folder with a {RECORD} nor a commit of this repository")
    clone = scratch / "clone"
    if _git("clone", "--quiet", "--shared", "--no-checkout", ".", str(clone)) or _git(
        "-C", str(clone), "checkout", "--quiet", "--detach", place
    ):
        raise ValueError(f"{place}: cannot be cloned to {clone}")
    environment = {name: value for name, value in os.environ.items() if name != "MODELPARITY_STORE"}
    # What it prints goes to stderr, the second descriptor. A gate that ends red has its record, too.
    subprocess.run(["tox", "-e", "gate"], cwd=clone, env=environment, stdout=2, check=False)
    record = clone / REPORT / RECORD
    if not record.is_file():
        raise ValueError(f"{place}: its gate wrote no {RECORD}")
    return record


def _git(*arguments: str) -> int:
    return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL).returncode


def _renaming(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise argparse.ArgumentTypeError(f"{text!r}, but should be OLD=NEW")
    return old, new


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m meta_tests.measurements.compare_claims", description=str(__doc__).splitlines()[0]
    )
    parser.add_argument("before", metavar="BEFORE", help="a report folder, or a commit")
    parser.add_argument("after", metavar="AFTER", help="a report folder, or a commit")
    parser.add_argument("--renamed", type=_renaming, action="append", default=[], metavar="OLD=NEW")
    options: Any = parser.parse_args(arguments)
    renamed = dict(options.renamed)
    if renamed:
        print("renamed: " + ", ".join(f"{old} -> {new}" for old, new in renamed.items()))
    sides: list[Claims] = []
    for place, names in ((options.before, renamed), (options.after, {})):
        with tempfile.TemporaryDirectory() as scratch:
            try:
                sides.append(read_claims(record_of(place, Path(scratch)), names))
            except ValueError as error:
                parser.error(str(error))
    lines = list(differences(*sides))
    print(*lines, sep="\n", end="\n" if lines else "")
    before, after = sides
    cells = before.keys() | after.keys()
    claims = sum(len(before.get(cell, {}).keys() | after.get(cell, {}).keys()) for cell in cells)
    count = {0: "no difference", 1: "1 difference"}.get(len(lines), f"{len(lines):,} differences")
    print(f"{len(cells)} cells, {claims:,} claims: {count}")
    return int(bool(lines) or not claims)


if __name__ == "__main__":
    sys.exit(main())
