"""Oracle: images written out by hand; robustness spec 3.1 and 9 (excluded: examples of the target)."""

import pytest
import torch

from gauntlet.attacks.poisoning.pixel_backdoor import TWO_ROWS, PixelBackdoor
from gauntlet.core.seeds import generator


def test_the_trigger_sets_its_pixels_in_every_channel_and_no_other():
    x = torch.full((2, 3, 3, 4), 0.25)
    stamped = PixelBackdoor(pixels=((0, 1), (-1, -1)), value=1.0).trigger(x)
    by_hand = torch.tensor([[0.25, 1, 0.25, 0.25], [0.25] * 4, [0.25, 0.25, 0.25, 1]])
    assert torch.equal(stamped, by_hand.expand(2, 3, 3, 4))
    assert torch.equal(x, torch.full((2, 3, 3, 4), 0.25))


def test_negative_pixels_count_from_the_bottom_right():
    """FLDetector's trigger on 28 x 28, both ways."""
    x = torch.rand(2, 1, 28, 28)
    from_top = PixelBackdoor(pixels=((26, 26), (24, 26), (26, 24), (25, 25)))
    from_bottom = PixelBackdoor(pixels=((-2, -2), (-4, -2), (-2, -4), (-3, -3)))
    assert torch.equal(from_top.trigger(x), from_bottom.trigger(x))


def test_the_default_is_twelve_pixels_in_two_rows_at_the_top_left():
    assert len(set(TWO_ROWS)) == 12
    assert {row for row, _ in TWO_ROWS} == {0, 1}
    assert max(column for _, column in TWO_ROWS) < 8


def test_a_fraction_of_the_examples_is_stamped_and_relabelled_and_the_rest_left_alone():
    """By hand: 3 of 12 examples, all black before, of class 5."""
    attack = PixelBackdoor(target=2, fraction=0.25, pixels=((0, 0),))
    x, y = torch.zeros(12, 1, 2, 2), torch.full((12,), 5)
    new_x, new_y = attack.poison(x, y, generator(0, "poison"))
    hit = new_y == 2
    assert int(hit.sum()) == 3
    assert new_x[hit].flatten(1).tolist() == [[1.0, 0, 0, 0]] * 3
    assert torch.equal(new_x[~hit], x[~hit])
    assert set(new_y[~hit].tolist()) == {5}


def test_other_examples_are_drawn_in_another_round():
    attack, x, y = PixelBackdoor(), torch.zeros(40, 1, 8, 8), torch.full((40,), 5)
    first, second = (attack.poison(x, y, generator(0, "poison", t))[1] for t in range(2))
    assert not torch.equal(first, second)


def test_even_a_single_example_is_poisoned():
    _, y = PixelBackdoor(fraction=0.1).poison(torch.zeros(1, 1, 8, 8), torch.tensor([5]), generator(0, "p"))
    assert y.tolist() == [2]


def test_success_is_measured_on_triggered_examples_of_the_other_classes():
    x, y = torch.zeros(4, 1, 2, 2), torch.tensor([0, 2, 1, 2])
    goal = PixelBackdoor(target=2, pixels=((0, 0),)).goal(x, y)
    assert goal.truth.tolist() == [0, 1]
    assert goal.wanted.tolist() == [2, 2]
    assert goal.x[:, 0, 0, 0].tolist() == [1.0, 1.0]
    assert goal.x.sum() == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": -1}, "target must be a class from 0, got -1"),
        ({"fraction": 0.0}, "fraction must be above 0"),
        ({"fraction": 1.5}, "at most 1, got 1.5"),
        ({"value": 2.0}, "between 0 and 1, got 2.0"),
        ({"pixels": ()}, "at least one pixel"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        PixelBackdoor(**options)


def test_a_pixel_outside_the_image_and_inputs_that_are_no_images_are_refused():
    with pytest.raises(ValueError, match=r"pixel \(26, 26\) is outside images of 8 x 8"):
        PixelBackdoor(pixels=((26, 26),)).trigger(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"needs images .* got shape \(3, 13\)"):
        PixelBackdoor().trigger(torch.zeros(3, 13))
