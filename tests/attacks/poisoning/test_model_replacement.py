"""Oracle: the definition; the new global model written out by hand."""

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.model_replacement import ModelReplacement
from gauntlet.core.updates import concatenate
from gauntlet.defenses.mean import Mean


def test_the_own_update_is_sent_times_cohort_over_server_lr(scene):
    """By hand: K = 4, eta = 0.5: 8 * (1, -2)."""
    own, view = scene(np.zeros((3, 2)), [[1.0, -2.0]])
    assert ModelReplacement(server_lr=0.5).corrupt(own, view, None)[0].vectors.tolist() == [[8.0, -16.0]]
    assert ModelReplacement(scale=3.0).corrupt(own, view, None)[0].vectors.tolist() == [[3.0, -6.0]]


@pytest.mark.parametrize("attackers", [1, 3])
def test_the_mean_becomes_the_attackers_model_where_honest_updates_are_small(scene, attackers):
    """Spec 3.1; against a mean without the attack, which hardly notices them."""
    stream = np.random.default_rng(0)
    honest, bad = 1e-3 * stream.normal(size=(10, 20)), stream.normal(size=(attackers, 20))
    own, view = scene(honest, bad)

    def distance(rows) -> float:
        cohort = concatenate([view.honest, rows], 10.0 + attackers)
        aggregate = Mean("uniform").aggregate(cohort, None)[0].aggregate
        return float(torch.linalg.vector_norm(aggregate - own.vectors.mean(dim=0)))

    assert distance(ModelReplacement().corrupt(own, view, None)[0]) < 0.01
    assert distance(own) > 1.0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"scale": 0.0}, "scale must be finite and above 0, or None, got 0"),
        ({"server_lr": -1.0}, "server_lr must be finite and above 0, got -1"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        ModelReplacement(**options)
