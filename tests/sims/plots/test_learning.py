"""Accuracy and loss: numbers calculated by hand and read back from the picture's own lines."""

import numpy as np
import pandas as pd
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.learning import accuracy, accuracy_by_bytes, loss
from gauntlet.sims.sweep import sweep


def legend(figure):
    (box,) = figure.legends
    return [text.get_text() for text in box.get_texts()], box.get_title().get_text()


def test_a_line_goes_through_the_mean_of_the_seeds_in_evaluated_rounds(recorded):
    runs = [
        recorded("mean", 0, accuracy=[0.1, np.nan, 0.3]),
        recorded("mean", 1, accuracy=[0.3, np.nan, 0.7]),
        recorded("median", 0, accuracy=[0.2, np.nan, 0.8]),
    ]

    figure, table = accuracy(runs)

    mean, median = figure.axes[0].lines
    assert mean.get_xdata().tolist() == [0, 2]
    assert mean.get_ydata().tolist() == pytest.approx([0.2, 0.5])
    assert median.get_ydata().tolist() == [0.2, 0.8]
    assert table["accuracy"].tolist() == pytest.approx([0.2, 0.5, 0.2, 0.8])
    assert legend(figure) == (["mean (n = 2)", "median"], "mean of n seeds, band: min to max")
    assert mean.get_color() != median.get_color()
    assert mean.get_marker() != median.get_marker()


def test_only_lines_with_several_seeds_have_a_band_and_it_spans_the_seeds(recorded):
    runs = [recorded("a", 0, accuracy=[0.1, 0.3]), recorded("a", 1, accuracy=[0.3, 0.7]), recorded("b")]

    figure, _ = accuracy(runs)

    (band,) = figure.axes[0].collections
    corners = {(x, round(y, 6)) for x, y in band.get_paths()[0].vertices}
    assert corners == {(0, 0.1), (0, 0.3), (1, 0.3), (1, 0.7)}


def test_without_several_seeds_the_legend_speaks_of_no_band(recorded):
    assert legend(accuracy([recorded("a", accuracy=[0.1, 0.2])])[0]) == (["a"], "")


def test_many_long_labels_leave_the_lines_their_room(recorded):
    """Ten labels of two lines each were 0.17 inches a line of a picture of 4, and the axes collapsed."""
    long = [f"pixels = {[[n, n]] * 12} count = {n}" for n in range(10)]
    figure, _ = accuracy([recorded(name, accuracy=[0.1, 0.2]) for name in long])
    short, _ = accuracy([recorded(str(n), accuracy=[0.1, 0.2]) for n in range(10)])
    figure.draw_without_rendering()
    short.draw_without_rendering()
    height = [part.axes[0].get_window_extent().height / part.dpi for part in (figure, short)]
    assert min(height) > 1
    assert short.get_figheight() < figure.get_figheight()


def test_the_axes_are_named_and_accuracy_is_in_percent(recorded):
    figure, _ = accuracy([recorded(accuracy=[0.0, 1.0])])
    axes = figure.axes[0]
    figure.draw_without_rendering()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Round", "Test accuracy")
    assert "40 %" in [text.get_text() for text in axes.get_yticklabels()]


def test_loss_draws_the_loss(recorded):
    figure, table = loss([recorded(loss=[2.3, 1.5])])
    assert table["loss"].tolist() == figure.axes[0].lines[0].get_ydata().tolist() == [2.3, 1.5]
    assert figure.axes[0].get_ylabel() == "Test loss"


def test_by_bytes_the_x_axis_counts_megabytes_sent_by_all_clients_so_far(recorded):
    runs = [
        recorded("a", 0, accuracy=[0.1, 0.2], total_bytes_up=[1_000_000, 2_000_000]),
        recorded("a", 1, accuracy=[0.3, 0.4], total_bytes_up=[2_000_000, 5_000_000]),
    ]

    figure, table = accuracy(runs, by="bytes")

    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == table["megabytes_up"].tolist() == [1.5, 3.5]
    assert line.get_ydata().tolist() == pytest.approx([0.2, 0.3])
    assert figure.axes[0].get_xscale() == "linear"


def test_runs_of_very_different_size_get_a_logarithmic_byte_axis(recorded):
    runs = [recorded("a", total_bytes_up=[1_000]), recorded("b", total_bytes_up=[11_000])]
    assert accuracy(runs, by="bytes")[0].axes[0].get_xscale() == "log"


def test_a_run_that_was_never_evaluated_is_refused_and_told_what_would_help(recorded):
    with pytest.raises(ScenarioError, match="no round of these runs was evaluated; a run that evaluates"):
        accuracy([recorded(accuracy=[np.nan, np.nan])])


def test_another_x_axis_is_refused(recorded):
    with pytest.raises(ScenarioError, match="unknown x axis 'byte'; did you mean 'bytes'"):
        accuracy([recorded()], by="byte")


@pytest.mark.parametrize("draw", [accuracy, loss, accuracy_by_bytes])
def test_above_ten_labels_the_first_ten_are_drawn_and_the_picture_says_so(recorded, draw):
    figure, table = draw([recorded(f"run {i}", accuracy=[0.1, 0.2]) for i in range(12)])

    assert figure.get_supxlabel() == "The first 10 of 12 labels; gauntlet plot --only KEY=VALUE draws others."
    assert legend(figure)[0] == [f"run {i}" for i in range(10)]
    assert table["label"].nunique() == 10
    assert draw([recorded(f"run {i}") for i in range(10)])[0].get_supxlabel() == ""


def test_the_console_says_which_labels_are_left_out(gauntlet, tiny, tmp_path):
    """Eleven labels: a line is lost, in the CSV too; taken apart they are all drawn."""
    sweep(tiny(rounds=1, sweep={"training.lr": [0.1 * n for n in range(1, 12)]}), tmp_path / "s")

    told = gauntlet("plot", "accuracy", "s", "--out", "a.png")
    assert told.stdout == "a.png\n"
    assert told.stderr.startswith("note: The first 10 of 11 labels; gauntlet plot --only KEY=VALUE")
    assert pd.read_csv(tmp_path / "a.csv")["label"].nunique() == 10
    assert gauntlet("plot", "accuracy", "s", "--only", "training.lr=1.1", "--out", "b.png").stderr == ""
