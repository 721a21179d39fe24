"""Pictures for papers: their size, names, bands and style; a gallery of one truth; heat maps with a bar."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots import PLOTS, draw, draw_to, taking
from gauntlet.sims.plots.base import over_seeds
from gauntlet.sims.plots.look import COLUMN, PAGE, Look, labels_of, replaced
from gauntlet.sims.plots.matrix import heat_maps, numbers_of


@pytest.fixture
def two(recorded):
    """Two labels of two seeds."""
    return [
        recorded(label, seed, accuracy=[0.1, 0.5 + seed / 10, 0.6 + seed / 10])
        for label in ("krum", "trimmed_mean")
        for seed in (0, 1)
    ]


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize(("size", "width"), [("column", COLUMN), ("page", PAGE), ("5,2.5", 5.0)])
def test_a_picture_has_the_width_that_is_asked_for(size, width, two, tmp_path):
    """300 dots an inch; the height follows from the plot's shape, or is asked for."""
    path = draw_to(tmp_path / "a.png", "accuracy", two, Look(size))

    with Image.open(path) as picture:
        assert picture.width == pytest.approx(300 * width, abs=1)
        assert size != "5,2.5" or picture.height == 750
        assert picture.height < 1.2 * picture.width


def test_letters_of_a_column_are_seven_points_and_of_a_page_eight(two):
    """Three quarters of 9 points, and nine tenths."""
    for size, points in ((None, 9.0), ("column", 6.75), ("page", 8.1)):
        axes = draw("accuracy", two, Look(size)).axes[0]
        assert axes.get_xticklabels()[0].get_fontsize() == pytest.approx(points)
        assert axes.get_legend() is None


def test_small_print_of_a_picture_of_an_asked_size_stands_beside_it(recorded, tmp_path):
    runs = [recorded(f"l{n}", accuracy=[0.1, 0.2]) for n in range(12)]
    draw_to(tmp_path / "own.png", "accuracy", runs)
    draw_to(tmp_path / "column.png", "accuracy", runs, Look("column"))

    assert not (tmp_path / "own.txt").exists()
    assert (tmp_path / "column.txt").read_text().startswith("The first 10 of 12 labels")
    assert (tmp_path / "column.csv").read_text() == (tmp_path / "own.csv").read_text()


def test_names_are_replaced_as_whole_words_in_the_picture_and_in_the_numbers(two, tmp_path):
    look = Look(labels={"trimmed_mean": "Trimmed mean", "Test accuracy": "Accuracy", "krum": "trimmed_mean"})
    said = texts(draw("accuracy", two, look))
    draw_to(tmp_path / "a.svg", "accuracy", two, look)

    assert {"Trimmed mean (n = 2)", "trimmed_mean (n = 2)", "Accuracy"} <= set(said)
    assert set(pd.read_csv(tmp_path / "a.csv")["label"]) == {"Trimmed mean", "trimmed_mean"}
    assert ">Trimmed mean (n = 2)</text>" in (tmp_path / "a.svg").read_text()
    assert replaced("multi_krum, krum=2, a.krum", {"krum": "K"}) == "multi_krum, K=2, a.krum"
    assert replaced("a long\nname", {"a long name": "b"}) == "b"  # as a legend breaks it


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Look("clumn"), "a size is column, page or W,H in inches such as 5,3; got 'clumn'"),
        (lambda: Look("0.5,3"), "a picture's sides are 1.5 to 40 inches, got '0.5,3'"),
        (lambda: Look("nan,3"), "a picture's sides are 1.5 to 40 inches"),
        (lambda: labels_of(["krum"]), "--label needs old=new, got 'krum'"),
        (lambda: labels_of(["=x"]), "--label needs old=new"),
        (lambda: labels_of(["a=x", "a=y"]), "--label names 'a' twice"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, said):
    with pytest.raises(ScenarioError, match=said.replace("(", r"\(")):
        make()


def test_a_name_that_is_not_in_the_picture_and_an_unknown_style_are_refused(two):
    with pytest.raises(ScenarioError, match=r"no text of this picture has 'mean'; it has: .*krum"):
        draw("accuracy", two, Look(labels={"mean": "M"}))
    with pytest.raises(ScenarioError, match="unknown style 'greyscale'; did you mean 'grayscale'"):
        draw("accuracy", two, Look(style="greyscale"))
    with pytest.raises(ScenarioError, match=r"style no\.mplstyle cannot be read"):
        draw("accuracy", two, Look(style="no.mplstyle"))


def test_a_style_gives_its_colours_and_ends_with_the_picture(two, tmp_path):
    (tmp_path / "mine.mplstyle").write_text("axes.prop_cycle: cycler('color', ['112233', '445566'])\n")
    mine = draw("accuracy", two, Look(style=str(tmp_path / "mine.mplstyle"))).axes[0]
    ours = draw("accuracy", two).axes[0]

    assert [line.get_color() for line in mine.lines][:2] == ["#112233", "#445566"]
    assert ours.lines[0].get_color() == "#0072B2"


def test_the_confidence_interval_is_students(recorded):
    """By hand: 0.5 and 0.7 have mean 0.6 and standard deviation 0.1414; t(0.975, 1) = 12.7062."""
    runs = [recorded("a", seed, accuracy=[value]) for seed, value in enumerate((0.5, 0.7))]
    row = over_seeds(runs, ["accuracy"], band="ci").iloc[0]

    assert row["accuracy_high"] - 0.6 == pytest.approx(12.7062 * 0.141421 / 2**0.5, rel=1e-4)
    one = over_seeds([recorded("a", accuracy=[0.5])], ["accuracy"], band="ci").iloc[0]
    assert one["accuracy_low"] == one["accuracy_high"] == 0.5


@pytest.mark.parametrize("name", taking("band"))
def test_every_plot_with_a_band_refuses_one_that_it_does_not_know(name, two):
    with pytest.raises(ScenarioError, match=r"unknown band 'sdt'|there is no"):
        draw(name, two, band="sdt")


def test_a_gallery_has_one_true_row_and_one_for_every_setting(recorded, rebuilt):
    truth = np.stack([np.full((1, 4, 4), 0.2), np.eye(4)[None]])
    near, far = rebuilt(truth, truth, [50.0, 40.0], [1, 1]), rebuilt(truth, 1 - truth, [5.0, 3.0], [0, 0])
    other = rebuilt(truth[::-1], truth, [1.0, 1.0], [0, 0])
    runs = [recorded("mean", items=[near]), recorded("noise", items=[far]), recorded("else", items=[other])]
    figure = draw("gallery", runs)

    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["true", "mean", "noise"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "50.0 dB", "40.0 dB", "5.0 dB", "3.0 dB"]
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert np.array_equal(shown[0], shown[2])
    assert "1 rebuilt messages of other examples are not shown" in figure.get_supxlabel().replace("\n", " ")


def test_a_gallery_of_nothing_is_refused(recorded):
    with pytest.raises(ScenarioError, match="there is no reconstruction to draw"):
        draw("gallery", [recorded("a")])
    assert "gallery" in PLOTS


def test_a_heat_map_has_a_bar_in_percent_and_its_numbers_are_those_drawn():
    table = pd.DataFrame(
        {
            "defense": ["mean", "mean"],
            "share": [0.2, 0.2],
            "attack": ["no attack", "worst case"],
            "best_accuracy": [0.9, 0.45],
            "drop": [0.0, 0.45],
        }
    )
    figure = heat_maps(table, "accuracy")
    figure.draw_without_rendering()
    panel, bar = figure.axes

    assert [tick.get_text() for tick in bar.get_yticklabels()][:: len(bar.get_yticks()) - 1] == ["0", "100"]
    assert bar.get_position().x0 > panel.get_position().x1
    assert list(numbers_of(table, "drop")) == ["share", "defense", "attack", "drop"]
