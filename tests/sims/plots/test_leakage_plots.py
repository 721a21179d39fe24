"""What pictures of leakage draw is what their tables say, and these are what the results hold."""

from types import SimpleNamespace

import numpy as np
import pytest
from crowding import crowding

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots import draw_to
from gauntlet.sims.plots.frontier import leakage_frontier
from gauntlet.sims.plots.gallery import reconstructions
from gauntlet.sims.plots.leakage_batch import leakage_batch
from gauntlet.sims.plots.leakage_epsilon import leakage_epsilon
from gauntlet.sims.plots.leakage_time import leakage_time

BASE = {"constant": {"psnr": 8.0}}


@pytest.fixture
def made(rebuilt):
    def make(*psnr, **names):
        blank = np.zeros((len(psnr), 1, 2, 2))
        return rebuilt(blank, blank, psnr, [0.5] * len(psnr), **{"baselines": BASE, "sok": "C", **names})

    return make


def lines(axes, count=None):
    """The lines that the legend names, as points."""
    named = [line for line in axes.lines if not line.get_label().startswith("_")]
    return {line.get_label(): line.get_xydata().tolist() for line in named[:count]}


def verticals(axes):
    """The bars from a worst to a best example."""
    pairs = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) == 2]
    return [[*p[0], p[1][1]] for p in np.round(pairs, 9).tolist() if p[0][0] == p[1][0]]


def test_a_frontier_joins_the_settings_of_a_sweep_one_line_an_attack(recorded, made):
    """By hand: seeds 0 and 1 of "low" have 0.6 and 0.8, and examples of 10, 20, 30 and 60 dB."""
    runs = [
        recorded(
            "low", 0, accuracy=[0.1, 0.6], items=[made(10.0, 20.0)], later=[made(120.0, attack="spear")]
        ),
        recorded("low", 1, accuracy=[0.1, 0.8], items=[made(30.0, 60.0)]),
        recorded("high", 0, accuracy=[0.1, 0.4], items=[made(8.0, 4.0)]),
    ]
    figure, table = leakage_frontier(runs)

    (axes,) = figure.axes
    assert lines(axes) == {"dlg": [[0.7, 30.0], [0.4, 6.0]], "spear": [[0.7, 120.0]]}
    row = table.set_index(["attack", "label"]).loc[("dlg", "low")]
    assert row[["accuracy_low", "accuracy_high", "seeds", "examples"]].tolist() == [0.6, 0.8, 2, 4]
    assert row[["mean", "median", "worst", "best"]].tolist() == [30.0, 25.0, 10.0, 60.0]
    assert [0.7, 10.0, 60.0] in verticals(axes)
    assert [0.4, 4.0, 8.0] in verticals(axes)
    best = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "^"]
    assert [[0.7, 60.0]] in best
    medians = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "_"]
    assert [[0.7, 25.0]] in medians
    assert {line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"} == {8.0}
    assert "exact" in {text.get_text() for text in axes.texts}
    assert axes.get_ylim()[1] > 120
    caption = " ".join(figure.get_supxlabel().split())
    assert caption.startswith("1: low; 2: high mean over examples")
    assert "SoK level C" in caption


def test_a_frontier_that_is_nowhere_exact_has_no_such_line(recorded, made):
    (axes,) = leakage_frontier([recorded(accuracy=[0.5], items=[made(20.0)])])[0].axes
    assert "exact" not in {text.get_text() for text in axes.texts}


def test_a_frontier_of_runs_that_were_not_evaluated_is_refused(recorded, made):
    with pytest.raises(ScenarioError, match="no accuracy to draw leakage against: no run was evaluated"):
        leakage_frontier([recorded(accuracy=[None], items=[made(20.0)])])


def steps(seconds, psnr):
    count = len(psnr)
    return SimpleNamespace(
        x=np.linspace(0, 1, count)[:, None, None, None, None] * np.ones((count, 1, 1, 2, 2)),
        psnr=np.array(psnr), cost=np.arange(count)[::-1].astype(float), closures=np.arange(count) * 10.0 + 1,
        seconds=np.array(seconds),
    )  # fmt: skip


def test_time_is_drawn_from_step_to_step_and_an_attack_without_steps_is_a_mark(recorded, made):
    """What an attack would have returned by its own cost may fall: it does not see the truth."""
    slow = made(40.0, cpu_seconds=4.0, closures=41.0, progress=steps([0.0, 1.0, 2.0], [5.0, 30.0, 25.0]))
    quick = made(np.inf, attack="bias_trick", cpu_seconds=0.01)
    figure, table = leakage_time([recorded(items=[slow], later=[quick])])

    (axes,) = figure.axes
    drawn = {(line.get_color(), line.get_marker()): line.get_xydata().tolist() for line in axes.lines[:4]}
    curve, end, _, mark = drawn.values()
    assert curve == [[0.001, 5.0], [1.0, 30.0], [2.0, 25.0], [4.0, 40.0]]  # 0 has no place on the axis
    assert end == [[4.0, 40.0]]
    assert mark == [[0.01, 120.0]]
    of_dlg = table[table["attack"] == "dlg"]
    assert of_dlg[["seconds", "psnr", "closures", "end"]].to_numpy().tolist() == [
        [0.0, 5.0, 1.0, False], [1.0, 30.0, 11.0, False], [2.0, 25.0, 21.0, False], [4.0, 40.0, 41.0, True],
    ]  # fmt: skip
    assert table[table["attack"] == "bias_trick"]["psnr"].tolist() == [120.0]


def test_time_has_a_panel_a_message_and_says_what_it_leaves_out(recorded, made):
    items = [made(20.0, client_id=i, cpu_seconds=1.0) for i in range(5)]
    figure, table = leakage_time([recorded(items=items)])
    assert sorted(set(table["client_id"])) == [0, 1, 2, 3]
    assert [axes.get_title(loc="left") for axes in figure.axes][3].endswith("client 3, batch of 1")
    assert "The first 4 of 5 messages." in figure.get_supxlabel()


def test_results_that_hold_no_time_are_refused_with_what_would_help(recorded, made):
    with pytest.raises(ScenarioError, match="results of earlier versions hold none; attack again"):
        leakage_time([recorded(items=[made(20.0)])])


def test_a_batch_is_recovered_as_far_as_its_examples_are_close_enough(recorded, made):
    """By hand: 1 and 2 of 2 examples above 30 dB, and of 4 examples 1; all that counts at 1 is exact."""
    runs = [recorded("a", s, items=[made(31.0, psnr)]) for s, psnr in ((0, 30.0), (1, 90.0))]
    runs += [recorded("b", items=[made(10.0, 20.0, 30.5, 29.9)]), recorded("c", items=[made(120.0)])]
    figure, table = leakage_batch(runs)

    assert lines(figure.axes[0]) == {"dlg": [[1.0, 1.0], [2.0, 0.75], [4.0, 0.25]]}
    columns = ["batch_size", "messages", "recovered_least", "recovered_most", "all_exact", "psnr_worst"]
    assert table[columns].to_numpy().tolist() == [
        [1, 1, 1.0, 1.0, True, 120.0], [2, 2, 0.5, 1.0, False, 30.0], [4, 1, 0.25, 0.25, False, 10.0],
    ]  # fmt: skip
    (stars,) = [line.get_xydata().tolist() for line in figure.axes[0].lines if line.get_marker() == "*"]
    assert stars == [[1.0, 1.0]]
    assert leakage_batch(runs, close=100.0)[1]["recovered"].tolist() == [1.0, 0.0, 0.0]


def private(recorded, made, label, epsilon, accuracy, *psnr, seed=0, **more):
    kept = {"value": epsilon, "reason": None if epsilon else "no_mechanism", "accountant": "rdp"}
    return recorded(label, seed, accuracy=[accuracy], items=[made(*psnr)], manifest={"epsilon": kept},
                    delta=1e-5, unit="client", epsilon=epsilon, **more)  # fmt: skip


def test_epsilon_leak_and_accuracy_stand_in_one_figure(recorded, made):
    """Seeds count at the largest of their epsilons; a run without a guarantee is in no place on the axis."""
    runs = [
        private(recorded, made, "weak", 8.0, 0.8, 20.0, 40.0),
        private(recorded, made, "weak", 9.0, 0.6, 24.0, seed=1),
        private(recorded, made, "strong", 0.5, 0.3, 6.0),
        private(recorded, made, "none", None, 0.9, 100.0),
    ]
    figure, table = leakage_epsilon(runs)

    above, lost, below, lost_below = figure.axes
    assert lines(above) == {"dlg": [[0.5, 6.0], [9.0, 28.0]]}
    assert below.lines[0].get_xydata().tolist() == [[0.5, 0.3], [9.0, 0.7]]
    assert lost.lines[0].get_xydata().tolist() == [[0, 100.0]]
    assert [text.get_text() for text in lost_below.get_xticklabels()] == ["a"]
    assert table["reason"].tolist() == ["", "", "no_mechanism"]
    caption = " ".join(figure.get_supxlabel().split())
    assert "δ: 1e-05 · unit: client · no ε at a: none (no_mechanism)" in caption


def test_each_mechanism_has_a_line_of_its_own(recorded, made):
    """Two settings of local noise are joined, and central noise at an epsilon between them is not."""
    runs = [
        private(recorded, made, name, epsilon, accuracy, psnr, scenario={"privacy": {"name": name, **noise}})
        for name, noise, epsilon, accuracy, psnr in (
            ("local_gaussian", {"noise_multiplier": 1.0}, 50.0, 0.5, 5.0),
            ("local_gaussian", {"noise_multiplier": 0.1}, 3000.0, 0.7, 20.0),
            ("gaussian", {"noise_multiplier": 1.0}, 800.0, 0.8, 60.0),
        )
    ]
    figure, table = leakage_epsilon(runs)

    above, below = figure.axes
    assert lines(above) == {
        "dlg, local_gaussian": [[50.0, 5.0], [3000.0, 20.0]],
        "dlg, gaussian": [[800.0, 60.0]],
    }
    drawn = [line.get_xdata().tolist() for line in below.lines if line.get_marker() in "os"]
    assert sorted(drawn) == [[50.0, 3000.0], [800.0]]
    assert table["mechanism"].tolist() == ["local_gaussian", "gaussian", "local_gaussian"]
    markers = [line.get_marker() for line in above.lines if line.get_label().startswith("dlg")]
    assert len(set(markers)) == 2


def test_an_epsilon_that_does_not_cover_the_attacker_is_half_filled(recorded, made):
    """Central noise comes after the message that the attacker saw; local noise is in it."""
    runs = [
        private(
            recorded, made, name, 8.0, 0.5, psnr, scenario={"privacy": {"name": name}}, trust_model=[trust]
        )
        for name, trust, psnr in (("local_gaussian", "local", 5.0), ("gaussian", "central", 60.0))
    ]
    figure, table = leakage_epsilon(runs)

    half = [line.get_xydata().tolist() for line in figure.axes[0].lines if line.get_fillstyle() == "left"]
    assert [points for points in half if points] == [[[8.0, 60.0]]]
    assert table.set_index("mechanism")["covered"].to_dict() == {"local_gaussian": "yes", "gaussian": "no"}
    caption = " ".join(figure.get_supxlabel().split())
    assert "half-filled: the epsilon of gaussian covers whoever sees the aggregate after" in caption


def test_runs_without_any_epsilon_are_refused(recorded, made):
    with pytest.raises(ScenarioError, match="there is no epsilon to draw leakage against"):
        leakage_epsilon([private(recorded, made, "none", None, 0.9, 100.0)])


def test_a_gallery_by_iteration_shows_the_first_example_from_step_to_step(recorded, made):
    item = made(40.0, progress=steps([0.0, 1.0, 2.0, 3.0], [5.0, 30.0, 25.0, 120.0]))
    figure, table = reconstructions([recorded(items=[made(20.0), item])], by="iteration", most_examples=3)

    places = [axes for part in figure.subfigs for axes in part.axes if axes.images]
    assert [axes.get_xlabel() for axes in places] == ["true", "1\n5.0 dB", "21\n25.0 dB", "31\nexact"]
    assert [float(np.asarray(axes.images[0].get_array()).max()) for axes in places] == pytest.approx(
        [0, 0, 2 / 3, 1]
    )
    assert table[["closures", "psnr", "seconds"]].to_numpy().tolist() == [
        [1, 5, 0],
        [21, 25, 2],
        [31, 120, 3],
    ]


def test_a_gallery_by_iteration_needs_an_attack_that_kept_its_steps(recorded, made):
    with pytest.raises(ScenarioError, match="no attack of these runs kept its steps"):
        reconstructions([recorded(items=[made(20.0)])], by="iteration")
    with pytest.raises(ScenarioError, match="unknown by 'step'"):
        reconstructions([recorded(items=[made(20.0)])], by="step")


def test_what_later_attacks_rebuilt_is_in_the_gallery_behind_what_probes_did(recorded, made):
    _, table = reconstructions([recorded(items=[made(20.0)], later=[made(50.0, attack="spear"), made(20.0)])])
    assert table[["attack", "psnr"]].to_numpy().tolist() == [["dlg", 20.0], ["spear", 50.0]]


@pytest.mark.parametrize("name", ["leakage-frontier", "leakage-time", "leakage-batch", "leakage-epsilon"])
def test_each_is_saved_with_its_table_beside_it(recorded, made, tmp_path, name):
    run = recorded(accuracy=[0.5], items=[made(20.0, cpu_seconds=1.0)], epsilon=2.0, epsilon_reason=None,
                   delta=1e-5, unit="client")  # fmt: skip
    path = draw_to(tmp_path / f"{name}.png", name, [run])
    assert path.stat().st_size > 10_000
    assert path.with_suffix(".csv").read_text().splitlines()[1].startswith("dlg,")


@pytest.mark.parametrize("messages", [2, 3, 4])
def test_every_panel_of_time_has_the_numbers_of_its_axis(recorded, made, messages):
    items = [made(20.0, client_id=i, cpu_seconds=1.0 + i) for i in range(messages)]
    figure, _ = leakage_time([recorded(items=items)])
    figure.draw_without_rendering()

    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == messages
    assert all(any(label.get_visible() for label in axes.get_xticklabels()) for axes in panels)


def test_numbers_of_points_that_lie_close_stand_apart(recorded, made):
    """Two settings of nearly the same accuracy and leak: their numbers covered one another."""
    runs = [
        recorded(label, accuracy=[0.5 + n / 1000], items=[made(20.0 + n)]) for n, label in enumerate("abc")
    ]
    figure, _ = leakage_frontier(runs)

    assert crowding(figure) == []
