"""The look of all pictures."""

import pytest
from matplotlib.figure import Figure

from gauntlet.sims.plots.style import OKABE_ITO, add_caption, logarithmic, new_figure, styles, whole_numbers


def test_sixty_four_labels_all_look_different():
    looks = styles(str(i) for i in range(64))
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == 64


def test_the_first_eight_labels_have_the_eight_colours_of_okabe_and_ito():
    """Okabe, Ito (2008): black, orange, sky blue, bluish green, yellow, blue, vermillion, reddish purple."""
    published = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert {look["color"] for look in styles("abcdefgh").values()} == published == set(OKABE_ITO)


def test_a_logarithmic_axis_of_points_that_nearly_coincide_still_has_named_ticks():
    """By hand: 3 and 3.00001 lie in the middle of 1.5 to 6."""
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([3.0, 3.00001], [0.5, 0.6])
    logarithmic(axes)
    figure.canvas.draw()
    low, high = axes.get_xlim()
    named = [tick.get_text() for tick in axes.get_xticklabels() if low <= tick.get_position()[0] <= high]

    assert (low, high) == pytest.approx((1.5, 6.0), rel=1e-4)
    assert {"2", "3", "4", "5"} <= set(named)


def test_a_logarithmic_axis_within_one_decade_still_has_named_ticks():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([2.1, 4.7], [0, 1])

    logarithmic(axes)
    figure.draw_without_rendering()

    low, high = axes.get_xlim()
    names = [t.label1.get_text() for t in axes.xaxis.get_major_ticks() if low <= t.get_loc() <= high]
    assert names == ["3", "4"] or names == ["2", "3", "4"]


@pytest.mark.parametrize("width", [3.0, 5.0, 9.0])
def test_small_print_stays_inside_the_picture(width):
    figure = new_figure(width, 2.0)
    figure.subplots()
    add_caption(
        figure, "Over all rounds. Small: false alarms, the share of honest updates that were flagged. " * 2
    )
    figure.canvas.draw()
    box = figure._supxlabel.get_window_extent()

    assert box.x1 <= figure.bbox.x1
    assert box.y0 >= figure.bbox.y0


def test_one_round_alone_has_a_whole_number():
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([0], [1], "o")
    whole_numbers(axes)
    figure.draw_without_rendering()

    assert [tick for tick in axes.get_xticks() if tick != round(tick)] == []
