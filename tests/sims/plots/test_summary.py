"""The one picture for the quickstart."""

import numpy as np
import pandas as pd
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.summary import summary, suspects, traffic

PEOPLE = pd.DataFrame(
    {
        "round": [0, 0, 1, 1],
        "client_id": [0, 1, 0, 1],
        "truth": ["honest", "sign_flip"] * 2,
        "flag": [None, "malicious", "noise", "malicious"],
        "update_norm": [1.0, 4.0, 3.0, 6.0],
    }
)


def headings(figure):
    return [part.get_suptitle() for part in figure.subfigs]


def test_bytes_are_those_of_one_client_in_one_round(recorded):
    """By hand: (200 + 400) / (2 + 4) = 100 up, (800 + 1000) / 6 = 300 down."""
    run = recorded("a", bytes_up=[200, 400], bytes_down=[800, 1000], cohort_size=[2, 4])
    assert traffic([run]).to_numpy().tolist() == [["a", 100.0, 300.0]]


def test_a_client_is_shown_with_the_share_of_its_rounds_in_which_it_was_flagged(recorded):
    table = suspects([recorded("plain"), recorded("mud_hog", clients=PEOPLE)])
    assert table.to_numpy().tolist() == [
        ["mud_hog", 0, "honest", 0.5, 2.0],
        ["mud_hog", 1, "sign_flip", 1.0, 5.0],
    ]


def test_an_unreliable_client_is_not_a_flagged_one(recorded):
    run = recorded(clients=PEOPLE.assign(flag=["unreliable", "malicious", None, None]))
    assert suspects([run])["flagged"].tolist() == [0.0, 0.5]


def test_where_no_defense_flags_the_malicious_are_shown_by_their_update_norm(recorded):
    figure, _ = summary([recorded(clients=PEOPLE.assign(flag=None))])
    axes = figure.subfigs[1].axes[1]
    assert axes.get_ylabel() == "Mean update norm (L2)"
    honest, malicious = axes.collections
    assert honest.get_offsets().tolist() == [[0, 2.0]]
    assert malicious.get_offsets().tolist() == [[1, 5.0]]
    assert [t.get_text() for t in figure.subfigs[1].legends[0].get_texts()] == ["honest", "malicious"]


def test_the_picture_shows_learning_then_cost_and_suspects_then_leakage(recorded, rebuilt):
    item = rebuilt(np.full((4, 1, 2, 2), 0.5), np.zeros((4, 1, 2, 2)), [6.0] * 4, [0.0] * 4)
    runs = [
        recorded("mean", accuracy=[0.1, 0.3], items=[item], clients=PEOPLE),
        recorded("median", accuracy=[0.1, 0.9]),
    ]

    figure, table = summary(runs)

    assert headings(figure) == [
        "Does the model still learn?",
        "What did it cost, who misbehaved?",
        "What did an eavesdropper rebuild?",
    ]
    assert [line.get_ydata().tolist() for line in figure.subfigs[0].axes[0].lines] == [[0.1, 0.3], [0.1, 0.9]]
    assert [bar.get_width() for bar in figure.subfigs[1].axes[0].patches] == [0.1, 0.1]  # kB
    assert sum(bool(axes.images) for axes in figure.subfigs[2].subfigs[0].axes) == 6  # 3 true, 3 rebuilt
    assert table.groupby("panel", sort=False).size().to_dict() == {
        "accuracy": 4, "bytes": 2, "clients": 2, "leakage": 3,
    }  # fmt: skip


def test_a_line_and_its_bar_have_one_colour(recorded):
    figure, _ = summary([recorded("a"), recorded("b")])
    lines, bars = figure.subfigs[0].axes[0].lines, figure.subfigs[1].axes[0].patches
    colors = [
        "#{:02X}{:02X}{:02X}".format(*(round(255 * c) for c in bar.get_facecolor()[:3])) for bar in bars
    ]
    assert colors == [line.get_color() for line in lines]


def test_what_the_runs_do_not_hold_is_left_out(recorded):
    figure, table = summary([recorded("a")])
    assert headings(figure) == ["Does the model still learn?", "What does a round cost?"]
    assert set(table["panel"]) == {"accuracy", "bytes"}


def test_the_first_message_of_at_most_two_labels_is_shown(recorded, rebuilt):
    def run(label):
        return recorded(
            label,
            items=[
                rebuilt(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), [9.0], [0.5], client_id=c) for c in (4, 2)
            ],
        )

    figure, _ = summary([run("a"), run("b"), run("c")])

    assert [part.get_suptitle() for part in figure.subfigs[2].subfigs] == [
        "a: dlg, round 0, client 4",
        "b: dlg, round 0, client 4",
    ]
    assert figure.get_supxlabel() == (
        "Rebuilt: 2 of 6 examples from 2 of 6 messages; the plot 'reconstructions' draws more."
    )
    assert summary([run("a")])[0].get_supxlabel().startswith("Rebuilt: 1 of 2 examples from 1 of 2 messages")


@pytest.mark.parametrize(("codec", "shown"), [("identity", "dlg"), ("terngrad", "inverting_gradients")])
def test_of_the_attacks_on_a_message_that_which_knew_of_a_lossy_codec_is_shown(
    recorded, rebuilt, codec, shown
):
    """An attack on another message, which knew of it too, is not."""
    blank = np.zeros((1, 2, 2))
    items = [
        rebuilt(blank, blank, [9.0], [0.5], client_id=4),
        rebuilt(blank, blank, [9.0], [0.5], client_id=3, attack="dlg", codec_aware=True),
        rebuilt(blank, blank, [9.0], [0.5], client_id=4, attack="inverting_gradients", codec_aware=True),
    ]
    run = recorded("a", items=items)
    run.manifest["scenario"]["codec"] = {"name": codec}

    figure, _ = summary([run])

    (part,) = figure.subfigs[2].subfigs
    assert part.get_suptitle() == f"{shown}, round 0, client 4"


def test_a_summary_of_runs_that_were_never_evaluated_is_refused(recorded):
    with pytest.raises(ScenarioError, match="no test accuracy"):
        summary([recorded(accuracy=[np.nan])])


def test_above_six_labels_the_first_six_are_drawn_and_the_picture_says_so(recorded):
    figure, table = summary([recorded(f"run {i}") for i in range(8)])

    assert figure.get_supxlabel() == "The first 6 of 8 labels; gauntlet plot --only KEY=VALUE draws others."
    assert table[table["panel"] == "bytes"]["label"].tolist() == [f"run {i}" for i in range(6)]


def test_labels_with_one_long_beginning_stand_whole_above_their_bars(recorded):
    long = "gaussian clipping=quantile target_unclipped=0.5 clip_lr=0.2 count_noise_std=1.0"
    labels = [f"{long} geometric={word}" for word in ("True", "False")]
    figure, _ = summary([recorded(label) for label in labels])
    above = figure.subfigs[1].axes[0]

    assert [" ".join(text.get_text().split()) for text in above.texts] == labels
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in above.texts]
    bars = [bar.get_window_extent() for bar in above.patches]
    assert not any(text.overlaps(other) for text in boxes for other in [*bars, *boxes] if other is not text)
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
