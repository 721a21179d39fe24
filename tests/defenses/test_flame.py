"""Oracles: the golden values of the robustness spec (section 7); hand cases."""

import numpy as np
import pytest
import torch

from gauntlet.core.seeds import generator
from gauntlet.defenses.flame import FLAME


def test_the_golden_clients_are_accepted(golden_cohort, at):
    """w = 0, no noise, precomputed cosine distances: rows 1 4 6 7 8 9, clipped to the median norm."""
    verdict, _ = FLAME(noise_factor=0.0).aggregate(at(golden_cohort), None)
    assert set(verdict.flags) == {5, 25, 35, 55, 105}

    rows = golden_cohort.vectors.numpy()
    lengths = np.linalg.norm(rows, axis=1)
    clipped = rows * np.minimum(1, np.median(lengths) / lengths)[:, None]
    np.testing.assert_allclose(verdict.aggregate, clipped[[1, 4, 6, 7, 8, 9]].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(verdict.weights.numpy() @ rows, verdict.aggregate, atol=1e-12)


def test_distances_given_as_features_cluster_otherwise(golden_cohort, at):
    verdict, _ = FLAME(noise_factor=0.0, input="rows").aggregate(at(golden_cohort), None)
    assert set(verdict.flags) != {5, 25, 35, 55, 105}


def test_it_compares_models_not_updates(cohort, at):
    """By hand: updates 1e-4 along different axes are far apart by angle, the models around w are not."""
    rows = 1e-4 * np.eye(8)
    rows[7] = [0, 0, 0, 0, 0, 0, 0, 3.0]
    params = torch.ones(8, dtype=torch.float64)
    far, _ = FLAME(noise_factor=0.0).aggregate(at(cohort(rows), params=params), None)
    assert set(far.flags) == {75}


def test_the_noise_follows_the_bound_the_seed_and_the_round(cohort, at):
    """Oracle: N(0, (0.01 * S)^2) from the stream "flame"; S = 2, the length of each update."""
    updates = cohort(np.full((4, 20_000), 2 / np.sqrt(20_000)))
    quiet, loud = FLAME(noise_factor=0.0), FLAME(noise_factor=0.01)
    base = quiet.aggregate(at(updates, 3, seed=9), None)[0].aggregate
    noise = loud.aggregate(at(updates, 3, seed=9), None)[0].aggregate - base
    expected = generator(9, "flame", 3).standard_normal(20_000) * 0.02
    np.testing.assert_allclose(noise, expected, atol=1e-7)

    other = loud.aggregate(at(updates, 4, seed=9), None)[0].aggregate - base
    assert not np.allclose(noise, other, atol=1e-3)


def test_without_a_dense_majority_everybody_is_accepted(cohort, at):
    """Two groups of three, far apart, where a cluster needs five."""
    rows = np.array([[1, 0.0], [1, 0.01], [1, 0.02], [0, 1.0], [0.01, 1], [0.02, 1]])
    verdict, _ = FLAME(noise_factor=0.0, min_cluster_size=7).aggregate(at(cohort(rows)), None)
    assert not verdict.flags


def test_the_four_liars_are_left_out(four_liars, at):
    assert {16, 17, 18, 19} <= set(FLAME().aggregate(at(four_liars), None)[0].flags)


def test_it_says_what_it_lacks(cohort):
    with pytest.raises(ValueError, match="flame needs the global parameters"):
        FLAME().aggregate(cohort(np.eye(2)), None)


@pytest.mark.parametrize(
    "options", [{"noise_factor": -1}, {"min_cluster_size": 1}, {"min_samples": 0}, {"input": "gram"}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FLAME(**options)


def test_noise_on_the_largest_numbers_stays_finite(cohort, at):
    """3.4e38 is the end of float32: what the noise lifts above it becomes the largest number."""
    updates = at(cohort(torch.full((5, 40), 3.4e38)))
    aggregate = FLAME().aggregate(updates, None)[0].aggregate
    assert bool(aggregate.isfinite().all())
    assert float(aggregate.max()) == torch.finfo(torch.float32).max
