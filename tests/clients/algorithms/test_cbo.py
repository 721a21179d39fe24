"""Oracles: a consensus by hand, exact contraction without noise, and Rastrigin's global minimum."""

import math

import pytest
import torch
from black_boxes import play

from gauntlet.clients.algorithms.cbo import CBO, consensus


def rastrigin(x):
    return (x**2 - 10 * torch.cos(2 * math.pi * x) + 10).sum(dim=1)


def test_the_consensus_weighs_particles_by_how_good_they_are():
    """Particles 0, 1, 3 with x^2 and alpha 1: (e^-1 + 3 e^-9) / (1 + e^-1 + e^-9)."""
    x = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    found = consensus(x, x[:, 0] ** 2, 1.0)
    assert float(found) == pytest.approx(0.269187795, abs=1e-9)
    assert float(consensus(x + 2, (x[:, 0] - 1) ** 2, 1e9)) == 3.0  # the best one


def test_without_noise_particles_come_nearer_by_the_same_factor():
    x, centre = torch.tensor([[0.0, 4.0], [2.0, -2.0]]), torch.tensor([1.0, 0.0])
    moved = CBO(sigma=0.0, dt=0.25, pull=2.0).moved(x, centre, torch.ones(2, 2))
    torch.testing.assert_close(moved - centre, 0.5 * (x - centre))


def test_noise_is_as_wide_as_the_distance_by_coordinate_or_in_all():
    x, centre, xi = torch.tensor([[3.0, 4.0]]), torch.zeros(2), torch.tensor([[1.0, -1.0]])
    some = {"sigma": 2.0, "dt": 0.25, "pull": 4.0}  # the pull alone leads to the centre
    torch.testing.assert_close(CBO(**some).moved(x, centre, xi), torch.tensor([[3.0, -4.0]]))
    isotropic = CBO(noise="isotropic", **some).moved(x, centre, xi)
    torch.testing.assert_close(isotropic, torch.tensor([[5.0, -5.0]]))


def test_every_particle_is_a_query_and_the_model_is_the_consensus():
    functions = [lambda x: (x - 1).square().sum(dim=1), lambda x: (x + 1).square().sum(dim=1)]
    seen, stated, asked = play("cbo", functions, torch.zeros(2), 3, num_particles=7)
    assert asked == stated == [7] * 6
    assert torch.allclose(seen[0], torch.zeros(2))  # the first particle, which is the best


@pytest.mark.parametrize("noise", ["anisotropic", "isotropic"])
def test_it_finds_the_global_minimum_among_many(noise):
    """Rastrigin in two dimensions, from 0.9, beside another minimum: a descent stays at 0.995."""
    start = torch.full((2,), 0.9)
    seen, _, _ = play("cbo", [rastrigin], start, 600, spread=3.0, noise=noise)
    assert seen[-1].abs().max() < 0.25


def test_a_round_in_which_nobody_answered_changes_nothing():
    rule, params = CBO(num_particles=3), torch.ones(2)
    moved, state = rule.step(params, torch.zeros(3), rule.init(), 0.0, None)
    assert torch.equal(moved, params)
    assert torch.equal(state["particles"].flatten(), rule.extra(params, rule.init()))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"num_particles": 1}, "num_particles"), ({"dt": 2.0}, "at most 1"), ({"noise": "x"}, "noise must be")],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        CBO(**options)
