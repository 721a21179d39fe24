"""Oracles: the golden matrix of the robustness spec, section 7; hand cases; the law of the noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.core.layout import Layout
from gauntlet.core.updates import Context
from gauntlet.defenses.clipping import Clipping
from gauntlet.defenses.mean import Mean
from gauntlet.defenses.norm_clipping import NormClipping


@pytest.mark.parametrize(
    ("clip_norm", "golden"),
    [
        (1.0, [-0.182649866, -0.144556980, -0.064013655, -0.283030781, 0.053614378]),
        ("median", [-0.352078450, -0.285315611, -0.138022799, -0.399659150, 0.136603025]),
    ],
)
def test_the_golden_means_are_found(golden_cohort, clip_norm, golden):
    """Spec 7, rows ``norm_clip c=1 then mean`` and ``norm_clip c=median``."""
    verdict, _ = NormClipping(clip_norm).aggregate(golden_cohort, 0)
    np.testing.assert_allclose(verdict.aggregate, golden, atol=1e-9)


def test_it_is_clipping_before_the_mean(golden_cohort):
    weighted = replace(golden_cohort, num_examples=torch.arange(11))
    for weighting in ("uniform", "num_examples"):
        clipped, _ = Clipping(0.7).transform(weighted, None)
        mean, _ = Mean(weighting).aggregate(clipped, None)
        verdict, _ = NormClipping(0.7, weighting=weighting).aggregate(weighted, 0)
        torch.testing.assert_close(verdict.aggregate, mean.aggregate)


def test_weights_and_scores_say_what_was_done(cohort):
    """By hand: norms 5, 0 and 1, bound 2: [3, 4] is multiplied with 0.4."""
    verdict, _ = NormClipping(2.0).aggregate(cohort([[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]]), 0)
    np.testing.assert_allclose(verdict.weights, [0.4 / 3, 1 / 3, 1 / 3])
    assert list(verdict.scores.values()) == [5, 0, 1]


def test_the_noise_has_its_standard_deviation_and_is_fresh_each_round(cohort):
    """20,000 draws; standard errors: deviation 0.5 %, mean and correlation 0.7 %."""
    noisy, state = NormClipping(1.0, noise_std=0.158), 0
    drawn = []
    for _ in range(2):
        verdict, state = noisy.aggregate(cohort(torch.zeros(3, 20_000, dtype=torch.float64)), state)
        drawn.append(verdict.aggregate.numpy())
    assert drawn[0].std() == pytest.approx(0.158, rel=0.03)
    assert drawn[0].mean() == pytest.approx(0, abs=0.005)
    assert abs(np.corrcoef(drawn)[0, 1]) < 0.03


def test_in_a_run_the_noise_follows_the_seed_and_the_round(cohort):
    noisy = NormClipping(1.0, noise_std=1.0)
    updates = cohort(torch.zeros(2, 5))

    def draw(round_, seed, state):
        context = Context(round_, torch.zeros(5), Layout((), ()), seed)
        return noisy.aggregate(replace(updates, context=context), state)[0].aggregate

    assert torch.equal(draw(3, 1, 0), draw(3, 1, 9))
    assert not torch.equal(draw(3, 1, 0), draw(4, 1, 0))
    assert not torch.equal(draw(3, 1, 0), draw(3, 2, 0))


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"noise_std must be at least 0 and finite, got -1\.0"):
        NormClipping(1.0, noise_std=-1.0)
    with pytest.raises(ValueError, match="clip_norm must be above 0 and finite, or median, got 0"):
        NormClipping(0.0)
    with pytest.raises(ValueError, match="weighting must be uniform or num_examples, got 'fixed'"):
        NormClipping(1.0, weighting="fixed")
