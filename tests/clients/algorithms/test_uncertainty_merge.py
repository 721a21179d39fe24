"""Oracles: quadratics, of which the rule gives the exact minimiser; a softmax's exact Fisher information."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from gauntlet.clients.algorithms.uncertainty_merge import UncertaintyMerge
from gauntlet.core.seeds import generator
from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

PRIOR = torch.tensor([1.0, 2.0])
CURVATURES = torch.tensor([[3.0, 1.0], [1.0, 4.0]])
CENTRES = torch.tensor([[1.0, 2.0], [-1.0, 1.0]])


def merged(updates, curvatures, prior, num_clients=2, **options):
    """Return where the server comes from 0 by what its clients would send."""
    rule = UncertaintyMerge(delta=0.0, **options)
    state = {"prior": prior}
    messages = torch.cat([(prior + curvatures) * updates, curvatures], dim=1) * num_clients
    share = len(updates) / num_clients
    return rule.step(torch.zeros(updates.shape[1]), messages.mean(dim=0), state, share)[0]


@pytest.mark.parametrize("num_clients", [2, 7])
def test_of_quadratics_the_rule_gives_the_exact_minimiser(num_clients):
    """Where theta_t minimises L_t + 1/2 ||theta||^2 in the norm of H_0: .4 and .857142857 by hand."""
    each = CURVATURES * CENTRES / (CURVATURES + PRIOR)
    torch.testing.assert_close(each, torch.tensor([[0.75, 2 / 3], [-0.5, 2 / 3]]))
    exact = (CURVATURES * CENTRES).sum(dim=0) / (PRIOR + CURVATURES.sum(dim=0))
    torch.testing.assert_close(exact, torch.tensor([0.4, 0.857142857]))
    torch.testing.assert_close(merged(each, CURVATURES, PRIOR, num_clients), exact)


def test_without_a_prior_equal_curvatures_give_the_mean_and_a_large_prior_the_sum():
    updates, equal = torch.tensor([[1.0, 3.0], [2.0, -1.0]]), torch.full((2, 2), 5.0)
    torch.testing.assert_close(merged(updates, equal, torch.zeros(2)), updates.mean(dim=0))
    torch.testing.assert_close(merged(updates, equal, torch.full((2,), 1e8)), updates.sum(dim=0))
    fisher = (CURVATURES * updates).sum(dim=0) / CURVATURES.sum(dim=0)
    torch.testing.assert_close(merged(updates, CURVATURES, torch.zeros(2)), fisher)


def test_alpha_and_the_priors_scale_count_as_in_the_papers_sum():
    """theta_0 + alpha sum_t (s_0 H_0 + H_t) / (s_0 H_0 + sum alpha H_t) (theta_t - theta_0)."""
    updates, known = torch.tensor([[1.0, 3.0], [2.0, -1.0]]), 3.0 * PRIOR
    expected = 0.5 * ((known + CURVATURES) * updates).sum(dim=0) / (known + 0.5 * CURVATURES.sum(dim=0))
    rule = UncertaintyMerge(delta=0.0, alpha=0.5, prior="last", prior_scale=3.0)
    messages = torch.cat([(rule._known(PRIOR) + CURVATURES) * updates, CURVATURES], dim=1) * 2
    found, _ = rule.step(torch.zeros(2), messages.mean(dim=0), {"prior": PRIOR}, 1.0)
    torch.testing.assert_close(found, expected)


def test_a_coordinate_without_any_curvature_stays():
    updates, bends = torch.ones(2, 2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert merged(updates, bends, torch.zeros(2)).tolist() == [1.0, 0.0]


def test_what_the_server_knew_is_sent_and_counts_in_the_next_round():
    rule = UncertaintyMerge(prior="last")
    message = torch.tensor([1.0, 1.0, 4.0, 6.0])
    _, state = rule.step(torch.zeros(2), message, rule.init(), 0.5)
    assert rule.extra(torch.zeros(2), state).tolist() == [2.0, 3.0]
    assert UncertaintyMerge().step(torch.zeros(2), message, rule.init(), 0.5)[1] == {"prior": None}


@dataclass
class Logits:
    """A client of a softmax with one logit a class for parameters: its Fisher is p (1 - p)."""

    received: torch.Tensor
    num_examples: int = 4000
    num_clients: int = 3
    shared: dict = field(default_factory=lambda: {"prior": torch.zeros(3)})
    labels: np.ndarray = field(default_factory=lambda: np.zeros(4000, dtype=np.int64))

    def stream(self, purpose):
        return generator(0, purpose)

    def outputs(self, params, rows):
        return params.expand(len(rows), 3)

    def example_gradients(self, params, rows, targets=None):
        y = torch.from_numpy(self.labels[rows]) if targets is None else targets
        return params.softmax(dim=0) - torch.nn.functional.one_hot(y, 3)

    def gradient(self, params, rows=None):
        return self.example_gradients(params, rows).mean(dim=0), torch.zeros(())


def test_the_fisher_information_is_that_of_the_model_and_not_of_its_labels():
    """All labels are 0: their own squares are ((1 - p_0)^2, p_1^2, p_2^2), the Fisher's p (1 - p)."""
    theta = torch.tensor([0.5, 0.0, -1.0])
    p = theta.softmax(dim=0)
    found = UncertaintyMerge()._fisher(Logits(theta), theta)
    torch.testing.assert_close(found, p * (1 - p), rtol=0.06, atol=0.0)


def test_a_client_sends_its_update_weighed_by_its_curvature_and_that():
    visit = Logits(torch.zeros(3))
    rule = UncertaintyMerge(lr=0.5, batch_size=0, local_epochs=2, delta=0.0)
    message, _ = rule.work(visit)
    weighed, curvature = message.view(2, 3) / visit.num_clients
    theta = torch.zeros(3)
    for _ in range(2):
        theta = theta - 0.5 * (theta.softmax(dim=0) - torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(weighed / curvature, theta)
    p = theta.softmax(dim=0)
    torch.testing.assert_close(curvature, 4000 * p * (1 - p), rtol=0.06, atol=0.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"alpha": 0.0}, "alpha"), ({"delta": -1.0}, "delta"), ({"prior": "x"}, "prior must be none or last")],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        UncertaintyMerge(**options)


@dataclass(frozen=True)
class OfQuadratics(UncertaintyMerge):
    """The rule's server half; client t has L_t = 1/2 ||theta - c_t||^2 in the norm of H_t, and solves it."""

    def work(self, visit):
        bends, centre = (part.float() for part in quadratic(visit.client_id, len(visit.received)))
        known = self._known(visit.shared["prior"])
        update = bends * (centre - visit.received) / (known + bends)
        return torch.cat([(known + bends) * update, bends]) * visit.num_clients, torch.zeros(())


def quadratic(client_id, size):
    """Return a client's H_t and c_t.  # [P] each"""
    draw = torch.Generator().manual_seed(client_id)
    bends, centre = torch.rand(size, generator=draw), torch.randn(size, generator=draw)
    return 0.5 + bends.double(), centre.double()


def from_zero(input_shape, num_classes):
    """Return one linear layer whose weights are 0."""
    layer = torch.nn.Linear(math.prod(input_shape), num_classes)
    for weights in layer.parameters():
        torch.nn.init.zeros_(weights)
    return torch.nn.Sequential(torch.nn.Flatten(), layer)


def test_a_whole_run_on_quadratics_is_the_papers_recursion():
    """theta + alpha sum_t H_t (c_t - theta) / (delta + s_0 H_0 + alpha sum_t H_t); at first H_0 is 0."""
    options = {"alpha": 0.5, "delta": 1.0, "prior_scale": 2.0}
    scenario = {
        "name": "quadratics",
        "rounds": 3,
        "num_clients": 4,
        "data": "digits",
        "model": f"{__file__}:from_zero",
        "training": {"local_epochs": 1, "batch_size": 32, "lr": 0.1},
        "algorithm": {"name": f"{__file__}:OfQuadratics", "prior": "last", **options},
        "defense": {"name": "mean", "weighting": "uniform"},
    }
    simulation = prepare(make_scenario(scenario).run_spec())
    found = [step.state.params.double() for step in simulation.steps(simulation.serial_pool())]
    bends, centres = map(torch.stack, zip(*(quadratic(t, len(found[0])) for t in range(4)), strict=True))
    expected, total = torch.zeros_like(known := torch.ones(len(found[0])).double()), bends.sum(dim=0)
    for params in found:
        expected = expected + 0.5 * (bends * (centres - expected)).sum(dim=0) / (known + 0.5 * total)
        torch.testing.assert_close(params, expected, rtol=1e-5, atol=1e-5)
        known = 1.0 + 2.0 * total
    assert (found[0] - found[2]).abs().max() > 0.01
