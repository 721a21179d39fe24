"""What a procedure sees of a client: gradients of the run's own model, and what it prepared once."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.data.synthetic import SyntheticPopulation
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.clients.training.procedure import Visits
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.privacy.no_privacy import NoPrivacy

DATA = SyntheticPopulation(num_features=5, num_classes=3, examples_per_client=12).populate(4, 0)


@dataclass(frozen=True)
class Looks:
    """Sends what a visit shows: ``see`` says what."""

    see: object
    first: object = None

    def schedule(self, training):
        return training

    def work(self, visit):
        return self.see(visit), torch.zeros(())

    def prepare(self, visit):
        return None if self.first is None else self.first(visit)

    def init(self):
        return None

    def step(self, params, aggregate, state):
        return params + aggregate, state


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3))


def sent(see, first=None, round_=3, extra=None, model=None):
    model = model or net()
    params = Layout.of(model).flatten(dict(model.named_parameters())) * 1.5
    kernel = BlockKernel(DATA, model, Looks(see, first), LocalTraining(), NoPrivacy(), (), 7)
    extra = torch.zeros(0, 0) if extra is None else extra
    broadcast = Broadcast(round_, params, torch.zeros(0), extra)
    return kernel.train(broadcast, np.array([1, 2])).updates.vectors, params


def autograd(params, rows=slice(None)):
    """The mean loss's gradient on client 2's examples, dropout off, by torch's own module."""
    model = net().eval()
    with torch.no_grad():
        views = Layout.of(model).views(params)
        for name, parameter in model.named_parameters():
            parameter.copy_(views[name])
    x, y = DATA.client(2)
    nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def test_a_gradient_is_that_of_the_mean_loss():
    vectors, params = sent(lambda visit: visit.gradient(visit.received)[0])
    assert vectors[1] == pytest.approx(autograd(params), abs=1e-6)


def test_a_gradient_of_some_examples_is_theirs_alone():
    vectors, params = sent(lambda visit: visit.gradient(visit.received, np.array([0, 5]))[0])
    assert vectors[1] == pytest.approx(autograd(params, [0, 5]), abs=1e-6)


def test_every_examples_gradient_is_what_it_would_be_alone():
    vectors, params = sent(lambda visit: visit.example_gradients(visit.received, np.array([4, 9]))[1])
    assert vectors[1] == pytest.approx(autograd(params, [9]), abs=1e-6)


def test_the_steps_of_local_sgd_are_those_that_fedavg_takes():
    """Descended by hand along the visit's own batches, a client ends where the engine's rule ends."""
    how = LocalTraining(local_epochs=2, batch_size=5, lr=0.2)

    def walk(visit):
        assert (visit.training, visit.layout) == (how, Layout.of(plain()))
        local = visit.received.clone()
        for rows in visit.batches():
            x, y = visit.examples(rows)

            def value(model, x=x, y=y):
                loss = visit.loss(model(x), y)
                return loss, loss

            local.add_(visit.differentiated(local, value)[0], alpha=-visit.training.lr)
        return local - visit.received

    found = []
    for rule in (Looks(walk), FedAvg()):
        model = plain()
        params = Layout.of(model).flatten(dict(model.named_parameters()))
        kernel = BlockKernel(DATA, model, rule, how, NoPrivacy(), (), 7)
        found.append(kernel.train(Broadcast(3, params, torch.zeros(0)), np.array([1, 2])).updates.vectors)
    assert torch.equal(*found)


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


def test_what_is_differentiated_need_not_be_what_is_told():
    """The sum of the first layer's weights has gradient 1 there and 0 elsewhere; beside it comes a 7."""

    def walk(visit):
        gradient, seven = visit.differentiated(
            visit.received, lambda model: (model[0].weight.sum(), torch.tensor(7.0))
        )
        return gradient + 10 * (seven - 7)

    vectors, _ = sent(walk)
    assert vectors[0].tolist() == [1.0] * 20 + [0.0] * 19


def test_outputs_and_gradients_at_other_labels_are_those_of_the_model():
    """The cross-entropy at the model's own outputs gives the loss back; other labels, another gradient."""

    def loss_of_outputs(visit):
        out = visit.outputs(visit.received, np.array([4, 9]))
        labels = torch.tensor([0, 1])
        gradients = visit.example_gradients(visit.received, np.array([4, 9]), labels)
        bias = out.softmax(dim=1) - torch.nn.functional.one_hot(labels, out.shape[1])
        assert torch.allclose(gradients[:, -out.shape[1] :], bias, atol=1e-6)
        return torch.full_like(visit.received, float(out.requires_grad))

    vectors, _ = sent(loss_of_outputs)
    assert not vectors.any()


def test_what_the_server_sends_besides_arrives():
    extra = torch.arange(2 * 39.0).view(2, 39)
    vectors, _ = sent(lambda visit: visit.extra[1], extra=extra)
    assert torch.equal(vectors[0], extra[1])


def test_what_a_client_prepares_depends_on_neither_the_round_nor_the_parameters():
    """A worker that joins in round 9 prepares what one prepared in round 0: from the run's initial model."""

    def first(visit):
        return visit.gradient(visit.received)[0] + float(visit.stream("first").random())

    early, _ = sent(lambda visit: visit.memory, first, round_=0)
    late, _ = sent(lambda visit: visit.memory, first, round_=9)

    assert torch.equal(early, late)
    assert not torch.equal(early[0], early[1])


def test_what_a_client_prepares_is_made_of_the_examples_of_round_0():
    """An attack may poison examples anew in every round: whoever prepares later must see the same ones."""
    seen = []

    def examples(client_id, round_):
        x, y = DATA.client(client_id)
        return x + round_, y

    def first(visit):
        seen.append(float(visit.x.mean()))
        return visit.received

    model = net()
    flat = torch.zeros(39), torch.zeros(39)
    rule = Looks(lambda visit: visit.received, first)
    visits = Visits(rule, model, nn.functional.cross_entropy, flat, 7, DATA, examples)
    visits.train(Broadcast(5, torch.zeros(39), torch.zeros(0)), np.array([2]))

    assert seen == [float(DATA.client(2)[0].mean())]


def test_a_client_prepares_once():
    calls = []

    def first(visit):
        calls.append(visit.client_id)
        return visit.received

    model = net()
    kernel = BlockKernel(DATA, model, Looks(lambda v: v.memory, first), LocalTraining(), NoPrivacy(), (), 7)
    for t in range(3):
        kernel.train(Broadcast(t, torch.zeros(39), torch.zeros(0)), np.array([0, 3]))
    assert calls == [0, 3]
