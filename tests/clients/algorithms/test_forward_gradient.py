"""Forward gradients. Oracles: quadratics, on which central differences are exact, autograd, and replay."""

from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.forward_gradient import ForwardGradient
from gauntlet.clients.data.synthetic import SyntheticPopulation
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.privacy.no_privacy import NoPrivacy

CURVATURE = torch.tensor([1.0, 4.0, 0.25, 2.0])
THETA = torch.tensor([1.0, -0.5, 2.0, 0.25])


@dataclass
class Bowl:
    """A client whose loss is 1/2 sum_i a_i theta_i^2, and that notes where it is asked."""

    received: torch.Tensor
    steps: int = 1
    round: int = 3
    asked: list = field(default_factory=list)

    def batches(self):
        return [np.arange(2)] * self.steps

    def losses(self, params, rows):
        self.asked.append(params)
        return (CURVATURE * params**2).sum(dim=1) / 2

    def slope(self, params, direction, rows):
        return (CURVATURE * params * direction).sum(), (CURVATURE * params**2).sum() / 2


def walked(algorithm, slopes, round_=3, begun=THETA):
    params, state = algorithm.step(begun, slopes, {"round": round_}, 1.0)
    assert state == {"round": round_ + 1}
    return params


def test_over_all_signs_the_mean_estimate_is_the_gradient():
    """E z z' = I over the 2^4 vectors of +-1, and a central difference of a quadratic is exact."""
    algorithm, visit = ForwardGradient(eps=0.25), Bowl(THETA)
    estimates = [
        algorithm._slope(visit, THETA, z, None)[0] * z
        for z in map(torch.tensor, product((-1.0, 1.0), repeat=4))
    ]
    torch.testing.assert_close(torch.stack(estimates).mean(0), CURVATURE * THETA)
    squares = torch.stack(estimates).square().sum(1).mean()
    torch.testing.assert_close(squares, 4 * (CURVATURE * THETA).square().sum())  # d |g|^2


def test_a_message_is_the_slopes_along_the_directions_of_the_round():
    algorithm = ForwardGradient(num_draws=3, eps=0.5)
    slopes, loss = algorithm.work(Bowl(THETA))
    z = torch.stack(list(algorithm.directions(3, 0, 4)))
    assert set(z.flatten().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(slopes, z @ (CURVATURE * THETA))
    around = [(CURVATURE * (THETA + s * 0.5 * row) ** 2).sum() / 2 for row in z for s in (1, -1)]
    torch.testing.assert_close(loss, torch.stack(around).mean())
    assert algorithm.up(None).num_parameters == len(slopes)


@pytest.mark.parametrize("options", [{}, {"estimator": "classic"}, {"sign": True}])
def test_the_server_walks_as_the_client_did(options):
    """Where the client stood before its third step, from the slopes of two: the same bits."""
    made = {"num_draws": 2, "lr": 0.05, "eps": 0.125, **options}
    visit = Bowl(THETA, steps=3)
    stood = []
    visit.slope = lambda at, z, rows: (stood.append(at), Bowl.slope(visit, at, z, rows))[1]
    slopes, _ = ForwardGradient(local_steps=3, **made).work(visit)
    here = walked(ForwardGradient(local_steps=2, **made), slopes[:4])
    if stood:
        assert torch.equal(stood[4], here)
    else:
        z = next(ForwardGradient(**made).directions(3, 2, 4))
        assert torch.equal(visit.asked[4], torch.stack([here + 0.125 * z, here - 0.125 * z]))


def test_fixed_point_walks_are_whole_numbers_that_bits_replay():
    """s = 4 / 32767 = 1.2207e-4; eps = .01 is 82 of these. No drift: integers are equal, not close."""
    made = {"estimator": "fixed_point", "num_draws": 2, "lr": 0.01, "eps": 1e-2, "sign": True}
    visit = Bowl(THETA, steps=3)
    algorithm = ForwardGradient(local_steps=3, **made)
    assert algorithm.unit == pytest.approx(1.2207e-4, rel=1e-4)
    slopes, _ = algorithm.work(visit)
    assert set(slopes.tolist()) <= {-1.0, 0.0, 1.0}
    two = ForwardGradient(local_steps=2, **made)
    q = two.on_grid(walked(two, slopes[:4]))
    z = next(two.directions(3, 2, 4))
    assert torch.equal(visit.asked[4], torch.stack([q + 82 * z, q - 82 * z]) * two.unit)
    assert torch.equal(q, q.round())
    assert not torch.equal(q, two.on_grid(THETA))


def test_rounding_is_up_or_down_by_chance_and_right_on_average():
    """lr / s = 0.3: of 4000 parameters about 30 % move by one, 4 standard deviations are 2.9 %."""
    algorithm = ForwardGradient(estimator="fixed_point", lr=0.3 * 4 / 32767, eps=1e-2, num_draws=1)
    moved = algorithm.moved(torch.zeros(4000), torch.ones(1), [torch.ones(4000)], 0, 0)
    assert set(moved.tolist()) == {0.0, -1.0}
    assert float(-moved.mean()) == pytest.approx(0.3, abs=0.029)


def test_a_step_is_along_the_mean_over_its_directions():
    algorithm, slopes = ForwardGradient(num_draws=3, lr=0.2), torch.tensor([0.5, -1.0, 2.0])
    drawn = torch.stack(list(algorithm.directions(3, 0, 4)))
    torch.testing.assert_close(walked(algorithm, slopes), THETA - 0.2 * (slopes @ drawn) / 3)


def test_the_walk_along_mean_slopes_is_the_mean_walk():
    algorithm = ForwardGradient(num_draws=2, local_steps=2)
    one, other = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    mean = (walked(algorithm, one) + walked(algorithm, other)) / 2
    torch.testing.assert_close(walked(algorithm, (one + other) / 2), mean)


def test_parameters_beyond_the_range_are_cut_off():
    algorithm = ForwardGradient(estimator="fixed_point", eps=1e-2, weight_bits=8, largest=2.0, lr=0.5)
    assert algorithm.on_grid(torch.tensor([5.0, -5.0, 1.0])).tolist() == [127, -127, 64]


def test_classic_slopes_are_those_of_the_models_own_gradient():
    """v . g by torch's autograd, on a client of a run."""
    data = SyntheticPopulation(num_features=5, num_classes=3, examples_per_client=12).populate(4, 0)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    params = Layout.of(model).flatten(dict(model.named_parameters()))
    x, y = data.client(2)
    loss = nn.functional.cross_entropy(model(x), y)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    algorithm = ForwardGradient(estimator="classic", num_draws=3)
    kernel = BlockKernel(data, model, algorithm, LocalTraining(batch_size=0), NoPrivacy(), (), 7)
    trained = kernel.train(Broadcast(1, params, torch.zeros(0)), np.array([2]))
    v = torch.stack(list(algorithm.directions(1, 0, len(params))))
    torch.testing.assert_close(trained.updates.vectors[0], v @ gradient)
    assert float(trained.losses[0]) == pytest.approx(float(loss.detach()))


def test_directions_differ_by_round_and_step_and_not_by_client():
    algorithm = ForwardGradient(num_draws=1)
    drawn = [next(algorithm.directions(*at, 64)) for at in ((0, 0), (0, 1), (1, 0))]
    assert not any(torch.equal(a, b) for a, b in pairwise(drawn))
    assert torch.equal(drawn[0], next(ForwardGradient(num_draws=1).directions(0, 0, 64)))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"estimator": "exact"}, "estimator must be one of spsa, classic, fixed_point; got 'exact'"),
        ({"num_draws": 0}, "num_draws must be at least 1, got 0"),
        (
            {"num_draws": 300, "local_steps": 300},
            r"num_draws \* local_steps must be at most 65536, got 90000",
        ),
        ({"eps": 1e-9}, "eps must be at least 1e-6"),
        ({"estimator": "fixed_point", "eps": 1e-5}, "eps must be at least half of the step 0.00012207"),
        ({"estimator": "classic", "sign": True}, "sign must be false with estimator = 'classic'"),
        ({"weight_bits": 2}, "weight_bits must be from 4 to 16, got 2"),
        ({"largest": 0.0}, "largest must be above 0"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        ForwardGradient(**options)
