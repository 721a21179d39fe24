"""Gradient coding's halves by hand: two chunks a client, three clients."""

import numpy as np
import pytest
import torch

from gauntlet.clients.algorithms.gc import GC
from gauntlet.clients.algorithms.parts import coded_jobs
from gauntlet.core.updates import Updates


def updates(ids, rows):
    vectors = torch.stack([coded_jobs.halves([torch.tensor(row, dtype=torch.float64)]) for row in rows])
    return Updates(vectors, torch.tensor(ids), torch.full((len(ids),), 4))  # of each 4 examples, at most


def test_a_step_goes_against_the_mean_over_all_examples():
    """Three chunks of 1, 2 and 3 examples; any two clients tell (6, 9) over 6 examples."""
    rule = GC(num_stragglers=1, lr=0.5)
    chunks = np.array([[1.0, 2.0, 1.0], [2.0, 3.0, 2.0], [3.0, 4.0, 3.0]])
    sent = coded_jobs.code_of("cyclic", 3, 1, 0) @ chunks
    for came in ([0, 1], [0, 2], [1, 2], [0, 1, 2]):
        verdict, state = rule.combine(updates(came, sent[came].tolist()), rule.init(), 3)
        assert verdict.aggregate.tolist() == pytest.approx([-1.0, -1.5])
        assert rule.step(torch.zeros(2), verdict.aggregate, state, 1.0)[0].tolist() == pytest.approx(
            [-0.5, -0.75]
        )


def test_two_float32_hold_what_one_does_not():
    value = torch.tensor([[1.0 + 2.0**-40, -1e4 / 3, 3.0]], dtype=torch.float64)
    back = coded_jobs.whole(coded_jobs.halves(list(value))[None])
    assert float((back - value).abs().max()) < 1e-10
    assert float(back[0, 0]) == 1.0 + 2.0**-40
    assert float((value.float().double() - value).abs().max()) > 1e-5


def test_a_client_holds_its_own_chunk_and_those_after_it_or_its_groups():
    assert GC(num_stragglers=2).replicas(4, 6) == (4, 5, 0)
    assert GC(num_stragglers=2, form="repeated").replicas(4, 6) == (3, 4, 5)


def test_a_sum_that_somebody_made_up_tells_nothing():
    rule = GC(num_stragglers=0)
    for count in (-1.0, 0.0, float("nan"), 9.0, 1e35):
        verdict, _ = rule.combine(updates([0, 1], [[1.0, count], [1.0, 0.0]]), rule.init(), 2)
        assert verdict.aggregate.tolist() == [0.0]
        assert "the model stays as it was" in verdict.fallback


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_stragglers": -1}, "num_stragglers must be at least 0, got -1"),
        ({"form": "gaussian"}, "form must be one of cyclic, repeated, got 'gaussian'"),
        ({"lr": 0.0}, "lr must be finite and above 0, got 0.0"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        GC(**options)
