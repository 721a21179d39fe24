"""Flags by client and round, read back from the picture."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.timeline import ABSENT, KINDS, MOST_CLIENTS, PRESENT, timeline


def people(rows):
    """Return a table of clients from (round, client, truth, flag, weight)."""
    return pd.DataFrame(rows, columns=["round", "client_id", "truth", "flag", "weight"])


def cells(axes):
    """Return each cell's colour, and its row's client and truth order as drawn."""
    image = axes.images[0]
    return [[to_hex(c).upper() for c in row] for row in image.cmap(image.norm(image.get_array()))]


ROWS = [
    (0, 0, "honest", None, 0.25),
    (0, 3, "sign_flip", None, 0.0),
    (0, 5, "honest", "unreliable", 0.25),
    (1, 3, "sign_flip", "sign_flip", 0.0),
    (1, 5, "honest", None, 0.5),
]


def test_colours_are_flags_and_attackers_stand_above(recorded):
    figure, table = timeline([recorded("hog", clients=people(ROWS))])

    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["3", "0", "5"]
    assert cells(axes) == [
        [PRESENT, KINDS["sign_flip"]],
        [PRESENT, ABSENT],
        [KINDS["unreliable"], PRESENT],
    ]
    assert [t.get_text() for t in axes.texts] == ["sign_flip", "honest"]
    assert table["flag"].isna().tolist() == [True, True, False, False, True]


def test_a_dot_marks_who_was_left_out_without_a_flag(recorded):
    axes = timeline([recorded(clients=people(ROWS))])[0].axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0.0, 0.0]]  # round 0, the row of client 3


def test_the_legend_names_the_kinds_that_occur(recorded):
    figure, _ = timeline([recorded(clients=people([*ROWS, (1, 6, "honest", "odd", 0.0)]))])
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert names == ["sign_flip", "unreliable", "odd", "not flagged", "left out, not flagged"]


def test_an_attack_that_starts_late_says_when(recorded):
    rows = [
        (t, i, "noise" if i and t > 1 else "honest", None if t < 3 else "noise", 0.5)
        for t in range(5)
        for i in (0, 1)
    ]
    axes = timeline([recorded(clients=people(rows))])[0].axes[0]
    assert [t.get_text() for t in axes.texts] == ["noise from round 2", "honest"]


def test_an_attack_from_outside_is_named_by_its_class(recorded):
    rows = [(0, 1, "their/file.py:Rude", "malicious", 0.0)]
    assert timeline([recorded(clients=people(rows))])[0].axes[0].texts[0].get_text() == "Rude"


def test_one_panel_a_label_of_its_first_seed(recorded):
    runs = [recorded("a", 4, clients=people(ROWS)), recorded("a", 5, clients=people(ROWS)), recorded("mean")]
    quiet = people([(0, 0, "honest", None, 1.0)])
    figure, table = timeline([*runs[:2], recorded("mean", clients=quiet)])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a (seed 4)"]
    assert len(table) == len(ROWS)


def test_above_its_room_the_interesting_clients_come_first(recorded):
    rows = [(0, i, "honest", "noise" if i == 400 else None, 0.1) for i in range(401)]
    figure, table = timeline([recorded(clients=people(rows))])
    assert table["client_id"].nunique() == MOST_CLIENTS
    assert {400, 0, 118} <= set(table["client_id"])
    assert 119 not in set(table["client_id"])
    assert "120 of 401 clients" in figure.get_supxlabel()


def test_weights_that_are_not_known_leave_nobody_out(recorded):
    rows = [(0, 0, "honest", "noise", np.nan), (0, 1, "honest", None, np.nan)]
    _, table = timeline([recorded(clients=people(rows))])
    assert not table["left_out"].any()


def test_runs_where_nobody_was_flagged_or_left_out_are_refused(recorded):
    with pytest.raises(ScenarioError, match="ever flagged or left out in mean; a run whose defense"):
        timeline([recorded("mean", clients=people([(0, 0, "honest", None, 1.0)]))])
    with pytest.raises(ScenarioError, match="at least 1 run, got 0"):
        timeline([recorded(clients=people(ROWS))], most_runs=0)
