"""Oracles: SciPy's hierarchical clustering, cut at two; the golden matrix; hand cases."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from gauntlet.defenses.clustering import Clustering


def flagged(updates, **options):
    return set(Clustering(**options).aggregate(updates, None)[0].flags)


def test_the_golden_rows_are_left_out_and_the_rest_is_averaged(golden_cohort):
    """As in ``clipped_clustering``, spec 7: rows 5 and 10; here at the lengths that they have."""
    verdict, _ = Clustering().aggregate(golden_cohort, None)
    assert set(verdict.flags) == {55, 105}
    keep = [i for i in range(11) if i not in (5, 10)]
    np.testing.assert_allclose(verdict.aggregate, golden_cohort.vectors[keep].mean(dim=0), atol=1e-12)


@pytest.mark.parametrize("method", ["average", "complete", "single"])
def test_the_split_is_scipys(cohort, method):
    for seed in range(10):
        rows = np.random.default_rng(seed).normal(size=(9, 4))
        labels = fcluster(linkage(pdist(rows, "cosine"), method), 2, "maxclust")
        sizes = np.bincount(labels)
        if sizes[1] == sizes[2]:
            continue
        smaller = int(sizes[1:].argmin()) + 1
        expected = set((np.flatnonzero(labels == smaller) * 10 + 5).tolist())
        assert flagged(cohort(rows), linkage=method) == expected


def test_flipped_updates_are_left_out_and_long_ones_are_not(four_liars):
    """It fails where a lie is long and not turned: a thousandfold update is averaged as it is."""
    assert flagged(four_liars) == {16, 17, 18, 19}
    long = four_liars.vectors.clone()
    long[3] *= 1000
    verdict, _ = Clustering().aggregate(four_liars.with_vectors(long), None)
    assert set(verdict.flags) == {16, 17, 18, 19}
    assert float(verdict.aggregate.norm()) > 50 * float(four_liars.vectors[0].norm())


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="linkage must be one of average, complete, single, got 'ward'"):
        Clustering(linkage="ward")
