"""Oracles: central differences of the surrogates' own means, dense formulas, exact interpolation."""

import pytest
import torch

from gauntlet.clients.algorithms.parts import surrogates
from gauntlet.core.seeds import generator


def points(count, size, seed=0):
    return torch.from_numpy(generator(seed, "points").uniform(0, 1, (count, size)))


def wave(x):
    return torch.sin(3 * x[:, 0]) + x[:, 1] ** 2 - x[:, 2]


def central(function, x, step=1e-5):
    eye = step * torch.eye(len(x), dtype=x.dtype)
    return torch.stack([(function(x + e) - function(x - e)) / (2 * step) for e in eye])


def test_the_processs_gradient_is_that_of_its_mean():
    x = points(40, 3)
    at = points(1, 3, seed=1)[0]
    for lengths in ((0.5,), (2.0,), (0.5, 1.0)):
        process = surrogates.fit(x, wave(x), lengths)
        torch.testing.assert_close(process.gradient(at), central(process.mean, at), rtol=1e-6, atol=1e-6)
    exact = torch.stack([3 * torch.cos(3 * at[0]), 2 * at[1], -torch.ones(())])
    assert (process.gradient(at) - exact).abs().max() < 0.1


def test_the_process_takes_the_length_scale_that_makes_the_values_likeliest():
    """Against torch's density of a multivariate normal."""
    x, lengths = points(25, 3), (0.1, 0.7, 3.0, 20.0)
    y, _ = surrogates.scaled(wave(x))
    r = 5**0.5 * (x[:, None] - x[None]).norm(dim=2)
    likely = []
    for length in lengths:
        gram = (1 + r / length + (r / length) ** 2 / 3) * torch.exp(-r / length) + 1e-6 * torch.eye(25)
        normal = torch.distributions.MultivariateNormal(torch.zeros(25, dtype=torch.float64), gram)
        likely.append(float(normal.log_prob(y)))
    assert surrogates.fit(x, wave(x), lengths).length == lengths[likely.index(max(likely))]


def test_the_variance_is_that_of_the_gradient_given_the_values():
    """d / l^2 - sum_j k_j' K^-1 k_j' one coordinate after the other, and d / l^2 far from all queries."""
    x, at, length = points(12, 3), points(2, 3, seed=2), 0.8
    process = surrogates.Process(x, length, torch.zeros(12, dtype=torch.float64))
    gram = torch.exp(-(torch.cdist(x, x) ** 2) / (2 * length**2)) + 1e-6 * torch.eye(12)
    for row, one in enumerate(at):
        near = torch.exp(-(one - x).square().sum(dim=1) / (2 * length**2))
        slopes = [-(one[j] - x[:, j]) / length**2 * near for j in range(3)]
        expected = 3 / length**2 - sum(k @ torch.linalg.solve(gram, k) for k in slopes)
        assert float(process.variance(at)[row]) == pytest.approx(float(expected), rel=1e-6)
    assert float(process.variance(at + 100)[0]) == pytest.approx(3 / length**2)


def test_features_give_the_values_back_and_their_gradient_is_their_own():
    x = points(30, 3)
    features = surrogates.Features.drawn(400, 3, 0)
    weights = features.fitted(x, wave(x))

    def mean(at):
        return (2 / 400) ** 0.5 * torch.cos(features.frequencies @ at + features.phases) @ weights

    got = torch.stack([mean(one) for one in x])
    assert (got - got.mean() - wave(x) + wave(x).mean()).abs().max() < 1e-2
    at = points(1, 3, seed=1)[0]
    torch.testing.assert_close(features.gradient(weights, at), central(mean, at), rtol=1e-6, atol=1e-7)
    assert torch.equal(features.phases, surrogates.Features.drawn(400, 3, 0).phases)


def test_points_far_from_zero_and_near_each_other_are_told_apart():
    """Oracle: the same points moved by 10^6. An attacker may move a model so far; no fit may fail."""
    near = (points(80, 3) * 2**10).round() / 2**10  # so that 10^6 more is exact
    values, lengths = wave(near), (0.3, 1.0)
    here, there = (surrogates.fit(x, values, lengths) for x in (near, near + 1e6))
    torch.testing.assert_close(there.coefficients, here.coefficients)
    assert there.length == here.length
    torch.testing.assert_close(there.variance(near[:5] + 1e6 + 0.25), here.variance(near[:5] + 0.25))
