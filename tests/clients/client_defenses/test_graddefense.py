"""GradDefense beside sensitivities that are computed here."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.clients.client_defenses.graddefense import GradDefense
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout


def sensitivities_by_hand(net, x, y):
    """Mean over examples of || d (sum of a tensor's gradient) / d x ||, by finite differences in float64."""
    net, x = net.double(), x.double()
    step, slopes = 1e-6, torch.zeros(4, len(x), 9, dtype=torch.float64)
    for b in range(len(x)):
        for pixel in range(9):
            sums = []
            for sign in (1, -1):
                moved = x.clone()
                moved[b].view(-1)[pixel] += sign * step
                loss = functional.cross_entropy(net(moved), y)
                sums.append(torch.stack([g.sum() for g in torch.autograd.grad(loss, list(net.parameters()))]))
            slopes[:, b, pixel] = (sums[0] - sums[1]) / (2 * step)
    net.float()
    return slopes.norm(dim=2).mean(dim=1)


@pytest.mark.parametrize("client", [0, 1])
def test_slices_are_runs_of_equal_sensitivity(net, visit_of, client):
    """Every slice holds a quarter of the total, but for the entries on its borders."""
    layout = Layout.of(net)
    sizes = [slot.size for slot in layout.parameters]
    defense = GradDefense(slices=4, perturbed=1, noise_std=1.0)
    expected = sensitivities_by_hand(net, *visit_of(defense, net).batch(client))
    numbers = defense._slices(expected, sizes)
    assert (numbers[1:] >= numbers[:-1]).all()
    shares = torch.repeat_interleave(expected / torch.tensor(sizes), torch.tensor(sizes))
    for number in range(4):
        held = shares[torch.from_numpy(numbers == number)].sum() / shares.sum()
        assert float(held) == pytest.approx(0.25, abs=2 * float(shares.max() / shares.sum()))

    update = torch.zeros(1, layout.num_parameters)
    seen = set()
    for seed in range(12):
        noised = defense.change(update, visit_of(defense, net, ids=[client], seed=seed))[0] != 0
        (number,) = set(numbers[noised.numpy()].tolist())  # one slice alone, and all of it
        assert int(noised.sum()) == int((numbers == number).sum())
        seen.add(number)
    assert len(seen) > 1


def test_all_slices_are_noise_everywhere(net, visit_of, update_of):
    defense, update = GradDefense(slices=3, perturbed=3, noise_std=0.5), update_of(net)
    added = defense.change(update, visit_of(defense, net)) - update
    assert bool((added != 0).all())
    assert float(added.std()) == pytest.approx(0.5, rel=0.1)


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 2), nn.Linear(18, 4)

    def forward(self, x):
        return self.head(self.table(x.flatten(1).long()).flatten(1))


def test_a_model_without_such_derivatives_is_refused():
    with pytest.raises(PluginError, match="needs the derivatives of a model's gradient, by its inputs"):
        GradDefense().check(Tokens(), (1, 3, 3))


@pytest.mark.parametrize("options", [{"slices": 0}, {"perturbed": 11}, {"noise_std": -1.0}])
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        GradDefense(**options)
