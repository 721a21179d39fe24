"""Oracles: the cases that other libraries publish as their own tests, with the numbers that these expect.

Sources, by repository and file: LPD-EPFL/byzfl ``tests/unit_test_attacks.py`` (the two tests of optimised
attacks are commented out there, and taken from the comment) and lishenghui/blades
``blades/adversaries/tests/test_adaptive_attack.py``. Those of Blades' other attacks look at configurations
alone, and those of FedML-AI/FedML ``python/tests/security/attack`` print and expect nothing.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.alie import ALittleIsEnough
from gauntlet.attacks.poisoning.fang_trim import FangTrim
from gauntlet.attacks.poisoning.gaussian import Gaussian
from gauntlet.attacks.poisoning.ipm import InnerProductManipulation
from gauntlet.attacks.poisoning.mean_sign_flip import MeanSignFlip
from gauntlet.attacks.poisoning.mimic import Mimic
from gauntlet.attacks.poisoning.non_finite import NonFinite
from gauntlet.attacks.poisoning.opt_alie import OptimalALittleIsEnough
from gauntlet.attacks.poisoning.opt_ipm import OptimalInnerProductManipulation
from gauntlet.core.seeds import generator
from gauntlet.defenses.clipping import Clipping
from gauntlet.defenses.nnm import NNM
from gauntlet.defenses.trimmed_mean import TrimmedMean

BYZFL = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
INFINITE = [float("inf")] * 3


def sent(attack, own, view):
    return attack.corrupt(own, view, attack.init())[0].vectors


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (MeanSignFlip(), [-4, -5, -6]),
        (InnerProductManipulation(2.0), [-8, -10, -12]),
        (ALittleIsEnough(1.5), [8.5, 9.5, 10.5]),
        (Mimic(victim=0), [1, 2, 3]),
        (NonFinite("inf"), INFINITE),
    ],
    ids=repr,
)
def test_byzfls_expected_rows_are_sent(scene, attack, expected, dtype):
    rows = sent(attack, *scene(BYZFL, BYZFL[:1], dtype))
    np.testing.assert_allclose(rows[0], expected, rtol=1e-6)


def test_a_gaussian_row_is_finite_and_of_the_same_length(scene):
    """All that ByzFL's test asks for."""
    rows = sent(Gaussian(std=1.0), *scene(BYZFL, BYZFL[:1]))
    assert rows.shape == (1, 3)
    assert bool(rows.isfinite().all())


@pytest.mark.parametrize("seed", range(5))
def test_blades_bounds_of_the_adaptive_attack_hold(scene, seed):
    """Its four clients, scale 3: the rows lie between the bounds that its test expects."""
    rows = [[-4, -7, 1, 3], [-1, -4, 2, -1], [0.1, -2, 3, 3], [3, -1, 4, 3]]
    own, view = scene(rows, rows[:2])
    lies = sent(FangTrim(spread=3.0), own, replace(view, generator=generator(seed, "attack")))
    low, high = torch.tensor([3, -1, 1 / 3, -3]).double(), torch.tensor([9, -1 / 3, 1, -1]).double()
    assert bool(((low <= lies) & (lies <= high)).all())
    assert not torch.equal(lies[0], lies[1])


@pytest.mark.parametrize(
    ("attack", "commented_out", "released"),
    [
        (
            OptimalInnerProductManipulation(),
            [-2.98949673, -3.73687091, -4.48424509],
            [-2.74877907, -3.43597384, -4.1231686],
        ),
        (
            OptimalALittleIsEnough(),
            [6.0615843, 7.0615843, 8.0615843],
            [12.91985116, 13.91985116, 14.91985116],
        ),
    ],
    ids=repr,
)
def test_the_optimised_rows_are_those_of_byzfls_release(scene, attack, commented_out, released):
    """Its tests of these are commented out, with the numbers of an older search; 0.0.11 finds others.

    Ours are the release's. By their own aim, the distance of the aggregate to the honest mean, they do no
    less than 99 hundredths of what the older ones do (6.785 and 6.799 for the inner product).
    """
    own, view = scene(BYZFL, BYZFL[:1])

    def decided(updates):
        mixed, _ = NNM(1).transform(updates, None)
        return TrimmedMean(1).aggregate(Clipping(2.0).transform(mixed, None)[0], None)[0]

    def harm(row):
        rows = torch.tensor(np.vstack([BYZFL, row]))
        cohort = replace(
            view.honest, vectors=rows, client_ids=torch.arange(4), num_examples=torch.full((4,), 10)
        )
        return float((decided(cohort).aggregate - torch.tensor([4.0, 5.0, 6.0]).double()).norm())

    lies = sent(attack, own, replace(view, aggregate=decided))
    np.testing.assert_allclose(lies[0], released, atol=1e-7)
    assert harm(lies[0]) >= 0.99 * harm(commented_out)
