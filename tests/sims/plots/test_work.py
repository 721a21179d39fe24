"""Work on the virtual clock, read back from the pictures."""

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.work import COUNTED, MOST_CLIENTS, WASTED, gantt, staleness, work_of

COLUMNS = ["round", "client_id", "started", "staleness", "begins", "work_seconds", "counted"]
ROWS = [
    (0, 1, 0, 0, 0.0, 1.0, True),
    (0, 4, 0, 0, 0.0, 2.0, False),
    (1, 1, 1, 0, 2.0, 1.5, True),
    (1, 7, 0, 1, 0.0, 3.5, True),
    (2, 7, 0, 2, 3.5, 1.0, True),
]
WORK = pd.DataFrame(ROWS, columns=COLUMNS)


def bars(axes):
    """Return (row, from, length, colour) of each bar, and the clients' names by row."""
    found = [
        (p.get_y() + p.get_height() / 2, p.get_x(), p.get_width(), to_hex(p.get_facecolor()).upper())
        for p in axes.patches
    ]
    return sorted(found), [t.get_text() for t in axes.get_yticklabels()]


def test_a_bar_lasts_as_long_as_its_client_works_and_says_whether_it_counts(recorded):
    run = recorded("late", work=WORK, virtual_seconds=[2.0, 3.5, 4.5])
    figure, table = gantt([run], until=10.0)
    found, names = bars(figure.axes[0])
    assert names == ["1", "4", "7"]
    assert found == [
        (0.0, 0.0, 1.0, COUNTED),
        (0.0, 2.0, 1.5, COUNTED),
        (1.0, 0.0, 2.0, WASTED),
        (2.0, 0.0, 3.5, COUNTED),
        (2.0, 3.5, 1.0, COUNTED),
    ]
    assert [line.get_xdata()[0] for line in figure.axes[0].lines] == [2.0, 3.5, 4.5]
    assert len(table) == 5
    assert len(gantt([run], until=3.0)[1]) == 4  # of what begins later nothing is drawn


def test_the_clock_is_shown_to_its_end_and_no_further(recorded):
    """A dozen messages fit, where there are so many; and where most of them take no time, all the same."""
    for work, last in (
        (WORK, 4.5),
        (WORK.assign(work_seconds=[0.0, 0.0, 0.0, 0.0, 1.0]), 4.5),
        (WORK.assign(begins=[0.0, 0.0, 2.0, 0.0, 95.0]), 12 * 1.5),
    ):
        figure, table = gantt([recorded("late", work=work, virtual_seconds=[2.0, 3.5, 4.5])])
        assert figure.axes[0].get_xlim() == (0.0, last)
        assert len(table) == (work["begins"] < last).sum()


def test_a_run_that_waits_for_everybody_is_told_by_its_other_tables(recorded):
    people = pd.DataFrame(
        {"round": [0, 0, 1, 1], "client_id": [0, 1, 0, 1], "status": ["ok", "dropped", "ok", "ok"],
         "client_seconds": [1.0, float("inf"), 0.5, 2.0]}
    )  # fmt: skip
    run = recorded("sync", clients=people, virtual_seconds=[1.5, 3.5])
    work = work_of(run)
    assert work["begins"].tolist() == [0.0, 0.0, 1.5, 1.5]
    assert work["work_seconds"].tolist() == [1.0, 1.5, 0.5, 2.0]
    assert work["counted"].tolist() == [True, False, True, True]
    assert len(gantt([run])[1]) == 4
    with pytest.raises(ScenarioError, match="the rounds of sync wait for everybody; a run "):
        staleness([run])


def test_above_its_room_the_lowest_ids_are_drawn(recorded):
    many = pd.DataFrame([(0, i, 0, 0, 0.0, 1.0, True) for i in range(60)], columns=COLUMNS)
    figure, table = gantt([recorded("many", work=many, virtual_seconds=[1.0])])
    assert table["client_id"].max() == MOST_CLIENTS - 1
    assert "40 of 60 clients, by id" in figure.get_supxlabel()


def test_shares_of_staleness_are_of_what_counts_and_counts_in_equal_shares(recorded):
    """Of four messages that count two are fresh; three clients of ten sent 2, 2 and none, of mean 0.4."""
    runs = [recorded("late", work=WORK, virtual_seconds=[2.0, 3.5, 4.5], scenario={"num_clients": 10})]
    figure, table = staleness(runs)
    ages = table.dropna(subset=["staleness"])
    assert ages["counted_messages"].tolist() == [2, 1, 1]
    assert ages["message_share"].tolist() == [0.5, 0.25, 0.25]
    ranks = table.dropna(subset=["rank"])["times_its_share"].tolist()
    assert ranks == pytest.approx([5.0, 5.0] + [0.0] * 8)
    assert figure.axes[0].lines[0].get_label() == "late: mean 0.8"
    assert figure.axes[1].lines[0].get_ydata().tolist() == pytest.approx(ranks)


def test_what_cannot_be_drawn_is_refused(recorded):
    idle = recorded("idle", work=WORK.assign(work_seconds=0.0), virtual_seconds=[0.0, 0.0, 0.0])
    with pytest.raises(ScenarioError, match="no client takes any time in idle; a run whose network"):
        gantt([idle])
    with pytest.raises(ScenarioError, match="at least 1 run, got 0"):
        gantt([idle], most_runs=0)
    with pytest.raises(ScenarioError, match="until must be above 0 virtual seconds, got 0"):
        gantt([idle], until=0.0)
    with pytest.raises(ScenarioError, match="no message counts"):
        staleness([recorded("none", work=WORK.assign(counted=False), virtual_seconds=[2.0, 3.5, 4.5])])
