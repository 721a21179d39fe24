"""What leakage attacks rebuilt, arranged for pictures: who knew what, and which defenses are refused."""

import numpy as np
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.leak_marks import caption_of, dotted, figures_of, looks_of
from gauntlet.sims.plots.leaks import leaks_of

ONE = np.zeros((1, 1, 2, 2))
PRUNED = {"client_defense": {"name": "gradient_pruning", "rate": 0.5}}
MASKED = {"masked": True}


@pytest.fixture
def made(rebuilt):
    """Make one attack's result on one message: its PSNR, and what it was told."""
    return lambda *psnr, **names: rebuilt(
        np.repeat(ONE, len(psnr), 0), np.repeat(ONE, len(psnr), 0), psnr, [0.5] * len(psnr), **names
    )


def test_results_of_probes_and_of_later_attacks_count_alike_and_once_a_message(recorded, made):
    told = made(12.0, sok="B")  # the same attack, which was told less
    run = recorded(
        items=[made(10.0), told, made(11.0, client_id=4)], later=[made(10.0), made(50.0, attack="idlg")]
    )
    assert [(one.attack, one.item.client_id, one.psnr.tolist()) for one in leaks_of([run])] == [
        ("dlg", 3, [10.0]), ("dlg", 3, [12.0]), ("dlg", 4, [11.0]), ("idlg", 3, [50.0]),
    ]  # fmt: skip


def test_a_client_defense_that_nobody_attacked_who_knows_of_it_is_refused_with_what_would_help(
    recorded, made
):
    """Pruning is to be shown beside an attack that leaves pruned entries out: its ``adaptive``."""
    run = recorded("pruned", items=[made(10.0)], scenario=PRUNED)
    with pytest.raises(ScenarioError) as caught:
        leaks_of([run])
    assert str(caught.value) == (
        "'pruned' shows a client defense that was attacked by dlg alone, and nobody who knows of it: attack "
        "what was recorded with --with '{name = \"dlg\", masked = true}', and draw again"
    )
    leaks_of([recorded(items=[made(10.0)], later=[made(20.0, settings=MASKED)], scenario=PRUNED)])


def test_any_of_the_attacks_that_a_defense_names_will_do(recorded, made):
    """OUTPOST names two: with either it is drawn, solid; with DLG alone the message asks for one of them."""
    outpost = {"client_defense": "outpost"}
    laplace = {"likelihood": "laplace", "masked": True}
    for shown in (made(20.0, attack="bias_trick"), made(20.0, attack="bayes", settings=laplace)):
        leaks = leaks_of([recorded(items=[made(10.0), shown], scenario=outpost)])
        assert [one.adapted for one in leaks] == [False, True]
    with pytest.raises(ScenarioError, match=r"masked = true}. or --with .{name = \"bias_trick\"}., and draw"):
        leaks_of([recorded(items=[made(10.0)], scenario=outpost)])


@pytest.mark.parametrize("defense", ["ats", "mixup", "instahide"])
def test_altered_examples_are_drawn_beside_the_attack_that_undoes_them_or_not_at_all(recorded, made, defense):
    scenario = {"client_defense": defense}
    with pytest.raises(
        ScenarioError, match=r"attack what was recorded with --with .{name = \"altered_examples"
    ):
        leaks_of([recorded(items=[made(10.0)], scenario=scenario)])
    undone = made(20.0, attack="altered_examples", settings={"attack": "dlg"})
    leaks = leaks_of([recorded(items=[made(10.0), undone], scenario=scenario)])
    assert [one.adapted for one in leaks] == [False, True]
    looks = looks_of(leaks)
    assert [looks[name]["linestyle"] for name in ("dlg", "altered_examples")] == ["--", "-"]


def test_one_attack_behind_several_defenses_is_one_line_each(recorded, made):
    runs = [
        recorded("none", items=[made(90.0)]),
        recorded("frozen", items=[made(10.0)], scenario={"client_defense": "frozen_layers"}),
        recorded(
            "mixup",
            items=[made(20.0), made(25.0, attack="altered_examples")],
            scenario={"client_defense": {"name": "mixup", "k": 2}},
        ),
    ]
    looks = looks_of(leaks_of(runs))
    names = "dlg", "dlg behind frozen_layers", "dlg behind mixup", "altered_examples behind mixup"
    assert list(looks) == list(names)
    assert len({look["color"] for look in looks.values()}) == 4
    assert {one.attack for one in leaks_of(runs[1:2])} == {"dlg"}


def test_one_undefended_run_does_not_excuse_another_that_is_defended(recorded, made):
    plain = recorded("none", items=[made(10.0), made(20.0, settings=MASKED)])
    with pytest.raises(ScenarioError, match="'pruned' shows a client defense"):
        leaks_of([plain, recorded("pruned", items=[made(10.0)], scenario=PRUNED)])


def test_code_from_outside_is_not_run_to_draw_a_picture(recorded, made, tmp_path):
    (tmp_path / "mine.py").write_text("raise SystemExit('ran')\n")
    scenario = {"client_defense": {"name": f"{tmp_path}/mine.py:Mine"}}
    assert len(leaks_of([recorded(items=[made(10.0)], scenario=scenario)])) == 1
    inside = made(20.0, attack="altered_examples", settings={"attack": f"{tmp_path}/mine.py:Mine"})
    with pytest.raises(ScenarioError, match="shows a client defense"):
        leaks_of([recorded(items=[inside], scenario={"client_defense": "ats"})])


def test_who_knows_of_a_defense_is_solid_who_does_not_is_dashed_and_an_oracle_is_hollow(recorded, made):
    items = [made(10.0), made(20.0, settings=MASKED), made(30.0, attack="idlg", oracle=("batch_size",))]
    looks = looks_of(leaks_of([recorded(items=items, scenario=PRUNED)]))

    assert {name: look["linestyle"] for name, look in looks.items()} == {
        "dlg": "--", "dlg (masked = true)": "-", "idlg": "--",
    }  # fmt: skip
    assert looks["dlg"]["color"] == looks["dlg (masked = true)"]["color"] != looks["idlg"]["color"]
    assert [look["markerfacecolor"] == "white" for look in looks.values()] == [False, False, True]


def test_where_clients_do_nothing_every_attack_is_solid(recorded, made):
    looks = looks_of(leaks_of([recorded(items=[made(10.0), made(20.0, settings=MASKED)])]))
    assert {look["linestyle"] for look in looks.values()} == {"-"}


def test_a_lossy_codec_is_something_that_an_attack_can_know_of(recorded, made):
    items = [made(10.0), made(20.0, codec_aware=True, client_id=4)]
    leaks = leaks_of([recorded(items=items, scenario={"codec": {"name": "topk", "rate": 0.1}})])
    assert [one.adapted for one in leaks] == [False, True]
    assert "solid: knows of the clients' defense or codec; dashed: does not" in caption_of(leaks)


def test_mean_median_worst_and_best_stand_side_by_side_and_exact_ones_are_counted(recorded, made):
    """By hand: 20, 30, 120 and infinity, which counts 120: mean 72.5, median 75."""
    figures = figures_of(leaks_of([recorded(items=[made(20.0, np.inf), made(30.0, 120.0, client_id=4)])]))
    assert {k: figures[k] for k in ("mean", "median", "worst", "best", "examples", "exact")} == {
        "mean": 72.5, "median": 75.0, "worst": 20.0, "best": 120.0, "examples": 4, "exact": 2,
    }  # fmt: skip


def test_examples_whose_truth_is_not_known_are_left_out(recorded, made):
    with pytest.raises(ScenarioError, match="no run holds a reconstruction that can be measured in dB"):
        leaks_of([recorded(items=[made(np.nan)])])


def test_the_caption_says_what_the_attacker_was_told_and_what_no_attack_would_score(recorded, made):
    flat = {"constant": {"psnr": 9.0}, "noise": {"psnr": None}}
    items = [
        made(120.0, sok="C", oracle=("batch_size",), baselines={"constant": {"psnr": 8.0}}),
        made(10.0, sok="B", client_id=4, baselines=flat),
    ]
    leaks = leaks_of([recorded(items=items)])
    assert caption_of(leaks) == (
        "hollow: told what no attacker could know (batch_size) · told: SoK level B, C · "
        "exact: 120 dB or more, MSE of 1e-12 at most"
    )
    assert dotted(leaks) == "dotted, without any attack: a flat picture 8.5 dB"
