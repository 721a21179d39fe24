"""Oracle: the definition; the weighted mean by hand."""

import pytest
import torch

from gauntlet.attacks.poisoning.num_examples_inflation import NumExamplesInflation
from gauntlet.core.updates import concatenate
from gauntlet.defenses.mean import Mean


def test_the_claim_is_inflated_and_the_update_is_honest(scene):
    own, view = scene([[0.0]], [[2.0], [3.0]])
    sent, _ = NumExamplesInflation(2.55).corrupt(own, view, None)
    assert sent.num_examples.tolist() == [25, 25]
    assert own.num_examples.tolist() == [10, 10]
    assert torch.equal(sent.vectors, own.vectors)


def test_a_mean_by_examples_follows_the_liar_and_a_uniform_one_does_not(scene):
    """By hand: nine honest 0s and one 1: 1 / 10, and with a hundredfold claim 100 / 109."""
    own, view = scene([[0.0]] * 9, [[1.0]])
    sent, _ = NumExamplesInflation().corrupt(own, view, None)

    def aggregate(bad, weighting) -> float:
        cohort = concatenate([view.honest, bad], 10.0)
        return float(Mean(weighting).aggregate(cohort, None)[0].aggregate)

    assert aggregate(own, "num_examples") == pytest.approx(0.1)
    assert aggregate(sent, "num_examples") == pytest.approx(100 / 109)
    assert aggregate(sent, "uniform") == pytest.approx(0.1)


@pytest.mark.parametrize("factor", [1.0, 0.5, 1e7, float("nan")])
def test_a_factor_that_inflates_nothing_is_refused(factor):
    with pytest.raises(ValueError, match="factor must be above 1 and at most a million, got"):
        NumExamplesInflation(factor)
