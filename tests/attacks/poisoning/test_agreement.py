"""Oracles: every attack on updates that ByzFL 0.0.11 has, under the same convention, in both precisions.

To 1e-12 in float64 and 1e-6 in float32, of the largest entry where it is above 1. ByzFL turns every tensor
into float32, so that in float64 it is given numpy arrays; in float32 it is given tensors, and computes in
float32 where ours compute in float64.
"""

import inspect
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.alie import ALittleIsEnough
from gauntlet.attacks.poisoning.ipm import InnerProductManipulation
from gauntlet.attacks.poisoning.mean_sign_flip import MeanSignFlip
from gauntlet.attacks.poisoning.mimic import Mimic
from gauntlet.attacks.poisoning.non_finite import NonFinite
from gauntlet.attacks.poisoning.opt_alie import OptimalALittleIsEnough
from gauntlet.attacks.poisoning.opt_ipm import OptimalInnerProductManipulation
from gauntlet.defenses.krum import Krum
from gauntlet.defenses.mean import Mean
from gauntlet.defenses.median import Median
from gauntlet.defenses.trimmed_mean import TrimmedMean

DTYPES = [pytest.param(torch.float64, 1e-12, id="float64"), pytest.param(torch.float32, 1e-6, id="float32")]

PLAIN = {
    "SignFlipping": (MeanSignFlip(), {}),
    "InnerProductManipulation": (InnerProductManipulation(2.0), {"tau": 2.0}),
    "ALittleIsEnough": (ALittleIsEnough(1.5), {"tau": 1.5}),
    "Mimic": (Mimic(victim=6), {"epsilon": 2}),  # ids go by threes
}
OPTIMAL = {
    "Optimal_ALittleIsEnough": OptimalALittleIsEnough(),
    "Optimal_InnerProductManipulation": OptimalInnerProductManipulation(),
}
RULES = {
    "Average": (Mean("uniform"), {}),
    "Median": (Median(), {}),
    "TrMean": (TrimmedMean(3), {"f": 3}),
    "Krum": (Krum(3, neighbours="byzfl"), {"f": 3}),
}
ELSEWHERE = {
    "Inf": "below",
    "Gaussian": "random: test_gaussian.py has its moments",
    "LabelFlipping": "no attack there: the mean, for labels were flipped before; test_label_flip.py",
}


def as_byzfl_wants(rows: torch.Tensor) -> torch.Tensor | np.ndarray:
    return rows.clone() if rows.dtype == torch.float32 else rows.numpy().copy()


def compare(sent, expected, dtype: torch.dtype, tolerance: float) -> None:
    assert sent.vectors.dtype == dtype
    for row in sent.vectors:
        within = tolerance * max(1.0, float(row.abs().max()))
        np.testing.assert_allclose(row, expected, rtol=0, atol=within)


def test_no_attack_of_byzfls_is_forgotten(byzfl_attacks):
    classes = inspect.getmembers(byzfl_attacks, inspect.isclass)
    theirs = {name for name, made in classes if made.__module__ == byzfl_attacks.__name__}
    assert theirs == {*PLAIN, *OPTIMAL, *ELSEWHERE}


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("name", PLAIN)
def test_byzfl_agrees(scene, byzfl_attacks, name, dtype, tolerance):
    ours, options = PLAIN[name]
    for seed in range(10):
        rows = np.random.default_rng(seed).normal(size=(4 + seed, 13))
        own, view = scene(rows, rows[:2], dtype)
        sent, _ = ours.corrupt(own, view, ours.init())
        expected = getattr(byzfl_attacks, name)(**options)(as_byzfl_wants(view.honest.vectors))
        compare(sent, expected, dtype, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", OPTIMAL)
def test_byzfls_search_finds_the_same_factor(scene, byzfl_attacks, name, rule, dtype, tolerance):
    """With ByzFL's own rule there, and ours here."""
    ours, options = RULES[rule]
    theirs = getattr(import_module("byzfl.aggregators"), rule)(**options)
    for seed in range(5):
        rows = 0.2 + np.random.default_rng(seed).normal(size=(10, 13))
        own, view = scene(rows, rows[:3], dtype)
        knowing = replace(view, aggregate=lambda updates: ours.aggregate(updates, None)[0])
        sent, _ = OPTIMAL[name].corrupt(own, knowing, None)
        attack = getattr(byzfl_attacks, name)(agg=theirs, pre_agg_list=[], f=3)
        compare(sent, attack(as_byzfl_wants(view.honest.vectors)), dtype, tolerance)


@pytest.mark.parametrize(("dtype", "_"), DTYPES)
def test_byzfls_infinity_is_ours(scene, byzfl_attacks, dtype, _):
    """It makes float64 whatever it is given, of numpy arrays only."""
    own, view = scene(np.ones((3, 5)), np.ones((2, 5)), dtype)
    sent, _ = NonFinite("inf").corrupt(own, view, None)
    expected = byzfl_attacks.Inf()(view.honest.vectors.numpy())
    np.testing.assert_array_equal(sent.vectors, [expected, expected])
