"""Oracle: the BFGS matrix itself, updated pair by pair (Nocedal, Wright: Numerical Optimization, 6.19)."""

import numpy as np
import torch

from gauntlet.defenses.parts.curvature import hessian_product


def dense_bfgs(steps, turns):
    sigma = (turns[-1] @ steps[-1]) / (steps[-1] @ steps[-1])
    matrix = sigma * np.eye(steps.shape[1])
    for s, y in zip(steps, turns, strict=True):
        bs = matrix @ s
        matrix += np.outer(y, y) / (y @ s) - np.outer(bs, bs) / (s @ bs)
    return matrix


def test_the_compact_form_is_the_matrix_updated_pair_by_pair():
    rng = np.random.default_rng(0)
    half = rng.normal(size=(6, 6))
    curvature = half @ half.T + np.eye(6)
    for past in (1, 2, 5):
        steps = rng.normal(size=(past, 6))
        turns = steps @ curvature
        v = rng.normal(size=6)
        found = hessian_product(*(torch.from_numpy(a) for a in (steps, turns, v)))
        np.testing.assert_allclose(found, dense_bfgs(steps, turns) @ v, atol=1e-9)
        newest = hessian_product(*(torch.from_numpy(a) for a in (steps, turns, steps[-1])))
        np.testing.assert_allclose(newest, turns[-1], atol=1e-9)  # the secant equation


def test_repeated_pairs_make_no_singular_matrix():
    steps = torch.ones(4, 3)
    found = hessian_product(steps, -2 * steps, torch.tensor([1.0, 1.0, 1.0]))
    np.testing.assert_allclose(found, [-2.0] * 3, atol=1e-6)
