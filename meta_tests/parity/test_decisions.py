"""Decisions: a flip beyond the error bound is red and named, one inside is a tie, shown and green."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelparity.fixtures.models import MODELS
from modelparity.parity.claims.kind_claims import KIND_CLAIMS
from modelparity.parity.claims.margins import error_bound
from modelparity.parity.claims.ranking import chosen, exchanged, pooled_count
from modelparity.parity.metrics.detection_matching import ties_like
from modelparity.parity.noise_floor import Noise
from modelparity.parity.reference import ROUNDED, Reference

NOISE = Noise(rms=1e-4, value=3e-4, difference=5e-4)
SAMPLES = 4
SHAPES = {
    "chunkyseal": {"preds": (1, 33)},
    "objectformer": {"score": (1, 1), "mask": (1, 1, 8, 9)},
    "tiny_ladeda": {"score": (1, 1), "patch_logits": (1, 1, 9, 11)},
}
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=60, deadline=None)


def reference_of(model: str, seed: int) -> Reference:
    """Values on both sides of every threshold, none within 0.1 of it; patches at least 0.02 apart."""
    generator = np.random.default_rng(seed)
    outputs = {}
    for name, shape in SHAPES[model].items():
        centre = 0.5 if model == "objectformer" else 0.0
        values = []
        for i in range(SAMPLES):
            if name == "patch_logits":
                steps = generator.permutation(math.prod(shape)) * 0.05
                value = steps + generator.uniform(0, 0.03, steps.shape) - 2.5
            else:
                value = generator.uniform(0.1, 0.5, shape) * generator.choice((-1, 1), shape)
                value.flat[0] = abs(value.flat[0]) * (-1) ** i
            values.append(value.reshape(shape) + centre)
        outputs[name] = tuple(values)
    names = tuple(f"image{i}" for i in range(SAMPLES))
    noise = dict.fromkeys(outputs, NOISE)
    return Reference(names, ({},) * SAMPLES, outputs, noise, MODELS[model].task, samples=SAMPLES)


def outputs_of(reference: Reference) -> list[dict[str, np.ndarray]]:
    return [{n: v[i].copy() for n, v in reference.outputs.items()} for i in range(SAMPLES)]


def judged(model, reference, outputs, **settings):
    spec = MODELS[model].configured(settings)
    found = KIND_CLAIMS[spec.task].decisions(reference, outputs, spec)
    return {claim.name: claim for claim in found}


KINDS = {
    "chunkyseal": {"confidence", "bits"},
    "objectformer": {"label", "mask"},
    "tiny_ladeda": {"label", "top_patches", "ranking"},
    "objectformer_detection": {"label"},
    "ladeda": {"label", "top_patches", "ranking"},
    "fasterrcnn": {"objects"},
}


def test_every_network_is_decided_by_something():
    assert KINDS.keys() == MODELS.keys()
    for name, spec in MODELS.items():
        assert spec.task == "detection" or any(o.decision != "none" for o in spec.outputs), name


# --- the bound --------------------------------------------------------------------------------


def test_the_bound_is_a_multiple_of_the_greatest_error_that_was_measured():
    reference = reference_of("objectformer", 1)
    bound = error_bound(reference, "mask")
    assert bound.value == pytest.approx(8 * 3e-4)
    assert error_bound(reference, "mask", differences=True).value == pytest.approx(8 * 5e-4)
    assert "8 x the greatest error of a single value in the network's own float32 runs" in bound.because
    assert error_bound(reference, "score").value == pytest.approx(reference.allowed("score") * 3e-4)
    bound = error_bound(replace(reference, multiples=ROUNDED, noise_words="a perturbed run"), "mask")
    assert bound.value == pytest.approx(2 * 3e-4)
    assert "2 x the greatest error of a single value in a perturbed run" in bound.because


@pytest.mark.parametrize(("output", "differences"), [("score", False), ("mask", False), ("mask", True)])
def test_a_right_file_in_a_thousand_has_a_greater_error(output, differences):
    """Errors are normal: float32's are the noise, and the file's are three times as great."""
    reference = reference_of("objectformer", 2)
    generator = np.random.default_rng(0)
    size = math.prod(SHAPES["objectformer"][output])
    ratios = []
    for _ in range(1000):
        noise, errors = (generator.normal(0, scale, (SAMPLES, size)) for scale in (NOISE.rms, 3 * NOISE.rms))
        measured, worst = (
            (np.ptp(each, axis=1) if differences else np.abs(each)).max() for each in (noise, errors)
        )
        greatest = Noise(NOISE.rms, measured, measured)
        bound = error_bound(replace(reference, noise={output: greatest}), output, differences).value
        ratios.append(worst / bound)
    assert sum(ratio > 1 for ratio in ratios) <= 5
    assert max(ratios) > 0.45  # nor is the bound idle


# --- thresholds -------------------------------------------------------------------------------

PLACES = [
    ("chunkyseal", "preds", slice(1), "confidence"),
    ("chunkyseal", "preds", slice(1, None), "bits"),
    ("objectformer", "score", slice(None), "label"),
    ("objectformer", "mask", slice(None), "mask"),
    ("tiny_ladeda", "score", slice(None), "label"),
]


def flipped_at(data, model, output, columns, ratio):
    """Reference and outputs where one drawn value stands `ratio` bounds from its threshold, and flips."""
    reference = reference_of(model, data.draw(seeds))
    centre = 0.5 if model == "objectformer" else 0.0
    sample = data.draw(st.integers(0, SAMPLES - 1))
    shape = SHAPES[model][output]
    places = np.zeros(shape, bool)
    places[:, columns] = True
    at = tuple(int(i) for i in data.draw(st.sampled_from(np.argwhere(places).tolist())))
    side = data.draw(st.sampled_from((-1, 1)))
    margin = ratio * error_bound(reference, output).value
    reference.outputs[output][sample][at] = centre + side * margin
    outputs = outputs_of(reference)
    by = data.draw(st.sampled_from((0.0, 1e-6, 0.4)))  # on the threshold is the other side as well
    outputs[sample][output][at] = centre - side * by
    return reference, outputs, sample, at


@pytest.mark.parametrize(("model", "output", "columns", "name"), PLACES)
@given(st.data())
@quick
def test_a_flip_beyond_the_bound_is_red_and_named(model, output, columns, name, data):
    ratio = data.draw(st.floats(1.01, 3))
    reference, outputs, sample, at = flipped_at(data, model, output, columns, ratio)
    found = judged(model, reference, outputs)
    assert {n for n, claim in found.items() if claim.status == "failed"} == {name}
    claim = found[name]
    assert claim.observed == pytest.approx(ratio, rel=1e-3)
    assert f"image{sample}, {output}{list(at)}: reference" in claim.detail
    assert "1 flipped beyond it, 0 inside it" in claim.detail
    said = float(re.search(r"reference (\S+), observed", claim.detail)[1])
    assert said == pytest.approx(reference.outputs[output][sample][at], rel=1e-4)
    assert claim.because


@pytest.mark.parametrize(("model", "output", "columns", "name"), PLACES)
@given(st.data())
@quick
def test_a_flip_inside_the_bound_is_green_and_counted(model, output, columns, name, data):
    ratio = data.draw(st.floats(0.01, 0.99))
    reference, outputs, sample, at = flipped_at(data, model, output, columns, ratio)
    found = judged(model, reference, outputs)
    assert all(claim.passed for claim in found.values())
    assert "0 flipped beyond it, 1 inside it" in found[name].detail
    assert f"image{sample}, {output}{list(at)}" in found[name].detail


@pytest.mark.parametrize("model", SHAPES)
@given(seeds)
@quick
def test_identical_outputs_are_green(model, seed):
    reference = reference_of(model, seed)
    found = judged(model, reference, outputs_of(reference))
    assert found.keys() == KINDS[model]
    for claim in found.values():
        assert claim.passed
        assert "0 flipped beyond it, 0 inside it" in claim.detail
        assert claim.observed == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("model", "output", "names"),
    [
        ("chunkyseal", "preds", {"bits"}),
        ("objectformer", "mask", {"mask"}),
        ("objectformer", "score", {"label"}),
        ("tiny_ladeda", "patch_logits", {"top_patches", "ranking"}),
    ],
)
def test_what_is_no_number_is_red(model, output, names, value):
    reference = reference_of(model, 3)
    outputs = outputs_of(reference)
    outputs[2][output].flat[-1] = value
    found = judged(model, reference, outputs)
    assert {n for n, claim in found.items() if claim.status == "failed"} == names
    for name in names:
        assert found[name].observed == "inf"
        assert "image2" in found[name].detail


def test_where_all_decisions_are_alike_nothing_is_decided():
    """A file that always says the same would pass."""
    reference = reference_of("chunkyseal", 4)
    reference = replace(reference, outputs={"preds": tuple(map(np.abs, reference.outputs["preds"]))})
    claim = judged("chunkyseal", reference, outputs_of(reference))["bits"]
    assert claim.status == "inconclusive"
    assert claim.observed == "all 128 alike in the reference"
    assert "bits of preds is not decided" in claim.detail
    outputs = outputs_of(reference)
    outputs[0]["preds"][0, 5] = -1
    claim = judged("chunkyseal", reference, outputs)["bits"]
    assert claim.status == "failed"
    assert claim.observed > 1


def test_a_rounding_decides_alike_only_if_the_network_does():
    """An int8 file may saturate: that all its bits are alike then tells it from a right float file."""
    reference = reference_of("chunkyseal", 4)
    varied = reference.outputs
    alike = {"preds": tuple(map(np.abs, varied["preds"]))}
    saturated = replace(reference, outputs=alike, unrounded=varied, multiples=ROUNDED)
    claim = judged("chunkyseal", saturated, outputs_of(saturated))["bits"]
    assert (claim.status, claim.observed) == ("passed", 0)
    constant = replace(reference, unrounded=alike, multiples=ROUNDED)
    assert judged("chunkyseal", constant, outputs_of(constant))["bits"].status == "inconclusive"


def test_where_no_margin_is_beyond_the_bound_nothing_is_decided():
    reference = replace(reference_of("chunkyseal", 4), noise={"preds": Noise(1, 1, 1)})
    outputs = [{"preds": -output["preds"]} for output in outputs_of(reference)]
    claim = judged("chunkyseal", reference, outputs)["bits"]
    assert claim.status == "inconclusive"
    assert claim.observed == "no margin is beyond the bound; 128 flipped inside the bound"


def test_where_ties_reach_every_margin_flips_are_counted():
    """A right run flips 5 of 128 bits, so a file that flips a third of them is wrong."""
    reference = replace(reference_of("chunkyseal", 4), noise={"preds": Noise(1, 1, 1)}, multiples=ROUNDED)

    def flipping(count):
        outputs = outputs_of(reference)
        for place in range(count):
            outputs[place % SAMPLES]["preds"][0, 1 + place // SAMPLES] *= -1
        return outputs

    counted = replace(reference, right_runs=tuple(flipping(5)))
    allowed = ties_like(10, 128, 128)  # twice as many, as of an error
    assert 10 < allowed < 128 / 3
    for flips, status in ((0, "passed"), (allowed, "passed"), (allowed + 1, "failed"), (128, "failed")):
        claim = judged("chunkyseal", counted, flipping(flips))["bits"]
        assert (claim.status, claim.observed, claim.bound) == (status, flips, allowed)
    outputs = flipping(0)
    outputs[0]["preds"][0, 5] = np.nan
    assert judged("chunkyseal", counted, outputs)["bits"].status == "failed"
    tie = judged("chunkyseal", counted, flipping(1))
    assert tie["confidence"].status == "inconclusive"  # of four, any may flip
    loud = replace(reference, right_runs=tuple(flipping(50)))
    assert judged("chunkyseal", loud, flipping(0))["bits"].status == "inconclusive"


def test_the_sides_that_no_image_shows_are_named():
    reference = reference_of("chunkyseal", 4)
    spec = MODELS["chunkyseal"]
    one_sided = KIND_CLAIMS[spec.task].one_sided
    assert one_sided(reference, spec) == []
    below = tuple(-np.abs(value) for value in reference.outputs["preds"])
    below[1][0, 0] = 0.2
    (side,) = one_sided(replace(reference, outputs={"preds": below}), spec)
    assert (side.output, side.threshold, side.start, side.end, side.above) == ("preds", 0, 1, None, False)


def test_changed_decisions_are_counted_whatever_their_margin_and_a_ranking_is_not():
    reference, spec = reference_of("tiny_ladeda", 4), MODELS["tiny_ladeda"]
    reference.outputs["score"][3][:] = 1e-9
    outputs, _, _ = swapped(reference, 1, (0, 98))
    outputs[3]["score"] = -outputs[3]["score"]
    found = KIND_CLAIMS[spec.task].changes(reference, outputs, spec, reference.paired(outputs))
    counts = {record.name: (record.plural, record.changed, record.of) for record in found}
    assert counts == {"label": ("labels", 1, 4), "top_patches": ("patches", 2, 4 * 99)}
    label = next(record for record in found if record.name == "label")
    assert label.at_most == pytest.approx(0.751, abs=1e-3)  # of four: Clopper and Pearson's upper end


def test_the_mask_is_shown_by_its_worst_overlap():
    reference = reference_of("objectformer", 5)
    outputs = outputs_of(reference)
    before = int((reference.outputs["mask"][1] > 0.5).sum())
    at = tuple(np.argwhere(reference.outputs["mask"][1] > 0.5)[0])
    outputs[1]["mask"][at] = 0
    detail = judged("objectformer", reference, outputs)["mask"].detail
    assert f"mask IoU at worst {(before - 1) / before:.4g} in image1" in detail
    empty = {"score": reference.outputs["score"], "mask": tuple(v * 0 for v in reference.outputs["mask"])}
    reference = replace(reference, outputs=empty)
    claim = judged("objectformer", reference, outputs_of(reference))["mask"]
    assert "mask IoU at worst 1" in claim.detail


def test_outputs_that_nobody_decides_by_have_no_claim():
    spec = MODELS["tiny_ladeda"].with_outputs(["score"])
    reference = reference_of("tiny_ladeda", 6)
    found = KIND_CLAIMS[spec.task].decisions(reference, outputs_of(reference), spec)
    assert [claim.name for claim in found] == ["label"]


# --- rankings ---------------------------------------------------------------------------------


def swapped(reference, sample, ranks):
    """Outputs in which the patches of two ranks have each other's value, the ranks' places, and their gap."""
    outputs = outputs_of(reference)
    truth = reference.outputs["patch_logits"][sample].ravel()
    first, second = np.argsort(-truth)[list(ranks)]
    seen = outputs[sample]["patch_logits"].reshape(-1)
    seen[[first, second]] = seen[[second, first]]
    outputs[sample]["patch_logits"] = seen.reshape(SHAPES["tiny_ladeda"]["patch_logits"])
    return outputs, (int(first), int(second)), float(truth[first] - truth[second])


@given(seeds, st.integers(0, SAMPLES - 1), st.integers(0, 9), st.integers(10, 98))
@quick
def test_an_exchange_over_the_boundary_is_red_beyond_the_bound(seed, sample, inside, outside):
    reference = reference_of("tiny_ladeda", seed)
    outputs, (first, second), gap = swapped(reference, sample, (inside, outside))
    bound = error_bound(reference, "patch_logits", differences=True).value
    found = judged("tiny_ladeda", reference, outputs)
    truth = np.sort(reference.outputs["patch_logits"][sample].ravel())[::-1]
    margins = truth[inside] - truth[10], truth[9] - truth[outside]
    assert pooled_count(99) == 10
    assert found["top_patches"].passed == (max(margins) <= bound)
    assert found["ranking"].passed == (gap <= bound)
    assert found["ranking"].observed == pytest.approx(gap / bound, rel=1e-3)
    if not found["top_patches"].passed:
        assert found["top_patches"].observed == pytest.approx(max(margins) / bound, rel=1e-3)
        # Of equal margins, as neighbours have, either is the widest.
        widest = [at for at, m in zip((first, second), margins, strict=True) if m == max(margins)]
        names = [[int(i) for i in np.unravel_index(at, (1, 1, 9, 11))] for at in widest]
        assert any(f"image{sample}, patch_logits{at}" in found["top_patches"].detail for at in names)
    assert "0.9 of the top patches are the same at worst, in image" in found["top_patches"].detail


@given(seeds, st.floats(0.01, 0.99))
@quick
def test_errors_within_half_the_bound_exchange_nothing_beyond_it(seed, share):
    reference = reference_of("tiny_ladeda", seed)
    bound = error_bound(reference, "patch_logits", differences=True).value * 30  # many are exchanged
    generator = np.random.default_rng(seed)
    for expected in reference.outputs["patch_logits"]:
        got = expected + generator.uniform(-bound / 2, bound / 2, expected.shape) * share
        for decided in (chosen("it", expected, got), exchanged("it", expected, got)):
            assert decided.flipped.max() <= bound


@given(
    st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), min_size=6, max_size=80),
)
@quick
def test_the_widest_exchanges_are_those_of_all_pairs(values):
    truth, seen = np.array(values, float).T
    k = pooled_count(len(truth))
    top = (truth >= np.sort(truth)[-k]) & (seen >= np.sort(seen)[-k])
    expected = [
        max(
            [truth[i] - truth[j] for i in range(len(truth)) if seen[i] < seen[j] and not (top[i] and top[j])]
            + [0.0]
        )
        for j in range(len(truth))
    ]
    np.testing.assert_array_equal(exchanged("it", truth, seen).flipped, np.maximum(expected, 0))


def test_order_among_the_pooled_is_not_judged_and_a_constant_is():
    reference = reference_of("tiny_ladeda", 7)
    outputs, _, _ = swapped(reference, 2, (0, 9))
    found = judged("tiny_ladeda", reference, outputs)
    assert all(claim.passed for claim in found.values())
    constant = [{**o, "patch_logits": np.zeros_like(o["patch_logits"])} for o in outputs_of(reference)]
    assert judged("tiny_ladeda", reference, constant)["top_patches"].status == "failed"


def test_a_mean_of_all_patches_chooses_none():
    reference = reference_of("tiny_ladeda", 8)
    found = judged("tiny_ladeda", reference, outputs_of(reference), pooling="mean")
    assert found.keys() == {"label", "ranking"}


@pytest.mark.parametrize("patches", [6, 50, 51, 961, 15876])
def test_as_many_patches_are_pooled_as_the_network_pools(patches):
    import torch

    from modelparity.fixtures.networks.ladeda.network import pooled

    values = torch.randperm(patches).double().reshape(1, 1, 1, patches)
    top = np.sort(values.numpy().ravel())[-pooled_count(patches) :]
    assert float(pooled(values, "topk")) == pytest.approx(top.mean())
