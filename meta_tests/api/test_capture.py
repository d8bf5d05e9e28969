"""What is read off a user's module: names, types, dynamic axes, samples; and what is refused, in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modelparity.converters.capture.capture import Captured, CaptureError, capture
from modelparity.converters.capture.targets import TargetError
from modelparity.converters.engine.float64 import as_float64
from modelparity.converters.engine.network import runnable
from modelparity.fixtures.inputs.tensors import FeedsError, feeds_of_file, generated_set, sample

HERE = "meta_tests.api.networks_of_users"


def captured(name: str, folder: Path, **options: object) -> Captured:
    return capture(f"{HERE}:{name}", folder, folder / f"{name}.pt2", name=name, **options)  # type: ignore[arg-type]


def test_inputs_and_outputs_keep_their_names_types_and_batch(tmp_path: Path) -> None:
    spec = captured("tokens", tmp_path).spec
    ports = {port.name: (port.dtype, port.shape) for port in (*spec.inputs, *spec.outputs)}
    assert ports == {
        "ids": ("int64", ("batch", 7)),
        "mask": ("int64", ("batch", 7)),
        "logits": ("float32", ("batch", 4)),
        "best": ("int64", ("batch",)),
    }
    assert not spec.fixed_batch


def test_nested_inputs_are_named_by_their_path(tmp_path: Path) -> None:
    dims = {"x": {0: "batch"}, "state_0": {1: "batch"}, "state_1": {1: "batch"}}
    spec = captured("recurrent", tmp_path, dims=dims).spec
    assert [port.name for port in spec.inputs] == ["x", "state_0", "state_1"]
    assert [port.name for port in spec.outputs] == ["output_0", "output_1_0", "output_1_1"]
    assert [port.batch_axis for port in (*spec.inputs, *spec.outputs)] == [0, 1, 1, 0, 1, 1]


def test_a_network_without_a_batch_says_so(tmp_path: Path) -> None:
    spec = captured("single", tmp_path).spec
    assert spec.fixed_batch
    assert spec.inputs[0].shape == (12,)


def test_an_example_is_guessed_by_the_first_layer(tmp_path: Path) -> None:
    spec = captured("plain", tmp_path).spec
    assert spec.inputs[0].shape == ("batch", 3, 64, 64)
    assert "guessed" in spec.notes[0]


def test_ids_are_drawn_from_the_rows_of_the_embedding_and_masks_are_ones_then_zeros(tmp_path: Path) -> None:
    spec = captured("tokens", tmp_path).spec
    feeds = [each.feeds for each in generated_set(spec, "evaluation", 12)]
    ids = np.concatenate([feed["ids"] for feed in feeds])
    assert ids.min() >= 0
    assert 40 < ids.max() < 50
    for feed in feeds:
        valid = int(feed["mask"].sum())
        assert feed["mask"].tolist() == [[1] * valid + [0] * (7 - valid)]
    again = sample(spec, "modelparity:evaluation:0")
    assert all((again[name] == feeds[0][name]).all() for name in again)


def test_the_program_in_float64_is_not_narrowed_by_a_float32_inside(tmp_path: Path) -> None:
    captured("names_float32", tmp_path)
    program = torch.export.load(tmp_path / "names_float32.pt2")
    x = torch.randn(1, 6)
    with torch.no_grad():
        (narrow,) = runnable(program)(x)
        (wide,) = as_float64(runnable(program))(x.double())
    assert wide.dtype == torch.float64
    assert 0 < float((wide - narrow).abs().max()) < 1e-6
    layer = program.state_dict
    exact = x.double() @ layer["network.layer.weight"].double().T + layer["network.layer.bias"].double()
    third = float(torch.tensor(1 / 3))
    assert torch.allclose(wide, exact * third + torch.arange(6).double() / 7, rtol=1e-13, atol=1e-13)


def test_the_digest_is_of_graph_and_weights(tmp_path: Path) -> None:
    first, again, other = (captured(name, tmp_path).spec.digest for name in ("tokens", "tokens", "plain"))
    assert first == again != other


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no.such.module:net", "no module"),
        (f"{HERE}:nothing", "has no 'nothing'"),
        (f"{HERE}:needs_arguments", "needs width"),
        (f"{HERE}:no_module", "gives int"),
        ("nowhere.py:net", "no such file"),
        ("torch", "say what to take of it"),
        ("nowhere.pt2", "no such file"),
        (f"{HERE}:Tokens", "no example inputs"),
    ],
)
def test_a_target_that_gives_no_network_is_refused_in_one_line(
    target: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(TargetError, match=said) as caught:
        capture(target, tmp_path, tmp_path / "program.pt2", name="x")
    assert "\n" not in str(caught.value)


def test_a_network_that_does_not_run_on_its_example_is_refused(tmp_path: Path) -> None:
    declared = {"input": ("float32", (1, 3, 7, 7))}
    with pytest.raises(CaptureError, match="does not run on its example inputs"):
        captured("plain", tmp_path, declared=declared)


def test_data_are_checked_against_the_inputs(tmp_path: Path) -> None:
    spec = captured("tokens", tmp_path).spec
    good = {"ids": np.ones((3, 7), np.int64), "mask": np.ones((3, 7), np.int64)}
    path = tmp_path / "data.npz"
    np.savez(path, **good)  # type: ignore[arg-type]
    assert [feed["ids"].shape for feed in feeds_of_file(path, spec).feeds] == [(1, 7)] * 3
    for wrong, said in (
        ({"ids": good["ids"]}, "the network takes ids, mask"),
        ({**good, "ids": good["ids"].astype(np.int32)}, "is int32"),
        ({**good, "ids": good["ids"][:, :5]}, "should have"),
        ({**good, "ids": good["ids"][:2]}, "same number of samples"),
    ):
        np.savez(path, **wrong)  # type: ignore[arg-type]
        with pytest.raises(FeedsError, match=said):
            feeds_of_file(path, spec)
    path.write_text("no archive")
    with pytest.raises(FeedsError, match="no readable"):
        feeds_of_file(path, spec)
