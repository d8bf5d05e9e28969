"""Other tools' rules are theirs: the same verdicts as their own code, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from modelparity.parity.mutation.other_rules import RULES, refused_by

ABSOLUTE, DYNAMO, POLYGRAPHY, SQNR = RULES


def outputs_of(seed: int, shape: tuple[int, ...], error: float, own: float = 1e-7):
    """One image's outputs: a file's with an `error`, and the network's in float32 and float64."""
    random = np.random.default_rng(seed)
    exact = random.standard_normal(shape)
    got, single = (exact + size * random.standard_normal(shape) for size in (error, own))
    return [{"y": value} for value in (got.astype(np.float32), single.astype(np.float32), exact)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40, 40), (1, 4, 1, 1)])
@pytest.mark.parametrize("own", [1e-7, 1e-3])
def test_dynamo_says_the_same(shape, own):
    import torch
    from torch._dynamo.utils import same

    said = []
    for seed, error in enumerate(np.logspace(-7, -1, 25)):
        got, single, double = outputs_of(seed, shape, error, own)
        verdict = refused_by([got], [single], [double])[DYNAMO]
        tensors = (torch.from_numpy(of["y"]) for of in (single, got, double))
        assert verdict != same(*tensors, log_error=lambda *_: None)
        said.append(verdict)
    assert set(said) == {True, False}


@pytest.mark.parametrize("error", [1e-7, 1e-6, 3e-6, 1e-5, 1e-4, 1e-2, 0.1])
def test_the_others_say_what_pytorch_s_own_functions_say(error):
    import torch
    from torch.ao.ns.fx.utils import compute_sqnr

    got, single, double = outputs_of(1, (1, 50, 50), error)
    said = refused_by([got], [single], [double])
    one, other = (torch.from_numpy(of["y"]) for of in (got, single))
    assert said[ABSOLUTE] != torch.allclose(one.double(), other.double(), atol=1e-5, rtol=0)
    assert said[SQNR] != bool(compute_sqnr(other, one) > 30)


def test_polygraphy_counts_a_value_beyond_both_tolerances():
    single = [{"y": np.array([1e-9, 1.0, 1e6], np.float32)}]
    within = [{"y": np.array([9e-6, 1.0, 1e6 + 5], np.float32)}]  # the last is near by its ratio only
    beyond = [{"y": np.array([2e-5, 1.0, 1e6], np.float32)}]
    assert not refused_by(within, single, single)[POLYGRAPHY]
    assert refused_by(within, single, single)[ABSOLUTE]
    assert refused_by(beyond, single, single)[POLYGRAPHY]


def test_what_no_rule_can_compare_is_refused_by_all():
    got, single, double = outputs_of(1, (1, 4), 0.0)
    assert not any(refused_by([got], [single], [double]).values())
    renamed, nan = {"z": got["y"]}, {"y": got["y"] * np.float32(np.nan)}
    for wrong in ([], [renamed], [{}], [{"y": got["y"][:, :2]}], [nan]):
        assert all(refused_by(wrong, [single], [double]).values())
