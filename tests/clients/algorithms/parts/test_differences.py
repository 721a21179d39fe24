"""Gradient differences on logistic regression, every example's gradient written down in float64."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from gauntlet.clients.algorithms.diff2_bvr_l_sgd import Diff2BvrLSgd
from gauntlet.clients.algorithms.diff2_gd import Diff2GD
from gauntlet.clients.algorithms.parts import differences
from gauntlet.core.seeds import generator

N, D, W = 50, 4, 3


@dataclass
class Logistic:
    """A visit to a worker with labels of +-1 and the loss log(1 + exp(-y x theta))."""

    client_id: int
    received: torch.Tensor
    round: int = 0
    extra: torch.Tensor | None = None

    num_examples, num_clients, memory = N, W, None

    def __post_init__(self):
        draw = generator(2, "logistic", self.client_id)
        self.x = torch.from_numpy(draw.standard_normal((N, D)))
        self.y = torch.from_numpy(np.sign(draw.standard_normal(N)))

    def example_gradients(self, params, rows):
        x, y = self.x[rows], self.y[rows]
        return -(y * torch.sigmoid(-y * (x @ params.double())))[:, None] * x

    def gradient(self, params, rows=None):
        rows = np.arange(N) if rows is None else rows
        return self.example_gradients(params, rows).mean(dim=0), torch.zeros(())

    def stream(self, purpose):
        return generator(1, purpose, self.round, self.client_id)

    noise_stream = stream


def full_gradient(params):
    return torch.stack([Logistic(w, params).gradient(params)[0] for w in range(W)]).mean(dim=0)


def test_without_noise_and_clipping_the_estimate_is_the_gradient_in_every_round():
    """Telescoping: v_r = grad f(x_(r-1)) to 1e-10 in float64, restarts or not."""
    rule = Diff2GD(lr=1.0, c1=1e9, c2=1e9, restart=7)
    params, state = torch.ones(D, dtype=torch.float64), rule.init()
    for t in range(40):
        extra = rule.extra(params, state)
        sent = [rule.work(Logistic(w, params, t, extra))[0] for w in range(W)]
        here = full_gradient(params)
        params, state = rule.step(params, torch.stack(sent).mean(dim=0), state)
        assert (state["v"] - here).abs().max() < 1e-10


def test_clipping_the_two_gradients_instead_of_their_difference_loses_the_gradient():
    """c1 below the gradients, c2 above the smoothness: only the difference passes unclipped."""
    new, old = torch.full((D,), 0.3, dtype=torch.float64), torch.zeros(D, dtype=torch.float64)
    visit, rows, c1 = Logistic(0, new), np.arange(N), 0.2
    bound = 10.0 * differences.step_length(new, old)
    truth = visit.gradient(new)[0] - visit.gradient(old)[0]

    together = differences.clipped_sum(visit, bound, rows, new, old) / N
    apart = sum(s * differences.clipped_sum(visit, c1, rows, p) / N for s, p in ((1, new), (-1, old)))

    assert (together - truth).abs().max() < 1e-12
    assert (apart - truth).abs().max() > 1e-3


def test_an_example_counts_up_to_its_bound_and_no_further():
    """By hand: each example's vector is scaled by min(1, bound / norm)."""
    new, old, bound = torch.ones(D, dtype=torch.float64), -torch.ones(D, dtype=torch.float64), 0.4
    visit, rows = Logistic(1, new), np.arange(N)
    by_hand = torch.zeros(D, dtype=torch.float64)
    cut = 0
    for g in visit.example_gradients(new, rows) - visit.example_gradients(old, rows):
        norm = float(g.norm())
        cut += norm > bound
        by_hand += g * min(1.0, bound / norm)

    assert 0 < cut < N
    assert differences.clipped_sum(visit, bound, rows, new, old) == pytest.approx(by_hand, abs=1e-12)


def test_blocks_of_examples_add_up_to_all_of_them(monkeypatch):
    visit, new = Logistic(1, torch.ones(D, dtype=torch.float64)), torch.ones(D, dtype=torch.float64)
    whole = differences.clipped_sum(visit, 0.3, np.arange(N), new)
    monkeypatch.setattr(differences, "_FLOATS", 7 * D)

    assert differences.clipped_sum(visit, 0.3, np.arange(N), new) == pytest.approx(whole, abs=1e-12)


def test_no_step_makes_no_difference():
    here = torch.ones(D, dtype=torch.float64)
    assert torch.equal(
        differences.clipped_sum(Logistic(0, here), 0.0, np.arange(N), here, here), torch.zeros(D).double()
    )


def test_an_example_that_is_not_finite_counts_for_nothing():
    visit, here = Logistic(0, torch.ones(D)), torch.ones(D, dtype=torch.float64)
    rest = differences.clipped_sum(visit, 1.0, np.arange(1, N), here)
    visit.x[0] = float("nan")

    assert torch.equal(differences.clipped_sum(visit, 1.0, np.arange(N), here), rest)


def test_the_ridge_is_added_by_the_server():
    """One step from x: x - lr (v + ridge x)."""
    rule = Diff2GD(lr=0.5, ridge=0.2)
    params, _ = rule.step(torch.tensor([1.0, -2.0]), torch.tensor([0.3, 0.1]), rule.init())

    assert params.tolist() == pytest.approx([1 - 0.5 * (0.3 + 0.2), -2 - 0.5 * (0.1 - 0.4)])


def run_pairs(rule, pairs):
    """Run pairs of rounds; yield the parameters before each visit, the estimate and where the visit ended."""
    params, state = torch.ones(D, dtype=torch.float64), rule.init()
    for t in range(2 * pairs):
        extra = rule.extra(params, state)
        cohort = rule.sample(W, generator(5, "sample"), t)
        sent = torch.stack([rule.work(Logistic(int(w), params, t, extra))[0] for w in cohort]).mean(dim=0)
        before = params
        params, state = rule.step(params, sent, state)
        if t % 2:
            yield before, state["v"], params, int(cohort[0])


def test_a_visit_follows_its_own_running_estimate():
    """K = 3 steps by hand: x - lr v, then two corrections of v on disjoint minibatches."""
    rule = Diff2BvrLSgd(lr=0.4, c1=1e9, c2=1e9, restart=2, local_steps=3, batch_size=8)
    for number, (before, v, after, worker) in enumerate(run_pairs(rule, 4)):
        assert (v - full_gradient(before)).abs().max() < 1e-10  # telescopes over visits too
        visit = Logistic(worker, before, 2 * number + 1)
        batches = visit.stream("diff2 batches").permutation(N)[:16].reshape(2, 8)
        theta = before
        for rows in batches:
            old, theta = theta, theta - 0.4 * v
            v = v + visit.gradient(theta, rows)[0] - visit.gradient(old, rows)[0]
        assert after == pytest.approx(theta - 0.4 * v, abs=1e-9)


def test_the_noise_of_a_visit_grows_with_its_steps():
    """Differences are cut to almost nothing: v changes by noise of z3 c2 |step| / b alone, twice the step."""
    wide = []
    for size in (1.0, 2.0):
        rule = Diff2BvrLSgd(lr=1.0, c1=1.0, c2=1.0, local_steps=2, batch_size=4, inner_multiplier=4000.0)
        visit = Logistic(0, torch.zeros(2000), 1, torch.zeros(2, 2000))
        visit.x, visit.extra[1, 0] = torch.zeros(N, 2000).double(), -size
        moved, _ = rule.work(visit)
        noise = -(moved - torch.nn.functional.one_hot(torch.tensor(0), 2000) * 2 * size)
        wide.append(float(noise.std()) / (4000.0 * size / 4))

    assert wide == pytest.approx([1.0, 1.0], rel=0.1)  # chi-square of 2000 at 1e-9 is within 10 % in std


def test_a_worker_with_too_few_examples_is_told_so():
    rule = Diff2BvrLSgd(local_steps=4, batch_size=30)
    with pytest.raises(ValueError, match="3 disjoint minibatches of 30, and client 2 holds 50 examples"):
        rule.work(Logistic(2, torch.zeros(D), 1, torch.zeros(2, D)))
