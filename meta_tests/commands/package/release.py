"""Makes a release folder, and runs what is in it as a stranger would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from meta_tests.commands.command_line import modelparity

# What a stranger has: these, and nothing of this project.
STRANGER = """
import runpy, sys
OURS = {"modelparity", "fixtures", "converters", "parity", "reports", "benchmarks", "serving"}
for name in OURS | {"skimage", "onnx", *sys.argv[1].split(",")}:
    sys.modules[name] = None  # to import it is a ModuleNotFoundError
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def stranger(script: Path, *arguments: object, lacks: str = "torch", cwd: Path | None = None) -> dict:
    """Runs a script without this project and some packages; what it prints as JSON."""
    command = [sys.executable, "-P", "-c", STRANGER, lacks, str(script), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd or script.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def of_checkpoint(world: Path) -> tuple[object, ...]:
    return "--checkpoint", world / "ckpt_epoch_00012.pyth", "--quantizations", "fp32"


def specs_of(package: Path, format: str) -> dict:
    return json.loads((package / format / "model_specs.json").read_text())


def expected(package: Path, place: str, photograph: Path, world: Path) -> dict:
    """The file's outputs on a photograph, by this project's own runner."""
    import numpy as np

    from modelparity.fixtures.images import decode, preprocess
    from modelparity.fixtures.models import MODELS

    feed = preprocess(decode(photograph), MODELS["tiny_ladeda"].preprocessing, 256)[None]
    np.savez(world / "in.npz", image=feed)
    target = package / place
    extra = ()
    if target.suffix == ".pt2":
        target, extra = "tiny_ladeda", ("--checkpoint", world / "ckpt_epoch_00012.pyth")
    result = modelparity("run", target, "--input", world / "in.npz", "--output", world / "out.npz", *extra)
    assert result.exit_code == 0, result.output
    with np.load(world / "out.npz") as archive:
        return dict(archive)
