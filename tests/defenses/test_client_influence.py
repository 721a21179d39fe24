"""Oracles: a linear loss, whose change is exact; and what must hold of the sum over a cohort."""

import pytest
import torch

from gauntlet.core.layout import Layout
from gauntlet.core.updates import Context, OwnExamples, Updates
from gauntlet.defenses.client_influence import ClientInfluence
from gauntlet.defenses.mean import Mean

SLOPE = torch.tensor([1.0, -2.0, 0.5])


def context(round_=0):
    """The loss slope . params, plus 1/2 |params|^2 at its own gradient."""
    own = OwnExamples(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64))
    told = {"examples": own, "gradient": lambda params, x, y: SLOPE}
    return Context(round_, torch.zeros(3), Layout(()).followed_by(w=(3,)), 0, **told)


def cohort(ids, rows, counts=None):
    counts = torch.tensor(counts or [10] * len(ids))
    return Updates(torch.tensor(rows), torch.tensor(ids), counts, context=context())


def test_of_a_linear_loss_it_is_the_exact_change():
    rows, counts = [[1.0, 0.0, 0.0], [0.0, 2.0, 2.0]], [30, 10]
    verdict, _ = ClientInfluence("num_examples").aggregate(cohort([3, 8], rows, counts), {})
    assert verdict.scores == pytest.approx({3: -0.75 * 1.0, 8: 0.25 * 3.0})
    loss = float(verdict.aggregate @ SLOPE)  # what the step changed it by
    assert sum(verdict.scores.values()) == pytest.approx(-loss)
    assert verdict.details[8] == pytest.approx({"influence": 0.75})


def test_the_aggregate_is_the_means():
    some = cohort([0, 1, 2], torch.randn(3, 3).tolist(), [5, 1, 4])
    for weighting in ("num_examples", "uniform"):
        verdict, _ = ClientInfluence(weighting).aggregate(some, {})
        expected, _ = Mean(weighting).aggregate(some, None)
        assert torch.equal(verdict.aggregate, expected.aggregate)
        assert verdict.flags == {}


def test_only_rounds_in_which_a_client_took_part_count():
    rule, state = ClientInfluence("uniform"), {}
    for ids in ([0, 1], [1, 2]):
        verdict, state = rule.aggregate(cohort(ids, [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]), state)
    assert state == pytest.approx({0: -0.5, 1: 0.5 - 0.5, 2: 0.5})
    assert verdict.scores == pytest.approx({1: 0.0, 2: 0.5})


def test_who_was_seen_longest_ago_is_forgotten():
    rule, state = ClientInfluence(max_clients=1), {}
    _, state = rule.aggregate(cohort([0, 1], [[1.0, 0.0, 0.0]] * 2), state)
    assert list(state) == [1]


def test_without_examples_of_the_server_it_says_so():
    bare = Updates(torch.zeros(1, 3), torch.tensor([0]), torch.tensor([1]))
    with pytest.raises(ValueError, match="must be given"):
        ClientInfluence().aggregate(bare, {})
