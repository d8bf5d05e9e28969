"""What is read off a user's module: names, types, dynamic axes, samples; and what is refused, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from modelparity.converters.capture.capture import Captured

from modelparity.fixtures.inputs.tensors import FeedsError, feeds_of_file, generated_set, sample

HERE = "meta_tests.api.networks_of_users"


def captured(name: str, folder: Path, **options: object) -> Captured:
    from modelparity.converters.capture.capture import capture

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
    import torch

    from modelparity.converters.engine.float64 import as_float64
    from modelparity.converters.engine.network import runnable

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
    from modelparity.converters.capture.capture import capture
    from modelparity.converters.capture.targets import TargetError

    with pytest.raises(TargetError, match=said) as caught:
        capture(target, tmp_path, tmp_path / "program.pt2", name="x")
    assert "\n" not in str(caught.value)


def test_a_network_that_does_not_run_on_its_example_is_refused(tmp_path: Path) -> None:
    from modelparity.converters.capture.capture import CaptureError

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


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ({0: "batch"}, ("batch", 5, 8)),
        ({0: "length"}, ("length", 5, 8)),
        ({0: "length", 1: "batch"}, ("length", "batch", 8)),
        ({1: "batch"}, (3, "batch", 8)),
    ],
)
def test_axes_have_the_names_that_were_declared(
    axes: dict[int, str], shape: tuple[int | str, ...], tmp_path: Path
) -> None:
    extents = (3, 5, 8)
    declared = {"x": ("float32", extents)}
    spec = captured("Sequence", tmp_path, dims={"x": axes}, declared=declared).spec
    assert spec.inputs[0].shape == shape
    assert spec.outputs[0].shape[:2] == shape[:2]
    assert bool(spec.fixed_batch) == ("batch" not in shape)


def test_what_is_declared_without_a_word_is_fixed(tmp_path: Path) -> None:
    spec = captured("Sequence", tmp_path, dims={"x": {}}, declared={"x": ("float32", (1, 5, 8))}).spec
    assert spec.inputs[0].shape == (1, 5, 8)


def test_an_axis_along_which_rows_interact_is_no_batch(tmp_path: Path) -> None:
    spec = captured("rows", tmp_path).spec
    assert spec.inputs[0].shape == (5, 8)
    assert "change one another" in spec.fixed_batch


def test_declarations_that_are_not_of_the_network_are_refused(tmp_path: Path) -> None:
    from modelparity.converters.capture.targets import TargetError

    with pytest.raises(TargetError, match="no input 'y'"):
        captured("tokens", tmp_path, declared={"y": ("float32", (1, 5))})
    with pytest.raises(TargetError, match="declared as float32"):
        captured("tokens", tmp_path, declared={"ids": ("float32", (1, 7))})
    with pytest.raises(TargetError, match="no input has an axis"):
        captured("tokens", tmp_path, limits={"length": (1, 5)})
    with pytest.raises(TargetError, match="float16 weights"):
        captured("half", tmp_path)


def test_a_tensor_of_the_default_type_is_widened(tmp_path: Path) -> None:
    import torch

    from modelparity.converters.engine.float64 import as_float64
    from modelparity.converters.engine.network import runnable

    captured("own_state", tmp_path)
    program = torch.export.load(tmp_path / "own_state.pt2")
    with torch.no_grad():
        (wide,) = as_float64(runnable(program))(torch.randn(4, 3, 6, dtype=torch.float64))
    assert wide.dtype == torch.float64


def test_an_archive_is_taken_as_it_is_and_has_its_own_weights(tmp_path: Path) -> None:
    from modelparity.converters.capture.capture import capture
    from modelparity.converters.capture.targets import TargetError

    first = captured("tokens", tmp_path).spec
    again = capture("tokens.pt2", tmp_path, tmp_path / "copy.pt2", name="copy").spec
    assert [port.shape for port in again.inputs] == [port.shape for port in first.inputs]
    assert again.digest == first.digest
    with pytest.raises(TargetError, match="leave out --weights"):
        capture("tokens.pt2", tmp_path, tmp_path / "copy.pt2", name="copy", weights=tmp_path / "w.pt")


def test_names_are_unique_and_can_be_bound_as_keywords() -> None:
    from modelparity.converters.capture.flat import _clean, _unique

    assert _unique(["a", "a", "a_2"]) == ["a", "a_2", "a_2_2"]
    assert [_clean(name) for name in ("self", "input.1", "")] == ["self_", "input_1", "input"]
