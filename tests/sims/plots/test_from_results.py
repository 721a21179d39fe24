"""From real results to pictures: what a run's probes and later attacks left, read back and drawn."""

import json
from pathlib import Path

import pandas as pd
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.arguments import Aware
from gauntlet.sims.attack_choice import attacks_of
from gauntlet.sims.plots import draw_to
from gauntlet.sims.plots.leak_marks import looks_of
from gauntlet.sims.plots.leaks import leaks_of
from gauntlet.sims.reattack import attack_again
from gauntlet.sims.rebuilt import load_rebuilt
from gauntlet.sims.recorded import recorded as recordings
from gauntlet.sims.results import load_run
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario

SCENARIO = {
    "name": "leaky",
    "rounds": 1,
    "num_clients": 6,
    "data": "digits",
    "model": {"name": "mlp", "hidden": [8], "activation": "tanh"},
    "training": {"local_steps": 1, "batch_size": 1, "lr": 0.5},
    "runtime": {"pool": "serial"},
    "probes": [{"name": "dlg", "max_iterations": 4}],
}


def attack(folder, *names):
    attack_again(
        recordings([str(folder)]), attacks_of(names, ())[0], lambda call, *given: lambda: call(*given)
    )


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """A run whose message was attacked by DLG during the run and by the bias trick later."""
    folder = simulate(make_scenario(SCENARIO), tmp_path_factory.mktemp("leaky") / "run").folder
    attack(folder, "bias_trick")
    return folder


def test_every_picture_draws_what_the_results_say(leaky, tmp_path):
    paths = [p for name in ("reconstructions", "attacked") for p in (leaky / name).iterdir() if p.is_dir()]
    said = {r["attack"]: r for p in paths for r in [json.loads((p / "reconstruction.json").read_text())]}
    tables = {}
    for name in ("leakage-frontier", "leakage-time", "leakage-batch", "reconstructions"):
        path = draw_to(tmp_path / f"{name}.png", name, [load_run(leaky)])
        tables[name] = pd.read_csv(path.with_suffix(".csv")).set_index("attack")

    assert set(said) == {"dlg", "bias_trick"}
    for attacker, report in said.items():
        (psnr,) = report["psnr"]
        assert tables["leakage-frontier"].loc[attacker, "mean"] == pytest.approx(psnr)
        assert tables["reconstructions"].loc[attacker, "psnr"] == pytest.approx(psnr)
        assert tables["leakage-batch"].loc[attacker, "recovered"] == float(psnr > 30)
        rows = tables["leakage-time"].loc[[attacker]]
        assert rows["psnr"].iloc[-1] == pytest.approx(psnr)
        assert rows["psnr"].tolist()[:-1] == pytest.approx(report.get("progress", {}).get("psnr", []))
        assert (rows["seconds"].diff().dropna() >= 0).all()
    assert tables["leakage-batch"].loc["bias_trick", "recovered"] == 1.0  # exact: arXiv:2003.14053, 3.1
    assert len(tables["leakage-time"].loc[["dlg"]]) > 2


def test_the_steps_of_a_search_are_drawn_from_what_was_kept(leaky, tmp_path):
    path = draw_to(tmp_path / "steps.png", "reconstructions", [load_run(leaky)], by="iteration")
    table = pd.read_csv(path.with_suffix(".csv"))
    assert set(table["attack"]) == {"dlg"}
    assert table["closures"].is_monotonic_increasing


def test_a_defended_run_is_drawn_once_somebody_who_knows_of_the_defense_attacked_it(tmp_path, gauntlet):
    scenario = {**SCENARIO, "client_defense": {"name": "gradient_pruning", "rate": 0.5}}
    folder = simulate(make_scenario(scenario), tmp_path / "run").folder
    refused = gauntlet("plot", "leakage-frontier", folder)
    assert refused.returncode == 2
    assert "attacked by dlg alone, and nobody who knows of it" in refused.stderr

    help_ = refused.stderr.partition("--with '")[2].partition("'")[0]
    attack(folder, help_)
    drawn = gauntlet("plot", "leakage-frontier", folder)
    assert drawn.returncode == 0, drawn.stderr
    table = pd.read_csv(folder / "plots" / "leakage-frontier.csv").set_index("attack")
    assert table["adapted"].to_dict() == {"dlg (max_iterations = 4)": "no", "dlg (masked = true)": "yes"}


@pytest.mark.parametrize("name", ["identity", "topk"])
def test_results_of_earlier_versions_are_drawn_as_far_as_they_go(recorded, tmp_path, name):
    """They hold neither time, nor steps, nor baselines."""
    (place,) = (Path(__file__).parents[1] / "schema2" / name / "reconstructions").iterdir()
    run = recorded(accuracy=[0.5], items=[load_rebuilt(place)])
    for plot in ("leakage-frontier", "leakage-batch", "reconstructions"):
        assert draw_to(tmp_path / f"{plot}.svg", plot, [run]).is_file()
    with pytest.raises(ScenarioError, match="results of earlier versions hold none"):
        draw_to(tmp_path / "time.png", "leakage-time", [run])


def test_an_attack_that_takes_what_the_codec_says_is_solid_beside_the_one_that_does_not(tmp_path):
    """They are two rows of one command: ``--codec-aware both``."""
    scenario = {**SCENARIO, "codec": {"name": "topk", "density": 0.3}}
    folder = simulate(make_scenario(scenario), tmp_path / "run").folder
    attacks, _ = attacks_of(["dlg"], ["max_iterations=3"], Aware.both)
    attack_again(recordings([str(folder)]), attacks, lambda call, *given: lambda: call(*given))

    looks = looks_of(leaks_of([load_run(folder)]))
    lines = {name: look["linestyle"] for name, look in looks.items() if "= 3" in name}
    assert {("auto" in name, line) for name, line in lines.items()} == {(True, "-"), (False, "--")}
    assert len({look["color"] for name, look in looks.items() if name in lines}) == 1


def test_a_run_without_a_mechanism_has_no_place_against_epsilon(leaky, tmp_path):
    with pytest.raises(ScenarioError, match="there is no epsilon to draw leakage against"):
        draw_to(tmp_path / "a.png", "leakage-epsilon", [load_run(leaky)])
