"""Oracles: the cases that other libraries publish as their own tests, with the numbers that these expect.

Sources, by repository and file:
adap/flower ``framework/py/flwr/server/strategy/{aggregate,krum,multikrum,bulyan,fedmedian}_test.py`` and
``framework/py/flwr/serverapp/strategy/{bulyan,krum,multikrum,fedmedian,fedtrimmedavg}_test.py``;
lishenghui/blades ``fllib/aggregators/tests/{test_aggregators,test_clippedclustering}.py``;
LPD-EPFL/byzfl, the examples in the docstrings of ``byzfl/aggregators/{aggregators,preaggregators}.py``;
FedML-AI/FedML ``python/tests/security/defense`` and ``python/tests/security/utils.py``, which expect nothing:
what their inputs must give is calculated by hand here.
Where ours differs, the test says why and asserts both numbers.
"""

import numpy as np
import pytest
import torch

from gauntlet.defenses.arc import ARC
from gauntlet.defenses.bucketing import bucket_means
from gauntlet.defenses.bulyan import Bulyan
from gauntlet.defenses.caf import CAF
from gauntlet.defenses.centered_clipping import CenteredClipping
from gauntlet.defenses.clipped_clustering import ClippedClustering
from gauntlet.defenses.clipping import Clipping
from gauntlet.defenses.dnc import DnC, spectral_scores
from gauntlet.defenses.geometric_median import GeometricMedian
from gauntlet.defenses.krum import Krum
from gauntlet.defenses.mda import MDA
from gauntlet.defenses.meamed import Meamed
from gauntlet.defenses.mean import Mean
from gauntlet.defenses.median import Median
from gauntlet.defenses.monna import MoNNA
from gauntlet.defenses.multi_krum import MultiKrum
from gauntlet.defenses.nnm import NNM
from gauntlet.defenses.norm_clipping import NormClipping
from gauntlet.defenses.parts.columns import mean_around_median
from gauntlet.defenses.rlr import RLR
from gauntlet.defenses.trimmed_mean import TrimmedMean

BYZFL = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
BLADES = [[1.0, 2.0, 3.0], [-1.0, 4.0, -1.0], [2.0, 2.0, 3.0], [3.0, 1.0, 3.0]]
FLOWER_MEDIAN = [[1.0, 0.2, 0.5, 1.0], [0.2, 0.5, 1.0, 0.2], [0.5, 1.0, 0.2, 0.5]]
FEDML = torch.tensor(
    [0.1, 0.2, 0.2, 0.1, 0.15, 0.12, 0.02, 0.2, 0.3, 0.01, 0.21, 0.11, 0.01, 0.19, 0.21], dtype=torch.float64
)  # a_local_w of create_fake_model_list, of which client i sends i + 1 times and claims i + 10 examples


def answer(rule, updates):
    if hasattr(rule, "aggregate"):
        return rule.aggregate(updates, rule.init())[0].aggregate
    return rule.transform(updates, rule.init())[0].vectors


def fours(*values):
    return [[value] * 4 for value in values]


# ---- Flower ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "rows", "num_examples", "expected"),
    [
        (Mean(), [list(range(1, 11))] * 2, [1, 2], list(range(1, 11))),
        (Median(), fours(0.2, 1.0, 0.5), [5, 5, 5], [0.5] * 4),
        (Median(), FLOWER_MEDIAN, [5, 2, 9], [0.5] * 4),
        (TrimmedMean(beta=0.25), [[0.5] * 4, *FLOWER_MEDIAN], [1, 5, 2, 9], [0.5] * 4),
        (TrimmedMean(beta=0.25), [[0.5], [1.0], [2.0], [100.0]], [1] * 4, [1.5]),
        (Krum(1, on_infeasible="compute"), fours(0.2, 0.7, 1.0), [5] * 3, [0.7] * 4),
        (
            MultiKrum(1, 2, on_infeasible="compute", weighting="num_examples"),
            fours(0.2, 0.5, 1.0),
            [5] * 3,
            [0.35] * 4,
        ),
        (Bulyan(0), fours(0.2, 0.5, 0.7, 12.0, 0.1, 0.1), [5] * 6, [13.6 / 6] * 4),
        (Bulyan(0, "oneshot"), fours(0.2, 0.5, 0.7, 12.0, 0.1, 0.1), [5] * 6, [13.6 / 6] * 4),
    ],
    ids=lambda value: repr(value) if hasattr(value, "aggregate") else "",
)
def test_flowers_expected_aggregates_are_found(cohort, rule, rows, num_examples, expected):
    np.testing.assert_allclose(answer(rule, cohort(rows, num_examples)), expected, rtol=1e-12)


def test_flowers_krum_case_is_below_the_papers_theorem(cohort):
    """Three clients, one of them malicious: 2 f + 3 is 5, and by default that is refused."""
    with pytest.raises(ValueError, match="needs a cohort of 5 or more, got 3"):
        Krum(1).aggregate(cohort(fours(0.2, 0.7, 1.0)), None)


@pytest.mark.parametrize(
    ("rows", "count", "expected"),
    [
        ([[1.0], [2.0], [0.5]], 2, [0.75]),
        ([[1.1, 2.1, 0.2, 1.2], [0.9, 1.9, -0.1, 0.8], [5, 5, 10, 10]], 2, [1, 2, 0.05, 1]),
        ([[1.0, 2.0], [-1.0, 0.0], [3.0, 4.0]], 3, [1, 2]),
        ([[1.1, 2.1, 2.9, 3.9], [10, 10, 10, 10], [0.9, 1.9, 3.1, 4.1]], 2, [1, 2, 3, 4]),
        ([[5.0, 5.0]] * 3, 2, [5, 5]),
    ],
)
def test_flowers_means_of_nearest_values_are_found(rows, count, expected):
    """Its helper is handed a reference. Here that is always the median, which keeps the same values."""
    vectors = torch.tensor(rows, dtype=torch.float64)
    np.testing.assert_allclose(mean_around_median(vectors, count, "mean"), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("rows", "count", "theirs", "ours"),
    [
        ([[1.0], [-0.5], [10.0]], 1, -0.5, 1.0),  # around 0
        ([[1.0], [1.1], [1.2], [1.3]], 2, 1.05, 1.15),  # around the first row
    ],
)
def test_around_another_reference_flower_keeps_other_values(rows, count, theirs, ours):
    """In Bulyan the reference is the median of the chosen, and there the two agree."""
    vectors = torch.tensor(rows, dtype=torch.float64)
    found = float(mean_around_median(vectors, count, "mean"))
    assert found == pytest.approx(ours)
    assert found != pytest.approx(theirs)


# ---- Blades and fllib -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Mean("uniform"), [1.25, 2.25, 2.0]),
        (Median(), [1.5, 2.0, 3.0]),
        (TrimmedMean(1), [1.5, 2.0, 3.0]),
    ],
    ids=repr,
)
def test_blades_expected_aggregates_are_found(cohort, rule, expected):
    np.testing.assert_allclose(answer(rule, cohort(BLADES)), expected, rtol=1e-12)


def test_blades_condition_of_a_geometric_median_holds(cohort):
    """Its test: the unit vectors from the median to the rows sum to 0, there up to 1e-3."""
    apart = torch.tensor(BLADES, dtype=torch.float64) - answer(GeometricMedian(), cohort(BLADES))
    np.testing.assert_allclose((apart / apart.norm(dim=1, keepdim=True)).sum(dim=0), 0, atol=1e-6)


def test_blades_clipped_clustering_is_found(cohort):
    np.testing.assert_allclose(
        answer(ClippedClustering(), cohort(BLADES)), [1.9596, 1.6532, 2.9596], atol=5e-5
    )


def test_blades_dnc_is_found_on_two_of_three_coordinates(cohort):
    """It draws two of them once, and expects [2, 1.6667, 3]: the second row goes, whichever are drawn."""
    for drawn in ([0, 1], [0, 2], [1, 2]):
        assert spectral_scores(np.array(BLADES)[:, drawn]).argmax() == 1
    rule = DnC(1, num_coordinates=2, repeats=1)
    np.testing.assert_allclose(answer(rule, cohort(BLADES)), [2, 5 / 3, 3], rtol=1e-12)


# ---- ByzFL ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Mean("uniform"), [4, 5, 6]),
        (Median(), [4, 5, 6]),
        (TrimmedMean(1), [4, 5, 6]),
        (GeometricMedian(preset="byzfl"), [3.78788764, 4.78788764, 5.78788764]),
        (Krum(1, "byzfl", "compute"), [1, 2, 3]),
        (MultiKrum(1, neighbours="byzfl", on_infeasible="compute"), [2.5, 3.5, 4.5]),
        (CenteredClipping(), [4, 5, 6]),
        (MDA(1), [2.5, 3.5, 4.5]),
        (MoNNA(1, trusted_client=15), [2.5, 3.5, 4.5]),
        (Meamed(1), [2.5, 3.5, 4.5]),
        (CAF(1), [4, 5, 6]),
        (NNM(1), [[2.5, 3.5, 4.5], [2.5, 3.5, 4.5], [5.5, 6.5, 7.5]]),
        (
            Clipping(2.0),
            [
                [0.53452248, 1.06904497, 1.60356745],
                [0.91168461, 1.13960576, 1.36752692],
                [1.00514142, 1.14873305, 1.29232469],
            ],
        ),
        (ARC(1), [[1, 2, 3], [4, 5, 6], [4.41004009, 5.04004582, 5.67005155]]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
def test_the_examples_in_byzfls_docstrings_are_found(cohort, rule, expected):
    np.testing.assert_allclose(answer(rule, cohort(BYZFL)), expected, rtol=1e-8)


def test_byzfls_example_of_buckets_is_one_of_the_draws(cohort):
    """It draws the first and the last client for one bucket; the second is alone, and means the same."""
    buckets = bucket_means(cohort(BYZFL), torch.tensor([0, 2, 1]), 2)
    assert buckets.vectors.tolist() == [[4.0, 5.0, 6.0]] * 2


def test_converged_the_geometric_median_of_three_on_a_line_is_the_one_between(cohort):
    """ByzFL stops after three steps, a fifth of a row's distance short of it: docstring 3.788, here 4."""
    np.testing.assert_allclose(answer(GeometricMedian(), cohort(BYZFL)), [4, 5, 6], atol=1e-5)


# ---- FedMLSecurity --------------------------------------------------------------------------------------


@pytest.fixture
def fedml(cohort):
    """Return its twenty clients on a line: client i sends i + 1 times the same, and claims i + 10."""
    return cohort(torch.arange(1.0, 21.0).double()[:, None] * FEDML, list(range(10, 30)))


@pytest.mark.parametrize(
    ("rule", "factor"),
    [
        (Median(), 10.5),
        (TrimmedMean(beta=0.2), 10.5),
        (MultiKrum(2), 10.5),  # clients 1 and 20 go: their 16 nearest are up to 16 away
        (Mean(), sum(n * (n + 9) for n in range(1, 21)) / 390),
        (GeometricMedian(weighting="num_examples"), 13.0),  # 186 of 390 claim less, 182 more
        (RLR(1), 10.5),  # nobody disagrees
    ],
    ids=repr,
)
def test_fedmls_line_of_clients_has_these_aggregates(fedml, rule, factor):
    np.testing.assert_allclose(answer(rule, fedml), factor * FEDML, rtol=1e-6)


def test_on_fedmls_line_krum_takes_one_of_four(fedml):
    """By hand: clients 9 to 12 have eight neighbours at 1 to 8 on either side; up to rounding they tie."""
    ratio = answer(Krum(2), fedml) / FEDML
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-12)
    assert round(float(ratio.mean())) in (9, 10, 11, 12)


def test_fedmls_matrix_for_bulyan_is_solved(cohort):
    """By hand: rows 4, 3, 1, 2, 5, 6 are chosen in this order; four of six agree in each column."""
    rows = [[-10, -20, -30], [5, 8, 11], [3, 8, 9], [5, 7, 9], [5, 8, 9], [5, 8, 11], [3, 8, 9], [5, 7, 9]]
    assert answer(Bulyan(1), cohort(rows)).tolist() == [5.0, 8.0, 9.0]


def test_fedmls_difference_is_clipped(cohort):
    """By hand: its norm is sqrt(89), the bound 5."""
    difference = np.array([-3, -1, -1, -5, -5, -5, -1, -1, -1])
    found = answer(NormClipping(5.0), cohort(difference[None]))
    np.testing.assert_allclose(found, difference * 5 / 89**0.5, rtol=1e-12)


def test_fedmls_weighted_geometric_median_has_no_pull_left(cohort):
    """Its three matrices with alphas 0.3, 0.3 and 0.4: the weighted unit vectors cancel."""
    rows = [
        [1, 0, 1, 2, 2, 2, 1, 1, 1],
        [1, 1, 1, 10, 10, 0, 1, 1, 1],
        [2, 2, 2, 2, 2, 2, 1, 2, 1],
    ]
    found = answer(GeometricMedian(weighting="num_examples"), cohort(rows, [3, 3, 4]))
    apart = torch.tensor(rows, dtype=torch.float64) - found
    units = apart / apart.norm(dim=1, keepdim=True)
    pull = (torch.tensor([[0.3], [0.3], [0.4]]) * units).sum(dim=0)
    assert float(pull.norm()) < 1e-5
