"""CENSOR beside its definition."""

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional

from gauntlet.clients.client_defenses.censor import Censor
from gauntlet.core.layout import Layout


def test_every_tensor_is_orthogonal_to_the_update_and_as_long(net, visit_of, update_of):
    """Whatever the tensor's norm: the authors' code divides by it once too few."""
    for std in (0.001, 0.1, 30.0):
        update = update_of(net, std)
        found = Censor(trials=2).change(update, visit_of(Censor(), net))
        before, after = (Layout.of(net).views(u) for u in (update, found))
        for name, tensor in before.items():
            for a, b in zip(tensor.flatten(1).double(), after[name].flatten(1).double(), strict=True):
                assert abs(float(functional.cosine_similarity(a, b, dim=0))) < 1e-5
                assert float(b.norm()) == pytest.approx(float(a.norm()), rel=1e-4)


def test_of_several_draws_the_one_of_least_loss_is_taken(net, visit_of, update_of):
    """Whatever is let out has at most the loss of what fewer trials let out: the first draws are the same."""
    update, base = update_of(net, 1.0), Layout.of(net)
    params = base.flatten(dict(net.named_parameters())).detach()
    losses = []
    for trials in (1, 4, 40):
        visit = visit_of(Censor(), net)
        found = Censor(trials=trials).change(update, visit)
        batches = [visit.batch(i) for i in range(2)]
        losses.append([])
        for row, (x, y) in zip(found, batches, strict=True):
            at = functional_call(net, base.views(params + row), (x,))
            losses[-1].append(float(functional.cross_entropy(at, y)))
    for client in range(2):
        assert losses[0][client] >= losses[1][client] >= losses[2][client]
        assert losses[0][client] > losses[2][client]


def test_nothing_is_orthogonal_in_one_dimension(visit_of):
    """A bias of one entry is let out as 0."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 1), torch.nn.Linear(1, 4))
    update = torch.ones(2, Layout.of(net).num_parameters)
    found = Layout.of(net).views(Censor().change(update, visit_of(Censor(), net)))
    assert found["1.bias"].tolist() == [[0.0], [0.0]]


def test_a_client_that_diverged_stays_so(net, visit_of, update_of):
    update = update_of(net)
    update[0, 3] = torch.nan
    found = Censor().change(update, visit_of(Censor(), net))
    assert not bool(found[0].isfinite().all())
    assert bool(found[1].isfinite().all())


def test_no_trials_are_refused():
    with pytest.raises(ValueError, match="trials must be at least 1, got 0"):
        Censor(trials=0)
