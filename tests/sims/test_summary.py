"""The closing table, and what a run says while it goes on."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from gauntlet.sims.matrix_table import cell_scores
from gauntlet.sims.plots import draw
from gauntlet.sims.progress import Lines
from gauntlet.sims.results import load_run
from gauntlet.sims.run import simulate
from gauntlet.sims.summary import print_summary, summary_rows, summary_table
from gauntlet.sims.sweep import sweep


def test_rows_are_means_over_seeds_with_half_the_range(tiny, tmp_path):
    runs = sweep(tiny(sweep={"defense": ["mean", "median"], "seed": [0, 1]}), tmp_path / "sweep")
    accuracy = [run.rounds["accuracy"].iloc[-1] for run in runs]

    rows = summary_rows(runs)

    assert [row["run"] for row in rows] == ["mean", "median"]
    assert rows[0]["accuracy"] == sum(accuracy[:2]) / 2
    assert rows[0]["accuracy_spread"] == abs(accuracy[0] - accuracy[1]) / 2
    assert rows[0]["megabytes_up"] == runs[0].rounds["bytes_up"].sum() / 1e6


def test_epsilon_is_the_whole_runs_and_none_says_why(tiny, tmp_path, capsys):
    noise = {"name": "gaussian", "clip_norm": 1.0, "noise_multiplier": 2.0, "delta": 1e-3}
    fixed = {"name": "mean", "weighting": "fixed"}
    runs = sweep(tiny(privacy=noise, sweep={"defense": [fixed, "median"]}), tmp_path / "sweep")
    print_summary(runs)

    rows = summary_rows(runs)
    assert rows[0]["epsilon"] <= runs[0].rounds["epsilon"].iloc[-1]
    assert (rows[1]["epsilon"], rows[1]["epsilon_reason"]) == (None, "aggregator")
    printed = capsys.readouterr().out
    assert "none (aggregator)" in printed
    assert f"{rows[0]['epsilon']:.2f}" in printed


def test_tables_that_do_not_tell_attackers_at_rest_apart_are_read_as_they_were_written(tiny, tmp_path):
    """Earlier results count a flag on an attacker at rest as a false alarm, and say no more."""
    flagging = "signguard"
    (run,) = sweep(tiny(defense=flagging, attacks=[{"name": "ipm", "share": 0.4}]), tmp_path / "run")
    new = ["flagged", "attacking", "ever_attacked", "resting_flagged"]
    folder = shutil.copytree(run.folder, tmp_path / "earlier")
    for name in ("rounds", "clients"):
        path = folder / f"{name}.parquet"
        pq.write_table(
            pq.read_table(path).drop_columns([n for n in new if n in pq.read_schema(path).names]), path
        )
    manifest = {key: value for key, value in run.manifest.items() if key != "files"}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"schema": 1}))

    old = load_run(folder)

    assert not set(new) & set(old.rounds.columns)
    assert summary_rows([old]) == summary_rows([run])
    assert cell_scores(old)["resting_flagged"] == cell_scores(run)["resting_flagged"] == 0
    draw("timeline", [old])


def test_plain_lines_say_rounds_accuracy_speed_and_time_left(capsys):
    """By hand: 20 clients in 4 seconds are 5 a second, and nine more such pairs of rounds take 36 s.

    The clock is the run's own: that all is told at once, as a sweep's driver hears it, changes nothing.
    """
    lines = Lines()
    lines.begin(0, "demo", 20, 0)
    for t in range(20):
        lines.advance(0, t, ("accuracy", 0.5), 10, 2.0 * (t + 1))
    printed = capsys.readouterr().out.splitlines()

    assert len(printed) == 1 + 10
    assert printed[1] == "demo: round 2/20  accuracy 0.500  5 clients/s  36 s left"
    assert printed[-1] == "demo: round 20/20  accuracy 0.500  5 clients/s  0 s left"


def test_the_best_psnr_comes_with_what_its_attack_was_told(tiny, tmp_path, capsys):
    one = {"local_steps": 1, "batch_size": 1, "lr": 0.5}
    run = simulate(
        tiny(rounds=1, training=one, probes=[{"name": "bias_trick", "client": 1}]), tmp_path / "run"
    )

    (row,) = summary_rows([run])
    assert (row["sok"], row["psnr"]) == ("C", pytest.approx(float(run.gallery()[0].psnr.max())))
    print_summary([run])
    assert f"{row['psnr']:.1f} (C)" in capsys.readouterr().out


def test_mean_median_and_worst_of_the_same_attack_stand_beside_the_best(tiny, tmp_path, capsys, monkeypatch):
    """By numpy, over both images of both seeds, of the attack that rebuilt one of them best."""
    monkeypatch.setenv("COLUMNS", "200")
    probes = [{"name": "dlg", "client": 1, "labels_known": True, "max_iterations": n} for n in (1, 4)]
    runs = sweep(tiny(rounds=1, probes=probes, sweep={"seed": [0, 1]}), tmp_path / "sweep")
    items = [item for run in runs for item in run.gallery()]
    best = max(items, key=lambda item: item.psnr.max())
    scores = np.concatenate([item.psnr for item in items if item.settings == best.settings])
    assert (len(scores), len(items)) == (4, 4)

    (row,) = summary_rows(runs)
    print_summary(runs)

    expected = [scores.max(), scores.mean(), np.median(scores), scores.min()]
    assert [row[f"psnr{end}"] for end in ("", "_mean", "_median", "_worst")] == pytest.approx(expected)
    printed = capsys.readouterr().out
    assert f"{expected[0]:.1f} (C)" in printed
    assert ", ".join(f"{value:.1f}" for value in expected[1:]) in printed


def test_the_spread_is_the_one_that_is_asked_for(tiny, tmp_path):
    """Of two seeds the standard deviation is the range over sqrt(2); Student's interval 6.353 ranges wide."""
    runs = sweep(tiny(rounds=1, sweep={"seed": [0, 1]}), tmp_path / "sweep")
    ((half,), (std,), (ci,)) = (summary_rows(runs, band) for band in ("range", "std", "ci"))

    assert half["accuracy_spread"] > 0
    assert std["accuracy_spread"] == pytest.approx(2 * half["accuracy_spread"] / 2**0.5)
    assert ci["accuracy_spread"] == pytest.approx(12.7062 * half["accuracy_spread"], rel=1e-4)


def test_where_nobody_attacks_there_is_no_recall_but_false_alarms(tiny, tmp_path, gauntlet):
    run = simulate(tiny(defense="signguard", num_clients=10), tmp_path / "run")
    rounds = run.rounds
    (row,) = summary_rows([run])

    assert rounds["false_positives"].sum() > 0
    assert row["recall"] is None
    share = rounds["false_positives"].sum() / rounds[["false_positives", "true_negatives"]].sum().sum()
    assert row["false_positive_rate"] == share
    told = gauntlet("table", "run", "--format", "csv", "--columns", "recall,false_positive_rate").stdout
    assert told.splitlines()[1] == f",{100 * share:.1f}"


def test_the_seconds_of_a_link_stand_in_the_consoles_table_and_in_a_papers(tiny, tmp_path, gauntlet):
    link = {"up_mbps": 1.0, "down_mbps": 2.0}
    run = simulate(tiny(link=link), tmp_path / "run")
    last = run.rounds.iloc[-1]
    _, columns, rows = summary_table([run])
    told = gauntlet("table", "run", "--format", "csv", "--columns", "virtual_seconds,bytes_down").stdout

    assert last["virtual_seconds"] > 0
    assert rows[0][columns.index("simulated seconds")] == f"{last['virtual_seconds']:.4g}"
    assert rows[0][columns.index("MB down")] == f"{last['total_bytes_down'] / 1e6:.2f}"
    assert told.splitlines()[1] == f"{last['virtual_seconds']:.4g},{last['total_bytes_down']:.0f}"
