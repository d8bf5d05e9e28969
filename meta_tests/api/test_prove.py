"""A user's network from module to proof; a network that is random, or a file that is wrong, is red."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelparity.api.model import Model, dim_of, input_of, range_of
from modelparity.api.project import declared_models
from modelparity.api.prove import NotProvenError, Proof, prove
from modelparity.errors import BadInputError
from modelparity.parity.cells import CheckBudget

HERE = "meta_tests.api.networks_of_users"
BUDGET = CheckBudget(images=4, draws=2, batches=(2,), convert_again=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def proven(name: str, store: Path, *quantizations: str, **options: object) -> Proof:
    model = Model(f"{HERE}:{name}", **options)  # type: ignore[arg-type]
    return prove(model, ["onnx"], quantizations or ["fp32"], store=store, check_budget=BUDGET)


def test_tokens_with_a_mask_are_proven_in_float_and_int8(store: Path) -> None:
    proof = proven("tokens", store, "fp32", "int8_dynamic")
    proof.check()
    assert {record.id for record in proof.records} == {"tokens-onnx-fp32", "tokens-onnx-int8_dynamic"}
    assert {claim.name for claim in proof.records[0].claims} >= {"interface", "float_parity", "batch"}
    assert all(claim.name == "captured" and claim.passed for claim in proof.program)
    assert {claim.name for claim in proof.records[1].claims} > {"captured"}


def test_a_nested_state_whose_batch_is_on_the_second_axis_is_proven(store: Path) -> None:
    inputs = dict(
        map(input_of, ("x=float32:batch,3,6", "state_0=float32:1,batch,8", "state_1=float32:1,batch,8"))
    )
    proof = proven("recurrent", store, inputs=inputs)
    proof.check()
    assert any(claim.name == "batch" for claim in proof.records[0].claims)


def test_a_network_without_a_batch_is_proven_and_the_batch_not_asked(store: Path) -> None:
    (record,) = proven("single", store).records
    assert "batch" in record.not_asked
    assert record.green


def test_a_random_network_is_not_proven(store: Path) -> None:
    proof = proven("random", store)
    assert not proof.passed
    with pytest.raises(NotProvenError, match="captured"):
        proof.check()


def test_what_the_command_line_says_of_inputs() -> None:
    name, tensor = input_of("ids=int64:batch,sequence")
    assert (name, tensor.axes, tensor.dtype) == ("ids", ("batch", "sequence"), "int64")
    assert dim_of("sequence=4:64") == ("sequence", (4, 64))
    assert range_of("image=0:1") == ("image", (0.0, 1.0))
    for wrong, parse in (
        ("ids", input_of),
        ("ids=int63:batch", input_of),
        ("s=4", dim_of),
        ("s=9:4", dim_of),
        ("x=1:0", range_of),
        ("x=a:b", range_of),
    ):
        with pytest.raises(BadInputError, match="should be"):
            parse(wrong)


def test_declarations_are_read_and_their_errors_name_the_place(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    assert declared_models(tmp_path) == {}
    path.write_text(
        '[tool.modelparity.models.net]\nbuild = "m:build"\nquantizations = ["fp32", "int8_dynamic"]\n'
        'inputs = { x = "float32:batch,s,4" }\ndims = { s = [2, 8] }\nranges = { x = [0, 1] }\n'
    )
    declared = declared_models(tmp_path)["net"]
    assert [cell.id for cell in declared.cells] == ["net-onnx-fp32", "net-onnx-int8_dynamic"]
    assert declared.model.dims == {"s": (2, 8)}
    assert declared.model.inputs["x"].range == (0.0, 1.0)
    for wrong, said in (
        ('[tool.modelparity.models.net]\nformats = ["onnx"]', "needs build"),
        ('[tool.modelparity.models.net]\nbuild = "m:b"\nformat = ["onnx"]', "no such key: 'format'"),
        ('[tool.modelparity.models.net]\nbuild = "m:b"\nformats = ["onx"]', "no such one: 'onx'"),
        ('[tool.modelparity.models.net]\nbuild = "m:b"\ninputs = { x = "float99:1" }', "should be NAME"),
        ("[tool.modelparity", "pyproject"),
    ):
        path.write_text(wrong)
        with pytest.raises(BadInputError, match=said):
            declared_models(tmp_path)


def test_a_bias_that_is_scaled_before_it_is_added_is_simulated(store: Path) -> None:
    (record,) = proven("scaled_bias", store, "int8_static").records
    by_name = {claim.name: claim.status for claim in record.claims}
    assert (by_name["simulated"], by_name["network_weights"]) == ("passed", "passed")
