"""DP-SGD inside the client: against plain SGD, Opacus, one client at a time, and the noise that it claims."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.algorithms.fedprox import FedProx
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.by_example import _width
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.clients.training.minibatches import poisson_batches, step_sampling
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import ScenarioError
from gauntlet.core.layout import Layout
from gauntlet.core.roles import Role
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.privacy.dp_sgd import DpSgd
from gauntlet.privacy.no_privacy import NoPrivacy

SIZES = (7, 23, 1, 16, 40, 5)
EVERYBODY = np.arange(len(SIZES))
MODELS = {
    "mlp with dropout": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(72, 9), nn.Tanh(), nn.Dropout(0.5), nn.Linear(9, 4)
    ),
    "cnn": lambda: nn.Sequential(
        *(nn.Conv2d(2, 3, 3), nn.GroupNorm(3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4)),
    ),
    "dense": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 4)),
}


@dataclass(frozen=True)
class Ragged:
    """Clients of very different sizes, with random inputs; ``broken`` makes one of them NaN."""

    broken: bool = False
    num_classes = 4
    input_shape = (2, 6, 6)

    def num_examples(self, client_id):
        return SIZES[client_id]

    def client(self, client_id):
        stream = generator(3, "ragged", client_id)
        x = torch.from_numpy(stream.standard_normal((SIZES[client_id], 2, 6, 6)).astype(np.float32))
        if self.broken and client_id == 1:
            x[4] = float("nan")
        return x, torch.from_numpy(stream.integers(0, 4, SIZES[client_id]))


def kernel(privacy, how, name="cnn", height=32, rule=None, data=None, steers=()):
    with seeded_torch(generator(0, "model")):
        model = MODELS[name]()
    return BlockKernel(
        data or Ragged(), model, rule or FedAvg(), how, privacy, (), 5, height=height, steers=steers
    )


def train(k, clients=EVERYBODY, round_=1):
    with seeded_torch(generator(0, "start")):
        params = 0.2 * torch.randn(k.layout.num_parameters)
    return k.train(Broadcast(round_, params, torch.zeros(0)), clients)


HOWS = [
    LocalTraining(local_epochs=2, batch_size=8, lr=0.1),
    LocalTraining(local_steps=5, batch_size=4, lr=0.1, momentum=0.9, weight_decay=0.01),
    LocalTraining(local_epochs=2, batch_size=0, lr=0.2),
]


CASES = [
    ("mlp with dropout", HOWS[0], FedAvg()),
    ("cnn", HOWS[0], FedAvg()),
    ("cnn", HOWS[2], FedAvg()),
    ("dense", HOWS[1], FedProx(0.5)),
]


@pytest.mark.parametrize(("name", "how", "rule"), CASES)
def test_without_noise_and_bound_it_is_plain_training_on_the_same_batches(name, how, rule):
    """Oracle: the kernel without privacy, to 1e-5 of each update; shuffled batches are the same ones."""
    private = train(kernel(DpSgd(1e30, noise_multiplier=0.0, batches="shuffle"), how, name, rule=rule))
    plain = train(kernel(NoPrivacy(), how, name, height=1, rule=rule))
    difference = (private.updates.vectors - plain.updates.vectors).norm(dim=1)

    assert bool((difference <= 1e-5 * plain.updates.vectors.norm(dim=1)).all())
    assert torch.allclose(private.losses, plain.losses, rtol=1e-5)
    assert private.updates.num_examples.tolist() == list(SIZES)


@pytest.mark.parametrize(
    ("name", "how", "clipping"),
    [
        ("mlp with dropout", HOWS[1], "fixed"),
        ("cnn", HOWS[0], "fixed"),
        ("cnn", HOWS[2], "per_layer"),
        ("dense", HOWS[0], "autos"),
    ],
)
def test_a_stack_gives_the_updates_of_one_client_at_a_time(name, how, clipping):
    """Oracle: the same training with stacks of one, noise and Poisson batches included, to 1e-5."""
    privacy = DpSgd(0.3, noise_multiplier=0.7, delta=1e-5, clipping=clipping)
    together, alone = (train(kernel(privacy, how, name, height=h)) for h in (32, 1))
    difference = (together.updates.vectors - alone.updates.vectors).norm(dim=1)

    assert bool((difference <= 1e-5 * alone.updates.vectors.norm(dim=1)).all())
    assert torch.allclose(together.losses, alone.losses, rtol=1e-4, atol=1e-6)


def test_noise_batches_and_dropout_are_the_clients_own_whoever_else_trains():
    privacy = DpSgd(0.3, noise_multiplier=0.7, delta=1e-5)
    how = HOWS[0]
    together = train(kernel(privacy, how, "mlp with dropout", height=1))
    alone = train(kernel(privacy, how, "mlp with dropout", height=1), np.array([3]))
    other = train(kernel(privacy, how, "mlp with dropout", height=1), np.array([3]), round_=2)

    assert torch.equal(together.updates.vectors[3], alone.updates.vectors[0])
    assert not torch.equal(other.updates.vectors, alone.updates.vectors)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("name", ["dense", "cnn"])
def test_clipped_steps_are_those_of_opacus(name):
    """Oracle: opacus.DPOptimizer without noise on the same Poisson batches, three steps of one client."""
    from opacus.grad_sample import GradSampleModule
    from opacus.optimizers import DPOptimizer

    how = LocalTraining(local_steps=3, batch_size=8, lr=0.5)
    k = kernel(DpSgd(0.9, noise_multiplier=0.0), how, name)
    ours = train(k, np.array([4])).updates.vectors[0]

    model = MODELS[name]()
    with seeded_torch(generator(0, "start")):
        start = 0.2 * torch.randn(k.layout.num_parameters)
    for path, view in k.layout.views(start.clone()).items():
        dict(model.named_parameters())[path].data = view
    wrapped = GradSampleModule(model)
    optimizer = DPOptimizer(
        torch.optim.SGD(wrapped.parameters(), 0.5),
        noise_multiplier=0.0,
        max_grad_norm=0.9,
        expected_batch_size=8,
    )
    x, y = Ragged().client(4)
    for rows in k.batches(4, 1, 40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(wrapped(x[rows]), y[rows]).backward()
        optimizer.step()
    theirs = Layout.of(model).flatten(dict(model.named_parameters())) - start

    assert torch.allclose(ours, theirs, atol=1e-5 * float(theirs.abs().max()))


def test_an_examples_share_of_a_step_is_its_clipped_gradient_over_the_expected_batch():
    """By hand: one example whose clipped gradient is C long; a batch of 4 of 40, lr 1: at most C / 4 each."""
    how = LocalTraining(local_steps=1, batch_size=4, lr=1.0)
    k = kernel(DpSgd(0.5, noise_multiplier=0.0), how, "dense")
    (rows,) = k.batches(4, 1, 40)
    moved = train(k, np.array([4])).updates.vectors[0].double()

    x, y = Ragged().client(4)
    with seeded_torch(generator(0, "start")):
        start = 0.2 * torch.randn(k.layout.num_parameters)
    weight, bias = (view.clone() for view in k.layout.views(start).values())
    expected = torch.zeros(k.layout.num_parameters, dtype=torch.float64)
    for n in rows:
        residual = torch.softmax(x[n].flatten() @ weight.T + bias, dim=0)
        residual[y[n]] -= 1
        gradient = torch.cat([torch.outer(residual, x[n].flatten()).flatten(), residual]).double()
        assert gradient.norm() > 0.5
        expected -= 0.5 * gradient / gradient.norm() / 4
    assert torch.allclose(moved, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("z", [0.5, 3.0])
def test_a_steps_noise_has_the_standard_deviation_that_is_charged(z):
    """z C lr / B in every coordinate, within 2 %: 400 steps whose clipped gradients are nothing beside it."""
    how = LocalTraining(local_steps=1, batch_size=8, lr=0.5)
    k = kernel(DpSgd(1e-4, noise_multiplier=z, delta=1e-5), how, "dense")
    quiet = kernel(DpSgd(1e-4, noise_multiplier=0.0), how, "dense")
    noise = torch.cat(
        [
            train(k, np.array([4]), t).updates.vectors - train(quiet, np.array([4]), t).updates.vectors
            for t in range(100)
        ]
    )

    assert float(noise.std()) == pytest.approx(z * 1e-4 * 0.5 / 8, rel=0.02)
    assert abs(float(noise.mean())) < 6 * float(noise.std()) / noise.numel() ** 0.5
    alike = torch.corrcoef(noise)[~torch.eye(len(noise), dtype=torch.bool)]
    assert float(alike.abs().max()) < 6.5 / noise.shape[1] ** 0.5


def test_an_empty_batch_is_noise_alone():
    """A rate of 1 in 40 leaves many batches empty; without noise nothing moves there."""
    how = LocalTraining(local_steps=1, batch_size=1, lr=1.0)
    k, quiet = (kernel(DpSgd(1.0, noise_multiplier=z, delta=1e-5 if z else None), how) for z in (1.0, 0.0))
    empty = [t for t in range(60) if len(k.batches(4, t, 40)[0]) == 0]

    assert 5 < len(empty) < 45
    for t in empty[:3]:
        still, moved = (train(one, np.array([4]), t) for one in (quiet, k))
        assert not still.updates.vectors.any()
        assert float(still.losses) == 0
        assert float(moved.updates.vectors.std()) == pytest.approx(1.0, rel=0.3)


def test_an_example_of_nan_counts_as_zero():
    """Client 1 holds one: what it sends is finite, and that of the others is what it was."""
    privacy = DpSgd(0.3, noise_multiplier=0.0)
    whole, broken = (train(kernel(privacy, HOWS[0], data=Ragged(b))).updates.vectors for b in (False, True))

    assert bool(broken.isfinite().all())
    assert not torch.equal(broken[1], whole[1])
    assert torch.allclose(broken[[0, 2, 3, 4, 5]], whole[[0, 2, 3, 4, 5]], atol=1e-7)


def test_an_attacker_twists_its_private_gradient_and_nobody_elses():
    """One step without momentum: the gradient's sign turned is the update's sign turned."""

    class Back:
        def steer(self, gradient, params, received):
            return -gradient

    how, privacy = LocalTraining(local_steps=1, batch_size=8), DpSgd(0.3, noise_multiplier=0.7, delta=1e-5)
    honest = train(kernel(privacy, how)).updates.vectors
    twisted = train(kernel(privacy, how, steers=(Role("back", Back(), (3,)),))).updates.vectors

    signs = torch.tensor([1.0, 1.0, 1.0, -1.0, 1.0, 1.0])
    assert torch.allclose(twisted, honest * signs[:, None], atol=1e-7)


def test_padded_widths_are_few_and_never_smaller():
    found = {_width(n) for n in range(1, 1025)}

    assert all(n <= _width(n) <= 1.125 * n for n in range(1, 1025))
    assert len(found) == 15 + 8 * 6 + 1


def test_poisson_batches_have_the_rate_and_the_number_that_is_charged():
    """400 steps of 40 examples at 8 / 40: 3200 draws, standard deviation 50.6; each example 80, 8."""
    how = LocalTraining(local_steps=400, batch_size=8)
    batches = poisson_batches(40, 40, how, generator(0, "batches"))
    counts = np.bincount(np.concatenate(batches), minlength=40)

    assert len(batches) == step_sampling(40, how, poisson=True).draws == 400
    assert step_sampling(40, how, poisson=True).rate == 0.2
    assert abs(counts.sum() - 3200) < 5 * 50.6
    assert np.abs(counts - 80).max() < 5 * 8
    assert len({len(batch) for batch in batches}) > 5


@pytest.mark.parametrize(
    ("how", "examples", "poisson", "shuffle"),
    [
        (LocalTraining(local_epochs=2, batch_size=8), 20, (0.4, 6), (1.0, 2)),
        (LocalTraining(local_epochs=3, batch_size=0), 20, (1.0, 3), (1.0, 3)),
        (LocalTraining(local_epochs=1, batch_size=64), 20, (1.0, 1), (1.0, 1)),
        (LocalTraining(local_steps=7, batch_size=8), 20, (0.4, 7), (1.0, 3)),
    ],
)
def test_a_client_draws_as_often_as_it_takes_steps_or_passes(how, examples, poisson, shuffle):
    """By hand: 20 examples in batches of 8 are 3 steps a pass; 7 steps begin a third pass."""
    assert (lambda s: (s.rate, s.draws))(step_sampling(examples, how, True)) == poisson
    assert (lambda s: (s.rate, s.draws))(step_sampling(examples, how, False)) == shuffle


@pytest.mark.parametrize(
    ("layer", "words"), [(nn.BatchNorm2d(2), "batch statistics"), (nn.LSTM(6, 6), "recurrent")]
)
def test_a_model_that_mixes_its_examples_is_refused_in_one_line(layer, words):
    MODELS["refused"] = lambda: nn.Sequential(layer, nn.Flatten(), nn.Linear(72, 4))
    with pytest.raises(ScenarioError, match=f"the gradient of each one alone: .*{words}"):
        kernel(DpSgd(1.0, noise_multiplier=1.0, delta=1e-5), HOWS[0], "refused")
    del MODELS["refused"]
