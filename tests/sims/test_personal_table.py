"""The table of clients' own models: what it says, that a kill loses nothing of it, and who has none."""

import time
from pathlib import Path

import commands
import pandas as pd
import pytest
from forked import start

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.scenario import fingerprint, make_scenario
from gauntlet.sims.summary import print_summary, summary_rows


def scenario(**changes):
    """Cohorts of 4 of 8 clients, of whom two attack, on digits of few classes each."""
    return {
        "name": "own",
        "rounds": 4,
        "num_clients": 8,
        "held_out": 0.25,
        "data": "digits",
        "partition": {"name": "dirichlet", "alpha": 0.2},
        "model": {"name": "mlp", "hidden": [12]},
        "training": {"local_steps": 8, "batch_size": 16, "lr": 0.3},
        "algorithm": "ditto",
        "sampler": {"name": "fixed_size", "cohort_size": 4},
        "attacks": [{"name": "sign_flip", "clients": [2, 5]}],
        "evaluation": {"every": 2},
        "checkpoint": {"every": 1},
        "runtime": {"pool": "serial"},
        **changes,
    }


def bits(folder: Path) -> dict[str, bytes]:
    """Every table but the wall-clock times, and the checkpoints."""
    tables = [p for p in folder.glob("*.parquet") if p.stem != "timings"]
    return {p.name: p.read_bytes() for p in (*tables, *(folder / "checkpoints").iterdir())}


def test_it_has_a_row_a_client_that_was_ever_counted_and_evaluated_round(tmp_path):
    run = simulate(make_scenario(scenario()), tmp_path / "run")
    table = pd.read_parquet(tmp_path / "run" / "personal.parquet")

    assert table.equals(run.personal)
    assert list(table.columns[:5]) == ["round", "client_id", "examples", "accuracy", "global_accuracy"]
    for round_ in (1, 3):
        met = run.clients[run.clients["round"] <= round_]
        rows = table[table["round"] == round_]
        assert rows["client_id"].tolist() == sorted(met["client_id"].unique())
        attacked = set(met.loc[met["ever_attacked"], "client_id"])
        assert set(rows.loc[rows["ever_attacked"], "client_id"]) == attacked
    assert set(table["round"]) == {1, 3}


def test_the_summary_has_the_mean_and_the_worst_of_honest_clients(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # no cell in two lines
    run = simulate(make_scenario(scenario()), tmp_path / "run")
    last = run.personal[(run.personal["round"] == 3) & ~run.personal["ever_attacked"]]
    (row,) = summary_rows([run])

    for name, column in (("personal", "accuracy"), ("shared", "global_accuracy")):
        assert row[name] == pytest.approx(last[column].mean())
        assert row[f"{name}_worst"] == last[column].min()
    print_summary([run])
    shown = capsys.readouterr().out
    assert f"{last['accuracy'].mean():.3f} ({last['accuracy'].min():.3f})" in shown


def test_where_nothing_is_held_out_there_is_no_such_table(tmp_path):
    run = simulate(make_scenario(scenario(rounds=1, held_out=0.0)), tmp_path / "run")
    assert run.personal is None
    assert run.fairness is None
    assert not (tmp_path / "run" / "personal.parquet").exists()
    assert summary_rows([run])[0]["personal"] is None


def test_without_own_models_the_global_one_is_scored_on_what_every_client_holds_out(tmp_path, capsys):
    run = simulate(make_scenario(scenario(algorithm="fedavg")), tmp_path / "run")
    own = simulate(make_scenario(scenario()), tmp_path / "ditto")
    last, same = (r.personal[r.personal["round"] == 3].set_index("client_id") for r in (run, own))

    assert last.index.tolist() == list(range(8))
    assert last["accuracy"].isna().all()
    assert last["loss"].isna().all()
    both = same.index  # Ditto's global model is FedAvg's, to the last bit
    pd.testing.assert_frame_equal(
        last.loc[both, ["examples", "global_accuracy", "global_loss"]],
        same[["examples", "global_accuracy", "global_loss"]],
    )
    (row,) = summary_rows([run])
    assert row["personal"] is None
    assert row["shared_worst"] == last.loc[~last["ever_attacked"], "global_accuracy"].min()
    print_summary([run])
    assert f"{row['shared_p10']:.3f}, {row['shared_std']:.3f}" in capsys.readouterr().out


def test_fairness_is_the_spread_over_honest_clients(tmp_path):
    """Counted again with pandas from the table of clients."""
    run = simulate(make_scenario(scenario()), tmp_path / "run")
    assert run.fairness[["round", "model"]].to_numpy().tolist() == [
        [1, "global"],
        [1, "own"],
        [3, "global"],
        [3, "own"],
    ]
    for _, row in run.fairness.iterrows():
        table = run.personal[(run.personal["round"] == row["round"]) & ~run.personal["ever_attacked"]]
        scores = table["global_accuracy" if row["model"] == "global" else "accuracy"]
        assert row["clients"] == len(scores)
        assert row["mean"] == pytest.approx(scores.mean())
        assert row["std"] == pytest.approx(scores.std(ddof=0))
        assert row["p10"] == pytest.approx(scores.quantile(0.1))
        assert (row["worst"], row["median"], row["best"]) == (scores.min(), scores.median(), scores.max())
    (summed,) = summary_rows([run])
    last = run.fairness[run.fairness["round"] == 3].set_index("model")
    assert summed["shared_p10"] == last.loc["global", "p10"]
    assert summed["personal_std"] == pytest.approx(last.loc["own", "std"])


def test_a_run_that_holds_nothing_out_has_the_fingerprint_that_it_had_before_the_key():
    values = make_scenario(scenario(held_out=0.0)).values()
    before = {name: value for name, value in values.items() if name != "held_out"}
    assert fingerprint(values, {}) == fingerprint(before, {})
    assert fingerprint(values | {"held_out": 0.1}, {}) != fingerprint(before, {})


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_one_line(share):
    with pytest.raises(ScenarioError, match="held_out"):
        make_scenario(scenario(held_out=share))


@pytest.mark.slow
def test_killed_and_resumed_it_gives_the_bits_of_a_run_that_never_stopped(tmp_path):
    values = scenario(rounds=60, evaluation={"every": 1})
    whole = simulate(make_scenario(values), tmp_path / "whole").folder
    process = start(commands.simulate, values, "dead", cwd=tmp_path)
    dead = tmp_path / "dead"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(dead.glob("checkpoints/round-00000[3-9].safetensors")):
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode != 0, "it had finished before it was killed"
    resume(dead)
    assert "personal.parquet" in bits(whole)
    assert bits(dead) == bits(whole)


@pytest.mark.slow
def test_ray_gives_the_bits_of_one_process(tmp_path, ray_here):
    one = simulate(make_scenario(scenario()), tmp_path / "one").folder
    ray = scenario(runtime={"pool": "ray", "num_workers": 2})
    assert bits(simulate(make_scenario(ray), tmp_path / "ray").folder) == bits(one)
