"""Oracles: every rule that ByzFL 0.0.11 or flwr 1.41 has, under the same convention, in both precisions.

To 1e-12 in float64 and 1e-6 in float32. ByzFL turns every tensor into float32, so that in float64 it is
given numpy arrays; in float32 it is given tensors, and computes in float32 where ours sum in float64. So
does flwr in the type of its arrays.
"""

import inspect
from importlib import import_module

import numpy as np
import pytest
import torch

from gauntlet.defenses.arc import ARC
from gauntlet.defenses.bulyan import Bulyan
from gauntlet.defenses.centered_clipping import CenteredClipping
from gauntlet.defenses.clipping import Clipping
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
from gauntlet.defenses.trimmed_mean import TrimmedMean

DTYPES = [pytest.param(torch.float64, 1e-12, id="float64"), pytest.param(torch.float32, 1e-6, id="float32")]

BYZFL = {
    "Average": (Mean("uniform"), {}),
    "Median": (Median(), {}),
    "TrMean": (TrimmedMean(3), {"f": 3}),
    "GeometricMedian": (GeometricMedian(preset="byzfl"), {}),
    "Krum": (Krum(3, neighbours="byzfl"), {"f": 3}),
    "MultiKrum": (MultiKrum(3, neighbours="byzfl"), {"f": 3}),
    "CenteredClipping": (CenteredClipping(clip_norm=3.0, iterations=2), {"L": 2, "tau": 3.0}),
    "MDA": (MDA(2), {"f": 2}),
    "MoNNA": (MoNNA(3, trusted_client=25), {"f": 3, "idx": 2}),
    "Meamed": (Meamed(3), {"f": 3}),
    "NNM": (NNM(3), {"f": 3}),
    "Clipping": (Clipping(3.0), {"c": 3.0}),
    "ARC": (ARC(3), {"f": 3}),  # in these cohorts ByzFL's rounding of 2 f / K * (K - f) does not show
}
ELSEWHERE = {
    "CAF": "random in ByzFL: test_caf.py, where its answer does not depend on the draw",
    "Bucketing": "random in both: test_bucketing.py, on one permutation",
    "SMEA": "not among our rules",
}


def as_byzfl_wants(rows: torch.Tensor) -> torch.Tensor | np.ndarray:
    """A copy, for some of its rules write into what they are given."""
    return rows.clone() if rows.dtype == torch.float32 else rows.numpy().copy()


def answer(rule, updates) -> torch.Tensor:
    if hasattr(rule, "aggregate"):
        return rule.aggregate(updates, rule.init())[0].aggregate
    return rule.transform(updates, rule.init())[0].vectors


def test_no_rule_of_byzfls_is_forgotten(byzfl_aggregators):
    modules = [import_module(f"byzfl.aggregators.{m}") for m in ("aggregators", "preaggregators")]
    theirs = {
        n for m in modules for n, v in inspect.getmembers(m, inspect.isclass) if v.__module__ == m.__name__
    }
    assert theirs == {*BYZFL, *ELSEWHERE}


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("name", BYZFL)
def test_byzfl_agrees(cohort, byzfl_aggregators, name, dtype, tolerance):
    ours, options = BYZFL[name]
    for seed in range(10):
        rows = torch.from_numpy(np.random.default_rng(seed).normal(size=(9 + seed, 700))).to(dtype)
        expected = getattr(byzfl_aggregators, name)(**options)(as_byzfl_wants(rows))
        found = answer(ours, cohort(rows))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_norm_clipping_is_byzfls_clipping_before_its_average(cohort, byzfl_aggregators, dtype, tolerance):
    for seed in range(10):
        rows = torch.from_numpy(np.random.default_rng(seed).normal(size=(7 + seed, 13))).to(dtype)
        clipped = byzfl_aggregators.Clipping(c=3.0)(as_byzfl_wants(rows))
        expected = byzfl_aggregators.Average()(clipped)
        found = answer(NormClipping(3.0), cohort(rows))
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


FLWR = {
    "mean": (Mean(), lambda flwr, results: flwr.aggregate(results)),
    "median": (Median(), lambda flwr, results: flwr.aggregate_median(results)),
    "trimmed_mean": (TrimmedMean(beta=0.2), lambda flwr, results: flwr.aggregate_trimmed_avg(results, 0.2)),
    "krum": (Krum(3), lambda flwr, results: flwr.aggregate_krum(results, 3, 0)),
    "multi_krum": (
        MultiKrum(3, num_selected=4, weighting="num_examples"),
        lambda flwr, results: flwr.aggregate_krum(results, 3, 4),
    ),
    "bulyan": (
        Bulyan(2),
        lambda flwr, results: flwr.aggregate_bulyan(results, 2, flwr.aggregate_krum, to_keep=0),
    ),
}


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("name", FLWR)
def test_flwr_agrees(cohort, name, dtype, tolerance):
    """Its older strategies' arithmetic; the newer ones are asked in server/flower/test_strategies.py."""
    flwr = import_module("flwr.server.strategy.aggregate")
    ours, theirs = FLWR[name]
    for seed in range(10):
        stream = np.random.default_rng(seed)
        rows = torch.from_numpy(stream.normal(size=(11 + seed, 70))).to(dtype)
        counts = stream.integers(1, 50, size=len(rows)).tolist()
        expected = theirs(flwr, [([row.numpy()], n) for row, n in zip(rows, counts, strict=True)])[0]
        found = answer(ours, cohort(rows, counts))
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


FEW = [(1, 3), (1, 4), (2, 5), (2, 6), (3, 7), (3, 8)]
"""(f, K) with 2 f < K < 2 f + 3, of which the paper's theorem says nothing and both libraries compute."""


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize(("f", "cohort_size"), FEW)
def test_below_the_theorem_both_libraries_agree(cohort, byzfl_aggregators, f, cohort_size, dtype, tolerance):
    """flwr counts max(1, K - f - 2) neighbours, ByzFL K - f - 1."""
    flwr = import_module("flwr.server.strategy.aggregate")
    for seed in range(10):
        rows = torch.from_numpy(np.random.default_rng(seed).normal(size=(cohort_size, 70))).to(dtype)
        results = [([row.numpy()], 1) for row in rows]
        computed: dict[str, object] = {"on_infeasible": "compute"}
        for found, expected in (
            (Krum(f, **computed), flwr.aggregate_krum(list(results), f, 0)[0]),
            (MultiKrum(f, 2, **computed), flwr.aggregate_krum(list(results), f, 2)[0]),
            (Krum(f, "byzfl", **computed), byzfl_aggregators.Krum(f)(as_byzfl_wants(rows))),
            (
                MultiKrum(f, neighbours="byzfl", **computed),
                byzfl_aggregators.MultiKrum(f)(as_byzfl_wants(rows)),
            ),
        ):
            np.testing.assert_allclose(answer(found, cohort(rows)), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("f", [1, 2, 3])
def test_without_an_honest_majority_nothing_is_computed_as_in_byzfl(cohort, byzfl_aggregators, f):
    for rule, theirs in ((Krum, byzfl_aggregators.Krum), (MultiKrum, byzfl_aggregators.MultiKrum)):
        rows = np.eye(2 * f)
        with pytest.raises(ValueError, match="Cannot tolerate 2f"):
            theirs(f)(rows.copy())
        ours = rule(f, on_infeasible="compute")
        assert ours.least_cohort == 2 * f + 1
        with pytest.raises(ValueError, match=f"needs a cohort of {2 * f + 1} or more, got {2 * f}"):
            ours.aggregate(cohort(rows), None)


def test_neither_library_computes_bulyan_below_its_theorem(cohort):
    """flwr refuses a cohort below 4 f + 3, and ByzFL has no Bulyan: so there is nothing to compute."""
    flwr = import_module("flwr.server.strategy.aggregate")
    with pytest.raises(ValueError, match="4 \\* num_malicious"):
        flwr.aggregate_bulyan([([row], 1) for row in np.eye(6)], 1, flwr.aggregate_krum, to_keep=0)
    with pytest.raises(ValueError, match="on_infeasible must be one of raise, mean, median, got 'compute'"):
        Bulyan(1, on_infeasible="compute")
