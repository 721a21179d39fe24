"""Rules where clients lack coordinates. Oracle: numpy's own rule on each coordinate's own clients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import trim_mean

from gauntlet.core.presence import Presence
from gauntlet.core.updates import Updates
from gauntlet.defenses.mean import Mean
from gauntlet.defenses.median import Median
from gauntlet.defenses.norm_clipping import NormClipping
from gauntlet.defenses.trimmed_mean import TrimmedMean

P, K = 40, 11
Array = np.ndarray[Any, Any]


def a_cohort() -> tuple[Updates, Array]:
    """Return clients of random levels, none of which has the last coordinate, and who has what [K, P]."""
    stream = np.random.default_rng(5)
    levels = torch.from_numpy(stream.random((4, P)) < 0.7)
    levels[:, -1] = False
    presence = Presence(levels, torch.from_numpy(stream.integers(4, size=K)))
    vectors = torch.from_numpy(stream.normal(size=(K, P)).astype(np.float32))
    examples = torch.from_numpy(stream.integers(1, 50, size=K))
    updates = Updates(presence.masked(vectors), torch.arange(K), examples, 15.0, presence=presence)
    return updates, levels[presence.level].numpy()


def each(rule: Callable[[Array, Array], float]) -> Array:
    """Return the rule of every coordinate's own values and examples, 0 where there are none.  # [P]"""
    updates, there = a_cohort()
    rows, examples = updates.vectors.numpy().astype(np.float64), updates.num_examples.numpy()
    columns = ((rows[there[:, j], j], examples[there[:, j]]) for j in range(P))
    return np.array([rule(values, n) if len(values) else 0.0 for values, n in columns])


@pytest.mark.parametrize(
    ("defense", "rule"),
    [
        (Mean("uniform"), lambda x, n: x.mean()),
        (Mean("num_examples"), lambda x, n: np.average(x, weights=n)),
        (Mean("fixed"), lambda x, n: x.sum() / 15),
        (Median(), lambda x, n: np.median(x)),
        (Median("lower"), lambda x, n: np.sort(x)[(len(x) - 1) // 2]),
        (TrimmedMean(1), lambda x, n: trim_mean(x, 1.5 / len(x)) if len(x) > 2 else 0.0),
        (TrimmedMean(beta=0.2), lambda x, n: trim_mean(x, 0.2)),
        (
            TrimmedMean(3, on_infeasible="median"),
            lambda x, n: trim_mean(x, 3.5 / len(x)) if len(x) > 6 else np.median(x),
        ),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_a_coordinate_is_judged_by_the_clients_that_have_it(defense, rule):
    verdict, _ = defense.aggregate(a_cohort()[0], None)

    np.testing.assert_allclose(verdict.aggregate, each(rule), atol=1e-6)
    assert verdict.weights is None


@pytest.mark.parametrize("clip_norm", [2.0, "median"])
def test_norm_clipping_averages_clipped_rows_over_their_coordinates(clip_norm):
    """By hand: a row longer than the bound is scaled to it; "median" compares norms per root of a size."""
    updates, there = a_cohort()
    rows = updates.vectors.numpy().astype(np.float64)
    units = np.sqrt(there.sum(axis=1)) if clip_norm == "median" else np.ones(K)
    lengths = np.linalg.norm(rows, axis=1) / units
    bound = np.median(lengths) if clip_norm == "median" else clip_norm
    clipped = rows * np.minimum(1, bound / lengths)[:, None]
    expected = np.divide(clipped.sum(axis=0), there.sum(axis=0), out=np.zeros(P), where=there.any(axis=0))

    verdict, _ = NormClipping(clip_norm).aggregate(updates, 0)

    np.testing.assert_allclose(verdict.aggregate, expected, atol=1e-6)
    np.testing.assert_allclose(list(verdict.scores.values()), np.linalg.norm(rows, axis=1), rtol=1e-6)


def test_noise_spares_what_nobody_has():
    updates, there = a_cohort()
    noisy, _ = NormClipping(2.0, noise_std=0.5).aggregate(updates, 0)
    plain, _ = NormClipping(2.0).aggregate(updates, 0)
    moved = (noisy.aggregate - plain.aggregate).numpy()

    assert (moved[there.any(axis=0)] != 0).all()
    assert (moved[~there.any(axis=0)] == 0).all()
    assert 0.3 < moved.std() < 0.7


def test_the_papers_count_of_owners_is_found():
    """Spec 2.10: rates 1 and 1/2 on a vector of 4, (2, 2, 2, 2) and (4, 4) give (3, 3, 2, 2)."""
    levels = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    rows = torch.tensor([[2.0, 2, 2, 2], [4, 4, 0, 0]])
    both = Updates(rows, torch.arange(2), torch.tensor([7, 1]), presence=Presence(levels, torch.arange(2)))

    assert Mean("uniform").aggregate(both, None)[0].aggregate.tolist() == [3, 3, 2, 2]
    half = both.rows(torch.tensor([False, True]))
    assert Mean("uniform").aggregate(half, None)[0].aggregate.tolist() == [4, 4, 0, 0]


def test_trimming_says_what_it_cannot_judge():
    """Coordinates 2 and 3 have one client of five: with one to trim a side they are 0."""
    levels = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    presence = Presence(levels, torch.tensor([0, 1, 1, 1, 1]))
    rows = presence.masked(torch.arange(5.0)[:, None].repeat(1, 4) + 1)
    updates = Updates(rows, torch.arange(5), torch.ones(5).long(), presence=presence)

    stays, _ = TrimmedMean(1).aggregate(updates, None)
    mean, _ = TrimmedMean(1, on_infeasible="mean").aggregate(updates, None)

    assert stays.aggregate.tolist() == [3, 3, 0, 0]
    assert stays.fallback == "2 coordinates have too few clients to trim: 0 for them"
    assert mean.aggregate.tolist() == [3, 3, 1, 1]
    assert mean.fallback.endswith("too few clients to trim: the mean instead")
