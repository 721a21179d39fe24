"""Leakage against accuracy, and canaries against the accountant."""

import numpy as np
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.leakage import audit, leakage_by_accuracy, pareto


def verdict(low, est, epsilon=2.0, refuted=False):
    return {
        "audit": "one_shot_canaries", "num_canaries": 20, "dimension": 1000, "delta": 1e-5,
        "epsilon": epsilon,
        "epsilon_audit_low": low, "epsilon_audit_est": est, "confidence": 0.95, "refuted": refuted,
    }  # fmt: skip


def test_the_pareto_front_is_that_of_a_hand_made_case():
    """(0.5, 1) and (0.9, 4) are best at something, (0.7, 2) between them; (0.6, 3) loses to (0.7, 2)."""
    assert pareto(np.array([0.5, 0.6, 0.7, 0.9, 0.9]), np.array([1.0, 3.0, 2.0, 4.0, 5.0])).tolist() == [
        True, False, True, True, False,
    ]  # fmt: skip
    assert pareto(np.array([0.5, 0.5]), np.array([1.0, 1.0])).tolist() == [True, True]


def test_each_measure_has_a_panel_and_the_front_is_ringed(recorded, rebuilt):
    item = rebuilt(np.zeros((2, 1, 8, 8)), np.zeros((2, 1, 8, 8)), [np.inf, 20.0], [1.0, 0.5])
    runs = [
        recorded("a", accuracy=[0.9], items=[item], audit=verdict(0.5, 3.0)),
        recorded("b", accuracy=[0.5], audit=verdict(0.0, 1.0)),
        recorded("c", accuracy=[0.4], audit=verdict(0.0, 2.0)),
    ]
    figure, table = leakage_by_accuracy(runs)

    assert [axes.get_ylabel().split()[0] for axes in figure.axes] == ["PSNR", "Canary"]
    psnr = table[table["measure"] == "psnr"]
    assert psnr["leakage"].tolist() == [70.0]  # an exact example counts 120 dB
    spread = ["leakage_median", "leakage_worst", "leakage_best"]
    assert psnr[spread].to_numpy().tolist() == [[70.0, 20.0, 120.0]]
    est = table[table["measure"] == "epsilon_audit_est"].set_index("label")
    assert est["pareto"].to_dict() == {"a": True, "b": True, "c": False}
    ringed = figure.axes[1].collections[-1].get_offsets().tolist()
    assert ringed == [[0.5, 1.0], [0.9, 3.0]]
    assert "Pareto front" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert "δ: 1e-05" in figure.get_supxlabel()


def test_an_audit_without_an_estimate_shows_its_bound(recorded):
    figure, _ = leakage_by_accuracy([recorded("a", accuracy=[0.9], audit=verdict(0.5, None))])
    assert [axes.get_ylabel() for axes in figure.axes] == ["Canary lower bound on ε (less is better)"]


def test_seeds_become_a_mean_with_their_range(recorded):
    runs = [recorded("a", s, accuracy=[0.4 + 0.2 * s], audit=verdict(0.0, 1.0 + s)) for s in (0, 1)]
    row = leakage_by_accuracy(runs)[1].set_index("measure").loc["epsilon_audit_est"]
    assert (row["accuracy"], row["accuracy_low"], row["accuracy_high"]) == pytest.approx((0.5, 0.4, 0.6))
    assert (row["leakage"], row["leakage_low"], row["leakage_high"]) == (1.5, 1.0, 2.0)


@pytest.mark.parametrize("reached", [0.1, 0.7])
def test_seeds_that_agree_have_a_range_of_length_0(recorded, reached):
    """In binary, the mean of three times 0.1 is above 0.1, and that of three times 0.7 below 0.7."""
    runs = [recorded("a", s, accuracy=[reached], audit=verdict(0.0, reached)) for s in range(3)]
    figure, _ = leakage_by_accuracy(runs)
    for bars in figure.axes[0].containers[0][2]:
        assert np.ptp(bars.get_segments()[0], axis=0) == pytest.approx([0, 0], abs=1e-12)


def test_runs_without_any_leakage_are_refused(recorded):
    with pytest.raises(ScenarioError, match="no evaluated run holds a reconstruction or an audit"):
        leakage_by_accuracy([recorded("a")])


def test_a_bound_stands_at_its_claim_and_the_diagonal_is_drawn(recorded):
    runs = [recorded("a", audit=verdict(0.5, 3.0)), recorded("b", audit=verdict(4.0, None, refuted=True))]
    figure, table = audit(runs)

    (axes,) = figure.axes
    diagonal, estimates, bounds = axes.lines
    assert (diagonal.get_xdata() == diagonal.get_ydata()).all()
    assert bounds.get_xydata().tolist() == [[2.0, 0.5], [2.0, 4.0]]
    assert estimates.get_xydata().tolist() == [[2.0, 3.0]]
    assert table["refuted"].tolist() == [False, True]
    assert "canaries: 20" in figure.get_supxlabel()


def test_an_audit_of_a_run_that_claims_nothing_has_no_place(recorded):
    with pytest.raises(ScenarioError, match="no run holds both an audit and an epsilon"):
        audit([recorded("a", audit=verdict(0.5, 3.0, epsilon=None)), recorded("b")])


def test_marks_of_other_defenses_are_not_joined(recorded, rebuilt):
    """By hand: of noise 0.1, noise 0.01 and none all are on the front, and the two noises are joined."""
    zeros = np.zeros((1, 1, 8, 8))
    found = {
        "a": ({"name": "gaussian_noise", "noise_std": 0.1}, 10.0, 0.6),
        "b": ({"name": "gaussian_noise", "noise_std": 0.01}, 20.0, 0.7),
        "c": ("none", 90.0, 0.9),
    }
    runs = [
        recorded(
            name,
            manifest={"scenario": {"name": "tiny", "seed": 0, "client_defense": defense}},
            items=[rebuilt(zeros, zeros, [psnr], [1.0], attack="bayes")],
            accuracy=[accuracy],
        )
        for name, (defense, psnr, accuracy) in found.items()
    ]
    figure, table = leakage_by_accuracy(runs)

    assert table["pareto"].tolist() == [True, True, True]
    joined = [line.get_xdata().tolist() for line in figure.axes[0].lines if len(line.get_xdata()) > 1]
    assert [0.6, 0.7] in joined
    assert not any({0.7, 0.9} <= set(ends) for ends in joined)


def test_a_defense_is_drawn_beside_an_attack_that_knows_of_it_or_not_at_all(recorded, rebuilt):
    """Pruning is to be shown beside dlg with masked = true, and noise beside bayes, as it is."""

    def run(defense, attack, **settings):
        zeros = np.zeros((1, 1, 8, 8))
        item = rebuilt(
            zeros, zeros, [20.0], [1.0], attack=attack, settings={"labels_known": True, **settings}
        )
        scenario = {"name": "tiny", "seed": 0, "client_defense": defense}
        return recorded("a", manifest={"scenario": scenario}, items=[item], accuracy=[0.9])

    pruning, noise = {"name": "gradient_pruning", "rate": 0.9}, {"name": "gaussian_noise"}
    for known in (
        run(pruning, "dlg", masked=True),
        run(noise, "bayes", max_iterations=9),
        run("none", "dlg"),
        run({"name": "/not/there.py:Mine"}, "dlg"),
    ):
        assert len(leakage_by_accuracy([known])[1]) == 1
    for alone in (run(pruning, "dlg"), run(noise, "dlg"), run(noise, "bayes", likelihood="laplace")):
        with pytest.raises(ScenarioError, match="alone, and nobody who knows of it: attack what"):
            leakage_by_accuracy([alone])
