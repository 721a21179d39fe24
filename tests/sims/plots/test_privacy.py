"""Utility against privacy: epsilon None is never a number, and guarantees are never mixed."""

from dataclasses import replace

import numpy as np
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.learning import accuracy
from gauntlet.sims.plots.privacy import accuracy_by_epsilon

CENTRAL = {
    "unit": "client",
    "relation": "add_remove",
    "sampling": "poisson",
    "accountant": "pld",
    "trust_model": "central",
}


@pytest.fixture
def private(recorded):
    def make(label, seed=0, epsilon=(1.0, 2.0), accuracy=(0.4, 0.6), delta=1e-5, **facts):
        recorded_facts = {**CENTRAL, "delta": delta, **facts}
        return recorded(
            label, seed, manifest={"versions": {"dp-accounting": "0.6.0"}}, epsilon=list(epsilon),
            accuracy=list(accuracy), epsilon_reason=None, **recorded_facts,
        )  # fmt: skip

    return make


@pytest.fixture
def lost(recorded):
    def make(label, seed=0, reason="aggregator", accuracy=(0.3, 0.7)):
        return recorded(
            label, seed, epsilon=[0.5, None], epsilon_reason=[None, reason], accuracy=list(accuracy)
        )

    return make


def entries(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_private_run_follows_its_epsilon_on_a_logarithmic_axis(private):
    figure, table = accuracy_by_epsilon([private("z=1", 0), private("z=1", 1, accuracy=(0.6, 0.8))])

    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert axes.lines[0].get_xdata().tolist() == [1.0, 2.0]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([0.5, 0.7])
    assert table["kind"].tolist() == ["guarantee", "guarantee"]
    assert table["last"].tolist() == [False, True]
    assert entries(figure) == ["z=1 (n = 2)"]


def test_rounds_before_anything_was_released_have_no_place_on_a_logarithmic_axis(private):
    _, table = accuracy_by_epsilon([private("z=1", epsilon=(0.0, 2.0))])
    assert table["epsilon"].tolist() == [2.0]


def test_where_a_run_ends_stands_a_marker_with_the_band_as_its_error_bar(private):
    figure, _ = accuracy_by_epsilon([private("z=1", 0), private("z=1", 1, accuracy=(0.6, 0.8))])
    (bar,) = figure.axes[0].containers
    data, _, (lines,) = bar.lines
    assert (data.get_xdata()[0], data.get_ydata()[0]) == pytest.approx((2.0, 0.7))
    assert lines.get_segments()[0].tolist() == [pytest.approx([2.0, 0.6]), pytest.approx([2.0, 0.8])]


def test_a_run_without_a_guarantee_stands_in_a_column_of_its_own_with_its_reason(private, lost):
    figure, table = accuracy_by_epsilon([private("z=1"), lost("krum")])

    main, column = figure.axes
    assert column.get_xlabel() == "no\nguarantee"
    assert column.containers[0].lines[0].get_ydata().tolist() == [0.7]
    assert all(0.7 not in line.get_ydata() for line in main.lines)
    row = table[table["label"] == "krum"].iloc[0]
    assert (row["kind"], row["reason"], row["round"]) == ("no_guarantee", "aggregator", 1)
    assert entries(figure) == ["z=1", "krum: no guarantee (aggregator)"]


def test_an_epsilon_that_is_lost_at_the_end_is_not_drawn_for_earlier_rounds(private, lost):
    _, table = accuracy_by_epsilon([private("z=1"), lost("krum")])
    assert (table["label"] == "krum").sum() == 1


def test_one_seed_without_a_guarantee_takes_it_from_its_label(private, lost):
    figure, table = accuracy_by_epsilon([private("z=1"), private("z=2", 0), lost("z=2", 1)])
    assert len(figure.axes) == 2
    assert table[table["label"] == "z=2"]["kind"].tolist() == ["no_guarantee"]


@pytest.mark.parametrize("epsilon", [np.inf, np.nan])
def test_an_infinite_epsilon_is_no_guarantee(private, recorded, epsilon):
    broken = recorded("b", epsilon=[epsilon], epsilon_reason="not_finite", accuracy=[0.5])
    _, table = accuracy_by_epsilon([private("z=1"), broken])
    assert table["kind"].tolist() == ["guarantee", "guarantee", "no_guarantee"]


def test_a_run_without_any_mechanism_is_a_dashed_line_across(private, recorded):
    figure, table = accuracy_by_epsilon([private("z=1"), recorded("none", accuracy=[0.2, 0.9])])

    (axes,) = figure.axes
    level = [line for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    assert [list(line.get_ydata()) for line in level] == [[0.9, 0.9]]
    assert level[0].is_dashed()
    assert table["kind"].tolist() == ["guarantee", "guarantee", "none"]
    assert entries(figure) == ["z=1", "none: not private"]


def test_the_caption_names_everything_that_the_epsilon_depends_on(private):
    text = accuracy_by_epsilon([private("z=1")])[0].get_supxlabel()
    for fact in (
        "unit: client",
        "relation: add_remove",
        "sampling: poisson",
        "δ: 1e-05",
        "accountant: pld (dp-accounting 0.6.0)",
    ):
        assert fact in text
    assert "trust model: central" in text


def test_seeds_may_differ_in_which_of_the_valid_bounds_was_smallest(private):
    figure, _ = accuracy_by_epsilon(
        [private("a", 0, accountant="rdp"), private("a", 1, accountant="gaussian")]
    )
    assert "accountant: gaussian or rdp (dp-accounting 0.6.0)" in figure.get_supxlabel()


def test_a_fact_of_which_only_the_first_rounds_tell_is_still_told(private):
    """The last round may have sampled nobody, and so released nothing."""
    figure, _ = accuracy_by_epsilon([private("a", delta=[1e-5, None])])
    assert "δ: 1e-05" in figure.get_supxlabel()


def test_a_fact_that_the_table_lacks_is_said_to_be_missing(private):
    assert (
        "accountant: not recorded" in accuracy_by_epsilon([private("a", accountant=None)])[0].get_supxlabel()
    )


def test_labels_with_different_guarantees_are_told_apart_in_the_caption(private):
    figure, _ = accuracy_by_epsilon([private("a"), private("b", relation="replace_one")])
    assert "relation: add_remove (a), replace_one (b)" in figure.get_supxlabel()


@pytest.mark.parametrize(
    ("fact", "value"),
    [("delta", 1e-3), ("unit", "example"), ("relation", "replace_one"), ("sampling", "fixed_size")],
)
def test_seeds_with_different_guarantees_are_never_averaged(private, fact, value):
    """Privacy spec, section 14: aggregation over seeds refuses to mix delta, unit or relation."""
    with pytest.raises(ScenarioError, match=f"seeds of 'a' cannot become one line: their {fact} differs"):
        accuracy_by_epsilon([private("a", 0), private("a", 1, **{fact: value})])


def test_runs_without_any_epsilon_are_refused_with_their_reasons(recorded, lost):
    with pytest.raises(
        ScenarioError, match=r"\('none': no_mechanism; 'krum': aggregator\); a run with a privacy"
    ):
        accuracy([recorded("none"), lost("krum")], by="epsilon")


def test_a_run_that_stopped_before_its_first_round_has_no_guarantee(private):
    begun = private("a")
    unborn = replace(begun, rounds=begun.rounds.iloc[:0])
    with pytest.raises(ScenarioError, match="'a': no round finished"):
        accuracy_by_epsilon([unborn])
    with pytest.raises(ScenarioError, match="no round of these runs was evaluated"):
        accuracy([unborn])


def test_private_runs_that_were_never_evaluated_are_refused(private):
    with pytest.raises(ScenarioError, match="no private run was evaluated"):
        accuracy_by_epsilon([private("a", accuracy=(np.nan, np.nan))])


def test_above_ten_labels_those_with_a_guarantee_come_first_and_the_picture_says_so(private, lost):
    runs = [lost("gone"), *(private(f"z={z}") for z in range(11))]
    figure, table = accuracy_by_epsilon(runs)

    assert "The first 10 of 12 labels; gauntlet plot --only KEY=VALUE draws others." in figure.get_supxlabel()
    assert entries(figure) == [f"z={z}" for z in range(10)]
    assert set(table["kind"]) == {"guarantee"}
