"""One curve a mechanism: noise runs along it, everything else tells curves apart."""

import numpy as np
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.utility import utility_by_epsilon

FACTS = {"unit": "client", "relation": "add_remove", "sampling": "poisson", "trust_model": "central"}


@pytest.fixture
def run(recorded):
    def make(z, seed=0, epsilon=None, accuracy=0.5, clip_norm=1.0, delta=1e-5, reason=None, **other):
        privacy = {"name": "gaussian", "noise_multiplier": z, "clip_norm": clip_norm, "delta": delta}
        scenario = {"name": "s", "seed": seed, "privacy": privacy, **other}
        spent = {"value": epsilon, "reason": reason, "accountant": "pld" if epsilon else None}
        return recorded(
            f"z={z} C={clip_norm}", seed, accuracy=[0.1, accuracy], epsilon=[99.0, 99.0], delta=delta,
            epsilon_reason=None, accountant="rdp", **FACTS,
            manifest={"scenario": scenario, "epsilon": spent, "versions": {"dp-accounting": "0.6.0"}},
        )  # fmt: skip

    return make


@pytest.fixture
def public(recorded):
    def make(accuracy, seed=0):
        return recorded(
            "none", seed, accuracy=[accuracy],
            manifest={"scenario": {"name": "s", "privacy": {"name": "none"}},
                      "epsilon": {"value": None, "reason": "no_mechanism"}},
        )  # fmt: skip

    return make


def entries(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_settings_of_the_noise_become_one_curve_in_ascending_epsilon(run):
    figure, table = utility_by_epsilon(
        [run(1.0, epsilon=4.0, accuracy=0.8), run(2.0, epsilon=1.0, accuracy=0.6)]
    )

    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert axes.lines[0].get_xdata().tolist() == [1.0, 4.0]
    assert axes.lines[0].get_ydata().tolist() == [0.6, 0.8]
    assert table["curve"].tolist() == ["gaussian", "gaussian"]
    assert entries(figure) == ["gaussian"]


def test_the_epsilon_is_the_tightest_of_the_whole_run_not_the_live_bound(run):
    assert utility_by_epsilon([run(1.0, epsilon=4.0)])[1]["epsilon"].tolist() == [4.0]


def test_whatever_else_differs_is_another_curve_and_is_named(run):
    figure, table = utility_by_epsilon(
        [run(1.0, epsilon=4.0), run(1.0, epsilon=4.0, clip_norm=0.1), run(2.0, epsilon=1.0)]
    )
    assert table["curve"].value_counts().to_dict() == {
        "gaussian clip_norm=1.0": 2,
        "gaussian clip_norm=0.1": 1,
    }
    assert sorted(entries(figure)) == ["gaussian clip_norm=0.1", "gaussian clip_norm=1.0"]


def test_a_curve_is_named_by_the_ends_of_its_keys_and_never_by_where_clients_ran(run):
    steady = run(1.0, epsilon=4.0, clip_norm={"name": "moo", "kappa": 0.1}, device="auto")
    slow = run(1.0, epsilon=4.0, clip_norm=1.0, server_optimizer={"name": "sgd", "warmup_rounds": 5})

    curves = utility_by_epsilon([steady, slow])[1]["curve"].tolist()
    assert curves == [
        "gaussian clip_norm=1.0 server_optimizer=sgd warmup_rounds=5",
        "gaussian clip_norm=moo kappa=0.1",
    ]


def test_another_delta_is_another_curve(run):
    _, table = utility_by_epsilon([run(1.0, epsilon=4.0), run(2.0, epsilon=1.0, delta=1e-3)])
    assert sorted(table["curve"]) == ["gaussian delta=0.001", "gaussian delta=1e-05"]


def test_seeds_become_a_mean_with_a_band(run):
    runs = [run(z, s, e, a) for z, e in ((1.0, 4.0), (2.0, 1.0)) for s, a in ((0, 0.4), (1, 0.8))]
    figure, table = utility_by_epsilon(runs)
    assert table["accuracy"].tolist() == pytest.approx([0.6, 0.6])
    assert table["accuracy_low"].tolist() == [0.4, 0.4]
    assert table["accuracy_high"].tolist() == [0.8, 0.8]
    assert len(figure.axes[0].collections) == 1
    assert entries(figure) == ["gaussian (n = 2)"]
    deviation = utility_by_epsilon(runs, band="std")[1]
    assert deviation["accuracy_high"].tolist() == pytest.approx([0.6 + 0.08**0.5] * 2)


def test_a_run_without_any_mechanism_is_a_dashed_line_and_clipping_alone_no_guarantee(run, public):
    figure, table = utility_by_epsilon(
        [run(1.0, epsilon=4.0), run(0.0, reason="no_mechanism", accuracy=0.7), public(0.9)]
    )
    main, column = figure.axes
    assert [list(line.get_ydata()) for line in main.lines if line.is_dashed() and len(line.get_ydata())] == [
        [0.9, 0.9]
    ]
    assert column.get_xlabel() == "no\nguarantee"
    assert dict(zip(table["kind"], table["accuracy"], strict=True)) == {
        "guarantee": 0.5, "no_guarantee": 0.7, "none": 0.9,
    }  # fmt: skip
    assert "not private" in entries(figure)
    assert np.isnan(table[table["kind"] == "no_guarantee"]["epsilon"].iloc[0])


def test_one_seed_without_a_guarantee_takes_it_from_its_label(run):
    _, table = utility_by_epsilon(
        [run(2.0, epsilon=1.0), run(1.0, 0, epsilon=4.0), run(1.0, 1, reason="not_finite")]
    )
    assert dict(zip(table["label"], table["kind"], strict=True))["z=1.0 C=1.0"] == "no_guarantee"


def test_the_caption_names_unit_relation_sampling_delta_accountant_and_trust(run):
    text = utility_by_epsilon([run(1.0, epsilon=4.0)])[0].get_supxlabel()
    for fact in ("unit: client", "relation: add_remove", "sampling: poisson", "δ: 1e-05",
                 "accountant: pld (dp-accounting 0.6.0)", "trust model: central"):  # fmt: skip
        assert fact in text
    assert max(map(len, text.splitlines())) <= 105


def test_seeds_of_different_delta_are_never_averaged(run):
    """Privacy spec, section 14: aggregation over seeds refuses to mix delta: each is a point of its own."""
    _, table = utility_by_epsilon([run(1.0, 0, epsilon=4.0), run(1.0, 1, epsilon=4.0, delta=1e-3)])

    assert table["seeds"].tolist() == [1, 1]
    assert set(table["label"]) == {"delta = 1e-05", "delta = 0.001"}
    assert set(table["curve"]) == {"gaussian delta=1e-05", "gaussian delta=0.001"}


def test_runs_without_any_epsilon_are_refused(public):
    with pytest.raises(ScenarioError, match="no run with a guarantee was evaluated"):
        utility_by_epsilon([public(0.9)])


def test_above_ten_curves_the_first_ten_are_drawn_beside_what_is_not_private(run, public):
    runs = [run(1.0, epsilon=4.0, clip_norm=c + 10.0) for c in range(12)]
    figure, table = utility_by_epsilon(
        [run(1.0, clip_norm=1.0, reason="unequal_weights"), *runs, public(0.9)]
    )

    assert "The first 10 of 13 curves; gauntlet plot --only KEY=VALUE draws others." in figure.get_supxlabel()
    assert table["kind"].value_counts().to_dict() == {"guarantee": 10, "none": 1}
    assert len(entries(figure)) == 11
