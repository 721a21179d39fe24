"""Gaussian and Laplace noise beside their distributions."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from gauntlet.clients.client_defenses.gaussian_noise import GaussianNoise
from gauntlet.clients.client_defenses.laplace_noise import LaplaceNoise
from gauntlet.core.layout import Layout

LAWS = {GaussianNoise: stats.norm(scale=0.3), LaplaceNoise: stats.laplace(scale=0.3 / 2**0.5)}


@pytest.fixture
def wide():
    return nn.Linear(100, 100)


@pytest.mark.parametrize("kind", LAWS, ids=lambda k: k.__name__)
def test_what_is_added_has_the_distribution_that_is_named(kind, wide, visit_of):
    """Kolmogorov and Smirnov's test beside scipy's distribution of standard deviation 0.3, 10100 draws."""
    defense = kind(noise_std=0.3)
    update = torch.zeros(2, Layout.of(wide).num_parameters)
    added = defense.change(update, visit_of(defense, wide)).double().numpy()
    for row in added:
        assert stats.kstest(row, LAWS[kind].cdf).pvalue > 0.01
        assert row.std() == pytest.approx(0.3, rel=0.03)
    assert abs(np.corrcoef(added)[0, 1]) < 0.05


@pytest.mark.parametrize("kind", LAWS, ids=lambda k: k.__name__)
def test_it_is_another_one_for_each_client_round_and_seed_and_the_same_again(kind, wide, visit_of, update_of):
    defense, update = kind(), update_of(wide)
    first = defense.change(update, visit_of(defense, wide))
    assert torch.equal(first, defense.change(update, visit_of(defense, wide)))
    noise = first - update
    for other in (
        noise.flip(0),
        defense.change(update, visit_of(defense, wide, round_=1)) - update,
        defense.change(update, visit_of(defense, wide, seed=1)) - update,
    ):
        assert not bool(torch.isclose(noise, other, rtol=1e-3).all(dim=1).any())


@pytest.mark.parametrize("kind", LAWS, ids=lambda k: k.__name__)
@pytest.mark.parametrize("std", [-0.1, float("nan"), float("inf")])
def test_a_noise_that_cannot_be_is_refused(kind, std):
    with pytest.raises(ValueError, match="noise_std must be at least 0 and finite"):
        kind(noise_std=std)
