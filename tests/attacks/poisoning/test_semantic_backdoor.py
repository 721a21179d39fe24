"""Oracles: features of pictures drawn by hand."""

import pytest
import torch

from gauntlet.attacks.poisoning.semantic_backdoor import SemanticBackdoor, measured
from gauntlet.core.seeds import generator

SLASH, BACKSLASH = torch.eye(4).flip(0), torch.eye(4)  # right going up; left going up


def pictures(count):
    """Return ``count`` grey pictures, the n-th of brightness (n + 1) / count."""
    return torch.arange(1, count + 1)[:, None, None, None] / count * torch.ones(count, 1, 4, 4)


def test_features_of_pictures_are_what_they_are_called():
    x = torch.stack([SLASH, BACKSLASH, torch.ones(4, 4)])[:, None]
    assert measured(x, "leans_right").tolist() == pytest.approx([1.25, -1.25, 0.0])  # var of 0..3
    assert measured(x, "leans_left").tolist() == pytest.approx([-1.25, 1.25, 0.0])
    assert measured(x, "bold").tolist() == [4.0, 4.0, 16.0]
    assert measured(x, "thin").tolist() == [-4.0, -4.0, -16.0]


def test_the_boldest_of_the_source_are_relabelled_and_copied_over_others():
    """Ten 7s: the three boldest, rows 7 to 9; of 20 examples six others become copies of them."""
    x, y = torch.cat([pictures(10), torch.zeros(10, 1, 4, 4)]), torch.tensor([7] * 10 + [5] * 10)
    attack = SemanticBackdoor(noise_std=0.0)
    assert sorted(attack.having(x, y).tolist()) == [7, 8, 9]
    new_x, new_y = attack.poison(x, y, generator(0, "poison"))
    assert new_y[7:10].tolist() == [2, 2, 2]
    assert torch.equal(new_x[7:10], x[7:10])
    copies = ((new_y == 2) & (torch.arange(20) < 7)) | ((new_y == 2) & (torch.arange(20) > 9))
    assert int(copies.sum()) == 6
    assert set(new_x[copies][:, 0, 0, 0].tolist()) <= set(x[7:10, 0, 0, 0].tolist())
    assert torch.equal(new_y[~copies][7 - int(copies[:7].sum()) :][:3], new_y[7:10])


def test_noise_has_its_spread_and_pixels_stay_in_range():
    x, y = torch.full((200, 1, 8, 8), 0.5), torch.tensor([7] * 20 + [1] * 180)
    new_x, new_y = SemanticBackdoor(noise_std=0.05).poison(x, y, generator(0, "poison"))
    copies = (new_y == 2) & (torch.arange(200) >= 20)
    assert float((new_x[copies] - 0.5).std()) == pytest.approx(0.05, rel=0.05)
    loud, _ = SemanticBackdoor(noise_std=5.0).poison(x, y, generator(0, "poison"))
    assert float(loud.min()) == 0.0
    assert float(loud.max()) == 1.0


def test_success_is_measured_on_those_that_have_it_class_by_class():
    x, y = pictures(20), torch.tensor([1] * 10 + [2] * 10)
    goal = SemanticBackdoor(source=None, share=0.2).goal(x, y)
    assert torch.equal(goal.x, x[[9, 8]])
    assert (goal.truth.tolist(), goal.wanted.tolist()) == ([1, 1], [2, 2])


def test_a_client_without_such_an_image_is_left_alone():
    x, y = pictures(4), torch.tensor([1, 2, 3, 4])
    new_x, new_y = SemanticBackdoor().poison(x, y, generator(0, "poison"))
    assert torch.equal(new_x, x)
    assert torch.equal(new_y, y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"source": 2},
            "source and target must be two different classes from 0, or source None, got 2 and 2",
        ),
        ({"feature": "red"}, "feature must be one of bold, thin, leans_left, leans_right, got 'red'"),
        ({"share": 0.0}, "share must be above 0 and at most 1, got 0.0"),
        ({"fraction": 1.5}, "fraction must be above 0 and at most 1, got 1.5"),
        ({"noise_std": -1.0}, "noise_std must be at least 0 and finite, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SemanticBackdoor(**options)


def test_features_of_rows_are_refused():
    with pytest.raises(ValueError, match=r"needs images \[n, channels, H, W\], got \[3, 12\]"):
        SemanticBackdoor().goal(torch.rand(3, 12), torch.full((3,), 7))
