"""OUTPOST by hand, and what its public code gets wrong."""

import pytest
import torch
from torch import nn

from gauntlet.clients.client_defenses.outpost import Outpost
from gauntlet.core.layout import Layout


def test_what_is_computed_is_what_is_let_out(net, visit_of, update_of):
    """A public implementation computes all of it and returns the gradients that came."""
    update = update_of(net)
    found = Outpost().change(update, visit_of(Outpost(), net))
    assert not bool((found == update).all(dim=1).any())


def test_without_noise_the_smallest_of_every_tensor_go(net, visit_of, update_of):
    """floor(0.8 n) of each tensor, by sorting."""
    defense, update = Outpost(noise_base=0.0), update_of(net)
    found = defense.change(update, visit_of(defense, net))
    for slot in Layout.of(net).parameters:
        part = slice(slot.start, slot.start + slot.size)
        for row in range(2):
            expected = update[row, part].clone()
            expected[expected.abs().argsort()[: int(0.8 * slot.size + 1e-9)]] = 0
            assert torch.equal(found[row, part], expected)


def test_the_largest_entries_are_noised_by_the_variance_of_what_was_received(visit_of):
    """40 % of all entries; the noise there is 0.8 Var(theta), 0.8 where that is above 1."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 2000), nn.Linear(2000, 4, bias=False))
    with torch.no_grad():
        net[1].weight.normal_(std=0.5)
        net[2].weight.normal_(std=3.0)
    defense = Outpost(rate=0.0)
    update = torch.randn(2, Layout.of(net).num_parameters, generator=torch.Generator().manual_seed(1))
    added = defense.change(update, visit_of(defense, net)) - update
    noised = added != 0
    assert (noised.sum(dim=1) - int(0.4 * update.shape[1])).abs().max() <= 5  # a draw may round to 0
    border = update.abs().sort(dim=1, descending=True).values[:, int(0.4 * update.shape[1]) - 1]
    assert bool((update.abs() >= border[:, None])[noised].all())
    views = Layout.of(net).views(added)
    for name, risk in (("1.weight", 0.25), ("2.weight", 1.0)):
        drawn = views[name][views[name] != 0]
        assert float(drawn.std()) == pytest.approx(0.8 * risk, rel=0.05)


def test_it_acts_less_often_as_rounds_go_by(net, visit_of, update_of):
    """1 / (1 + 0.125 t): always in round 0, in half of the cases in round 8; by 400 clients."""
    update = update_of(net)[:1]
    for round_, chance in ((0, 1.0), (8, 0.5), (56, 0.125)):
        acted = 0
        for seed in range(400):
            visit = visit_of(Outpost(), net, round_, ids=[0], seed=seed)
            acted += not torch.equal(Outpost().change(update, visit), update)
        assert acted / 400 == pytest.approx(chance, abs=0.08)


@pytest.mark.parametrize(
    "options", [{"decay": -1.0}, {"rate": 1.0}, {"noised": 1.5}, {"noise_base": float("nan")}]
)
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Outpost(**options)
