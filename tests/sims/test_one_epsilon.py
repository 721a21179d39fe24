"""One run, one epsilon: in tables, plots, manifest and files, for one seed and for several."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from gauntlet.privacy.accounting.curves import pld_epsilon, rdp_epsilon
from gauntlet.sims.plots.privacy import accuracy_by_epsilon
from gauntlet.sims.plots.utility import utility_by_epsilon
from gauntlet.sims.results import load_run
from gauntlet.sims.run import simulate
from gauntlet.sims.spent import settled, settled_frame
from gauntlet.sims.summary import summary_rows

PRIVATE = {
    "privacy": {"name": "gaussian", "clip_norm": 0.5, "noise_multiplier": 0.8, "delta": 1e-3},
    "defense": {"name": "mean", "weighting": "fixed"},
    "sampler": {"name": "poisson", "sample_rate": 0.3},
    "rounds": 6,
}
HIDDEN = PRIVATE | {"privacy": PRIVATE["privacy"] | {"relation": "zero_out"}}
CHARGES = [("poisson", 0.8, 0.3, 6, 6)]


def test_a_run_s_curve_ends_at_the_tight_epsilon_that_everything_shows(tiny, tmp_path):
    """Privacy loss distributions, not the live Renyi bound, which is a tenth above."""
    run = simulate(tiny(**PRIVATE), tmp_path / "run")
    tight = run.manifest["epsilon"]["value"]
    assert tight == pytest.approx(pld_epsilon(CHARGES, 1e-3, 1e-3), abs=2e-3)
    assert rdp_epsilon(CHARGES, 1e-3) > tight * 1.05
    column = run.rounds["epsilon"]
    assert column.iloc[-1] == tight
    assert column.is_monotonic_increasing
    assert pd.read_parquet(run.folder / "rounds.parquet")["epsilon"].tolist() == column.tolist()
    assert run.rounds["accountant"].iloc[-1] == "pld"
    assert summary_rows([run])[0]["epsilon"] == tight
    assert accuracy_by_epsilon([run])[1]["epsilon"].iloc[-1] == tight
    assert utility_by_epsilon([run])[1]["epsilon"].tolist() == [tight]


def test_the_live_bounds_of_early_rounds_stay_where_they_are_smaller(tiny, tmp_path):
    run = simulate(tiny(**PRIVATE), tmp_path / "run")
    live = [rdp_epsilon([("poisson", 0.8, 0.3, 6, t)], 1e-3) for t in range(1, 7)]
    expected = np.minimum(live, run.manifest["epsilon"]["value"])
    assert run.rounds["epsilon"].tolist() == pytest.approx(expected.tolist(), rel=1e-9)
    assert expected[0] < expected[-1]


def test_a_budget_is_what_every_table_and_plot_shows(tiny, tmp_path):
    """A budget of 8 is spent to a thousandth and not passed; the live bound would say more."""
    asked = {**PRIVATE, "privacy": {"name": "gaussian", "clip_norm": 0.5, "epsilon": 8.0, "delta": 1e-3}}
    run = simulate(tiny(**asked), tmp_path / "run")
    for value in (
        run.rounds["epsilon"].iloc[-1],
        summary_rows([run])[0]["epsilon"],
        utility_by_epsilon([run])[1]["epsilon"].iloc[0],
        accuracy_by_epsilon([run])[1]["epsilon"].iloc[-1],
    ):
        assert 7.99 < value <= 8.0


def test_a_run_that_an_earlier_version_finished_is_read_alike(tiny, tmp_path):
    """Its table ends at the live bound; its manifest knows better."""
    run = simulate(tiny(**PRIVATE), tmp_path / "run")
    epsilon = run.manifest["epsilon"]
    table = pq.read_table(run.folder / "rounds.parquet").to_pandas()
    old = table.assign(epsilon=table["epsilon"] * 1.5, accountant="rdp")
    found = settled_frame(old, epsilon)
    assert found["epsilon"].iloc[-1] == epsilon["value"]
    assert found["accountant"].iloc[-1] == "pld"
    assert found["epsilon"].is_monotonic_increasing
    assert settled_frame(old, None) is old


def test_rows_without_an_epsilon_stay_without(tiny, tmp_path):
    run = simulate(tiny(rounds=2), tmp_path / "run")
    table = pq.read_table(run.folder / "rounds.parquet")
    assert settled(table, {"value": 1.0, "accountant": "pld"})["epsilon"].null_count == 2
    assert settled(table, {"value": None}) is table


def test_of_several_seeds_table_and_plots_show_the_largest(tiny, tmp_path):
    """Fixed cohorts without amplification: epsilon is the busiest client's, which differs between seeds."""
    changes = {**HIDDEN, "sampler": {"name": "fixed_size", "cohort_size": 2}, "rounds": 4}
    runs = [simulate(tiny(**changes, seed=seed), tmp_path / str(seed)) for seed in range(4)]
    values = [run.manifest["epsilon"]["value"] for run in runs]
    assert len(set(values)) > 1
    (row,) = summary_rows(runs)
    assert row["epsilon"] == max(values)
    for band in ("range", "std"):
        assert utility_by_epsilon(runs, band)[1]["epsilon"].tolist() == [max(values)]
        assert accuracy_by_epsilon(runs, band)[1]["epsilon"].iloc[-1] == max(values)


def test_of_several_seeds_one_without_a_guarantee_leaves_none_and_says_why(tiny, tmp_path):
    """Cohorts of 3 of 6 and one attacker that sees: whether it comes in the only round is chance."""
    changes = {
        **HIDDEN,
        "sampler": {"name": "fixed_size", "cohort_size": 3},
        "attacks": [{"name": "ipm", "count": 1}],
        "rounds": 1,
    }
    found = {}
    for seed in range(20):
        run = simulate(tiny(**changes, seed=seed), tmp_path / str(seed))
        found.setdefault(run.manifest["epsilon"]["value"] is None, run)
        if len(found) == 2:
            break
    for order in ((False, True), (True, False)):
        (row,) = summary_rows([load_run(found[kind].folder) for kind in order])
        assert (row["epsilon"], row["epsilon_reason"]) == (None, "attackers_see_updates")
