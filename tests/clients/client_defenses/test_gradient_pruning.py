"""Gradient pruning by hand."""

import pytest
import torch

from gauntlet.clients.client_defenses.gradient_pruning import GradientPruning
from gauntlet.core.layout import Layout, Slot

LAYOUT = Layout((Slot("weight", (2, 3), 0), Slot("bias", (4,), 6)))
UPDATE = torch.tensor(
    [
        [1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 10.0, -20.0, 30.0, -40.0],
        [6.0, 5.0, -4.0, 3.0, 2.0, 1.0, 0.4, 0.3, -0.2, 0.1],
    ]
)


class Place:
    layout = LAYOUT


def pruned(**options):
    return GradientPruning(**options).change(UPDATE, Place())


def test_half_of_every_tensor_goes_by_hand():
    """3 of 6 and 2 of 4 entries, the smallest in magnitude."""
    assert pruned(rate=0.5).tolist() == [
        [0.0, 0.0, 0.0, -4.0, 5.0, -6.0, 0.0, 0.0, 30.0, -40.0],
        [6.0, 5.0, -4.0, 0.0, 0.0, 0.0, pytest.approx(0.4), pytest.approx(0.3), 0.0, 0.0],
    ]


def test_half_of_the_whole_update_goes_by_hand():
    """The 5 smallest of 10, wherever they are."""
    assert pruned(rate=0.5, per="update").tolist() == [
        [0.0, 0.0, 0.0, 0.0, 0.0, -6.0, 10.0, -20.0, 30.0, -40.0],
        [6.0, 5.0, -4.0, 3.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ]


@pytest.mark.parametrize(
    ("rate", "kept"), [(0.0, [6, 4]), (0.2, [5, 4]), (0.5, [3, 2]), (0.75, [2, 1]), (0.99, [1, 1])]
)
def test_floor_of_rate_times_n_entries_go(rate, kept):
    """By hand: of 6 and 4, floor(0.2 * 6) = 1 and 0; floor(0.75 * 6) = 4 and 3; floor(0.99 * n) = n - 1."""
    found = pruned(rate=rate)
    assert (found[:, :6] != 0).sum(dim=1).tolist() == [kept[0]] * 2
    assert (found[:, 6:] != 0).sum(dim=1).tolist() == [kept[1]] * 2


def test_it_is_torchs_quantile_without_ties():
    """A public library's rule: zero what lies below the percentile of the magnitudes."""
    drawn = torch.randn(3, 1001, generator=torch.Generator().manual_seed(0))
    place = type("Place", (), {"layout": Layout((Slot("w", (1001,), 0),))})()
    found = GradientPruning(rate=0.9).change(drawn, place)
    border = torch.quantile(drawn.abs(), 0.9, dim=1, keepdim=True)
    assert torch.equal(found, drawn.where(drawn.abs() >= border, 0.0))
    assert (found != 0).sum(dim=1).tolist() == [101] * 3


def test_what_is_equal_at_the_border_stays():
    drawn = torch.tensor([[1.0, -1.0, 1.0, 1.0]])
    place = type("Place", (), {"layout": Layout((Slot("w", (4,), 0),))})()
    assert GradientPruning(rate=0.5).change(drawn, place).tolist() == drawn.tolist()


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_that_cannot_be_is_refused(rate):
    with pytest.raises(ValueError, match="rate must be at least 0 and below 1"):
        GradientPruning(rate=rate)
