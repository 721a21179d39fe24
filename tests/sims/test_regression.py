"""A forecast from scenario to tables, summary and pictures."""

import pandas as pd
import pytest

from gauntlet.core.errors import DataError, ScenarioError
from gauntlet.server.checkpoint import checkpoints, read_checkpoint
from gauntlet.server.scoring.evaluation import OutputScore, Score
from gauntlet.sims.catalogue import draw_labels
from gauntlet.sims.matrix import run_matrix
from gauntlet.sims.plots import draw, find
from gauntlet.sims.progress import Bars, Lines, headline
from gauntlet.sims.records import OUTPUTS
from gauntlet.sims.results import load_run
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import load_scenario, make_scenario
from gauntlet.sims.summary import print_summary, summary_rows
from gauntlet.sims.sweep import sweep

FORECAST = {
    "name": "forecast",
    "rounds": 2,
    "num_clients": 65,
    "data": "mobility",
    "partition": "natural",
    "model": {"name": "linear", "zero_init": True},
    "training": {"local_steps": 2, "lr": 1e-3, "optimizer": "adam", "loss": "mae"},
    "runtime": {"pool": "serial"},
}
NOISES = [{"name": "none"}, *({"name": "input_gaussian", "delta": 1e-7, "epsilon": e} for e in (0.9, 0.03))]


@pytest.fixture(scope="module")
def runs(real_data, tmp_path_factory):
    real_data("mobility")
    scenario = make_scenario(FORECAST | {"sweep": {"privacy": NOISES, "seed": [0, 1]}})
    return sweep(scenario, tmp_path_factory.mktemp("forecast") / "sweep")


def test_tables_hold_errors_in_place_of_accuracy(runs):
    rounds, outputs = runs[0].rounds, runs[0].outputs

    assert rounds["accuracy"].isna().all()
    assert len(outputs) == 2 * 6
    assert outputs[outputs["round"] == 1]["rmse"].mean() == pytest.approx(rounds["rmse"].iloc[-1])
    assert outputs[outputs["round"] == 1]["mae"].mean() == pytest.approx(rounds["mae"].iloc[-1])
    assert outputs["output"].iloc[0] == "Commune Montreuil"
    assert list(pd.read_parquet(runs[0].folder / "outputs.parquet")) == OUTPUTS.names


def test_an_interrupted_forecast_goes_on_with_its_tables(runs, tmp_path):
    from gauntlet.sims.writer import RunWriter

    scenario = make_scenario(FORECAST | {"checkpoint": {"every": 1}})
    folder = simulate(scenario, tmp_path / "run").folder
    before, _ = checkpoints(folder / "checkpoints")
    again = RunWriter.reopen(folder, read_checkpoint(before, load_run(folder).manifest["fingerprint"]))
    again.fail("stopped after its first round")

    assert pd.read_parquet(folder / "outputs.parquet")["round"].tolist() == [0] * 6


def test_the_summary_shows_errors_with_their_spread(runs, capsys):
    rows = summary_rows(runs)
    print_summary(runs)
    printed = capsys.readouterr().out

    assert rows[0]["accuracy"] is None
    assert rows[0]["rmse"] == pytest.approx(sum(r.rounds["rmse"].iloc[-1] for r in _plain(runs)) / 2)
    assert rows[0]["rmse_spread"] is not None
    assert "RMSE" in printed
    assert "MAE" in printed
    assert "accuracy" not in printed
    assert 0 < rows[2]["epsilon"] < 0.03  # the exact analysis of the noise that the formula takes for 0.03
    assert f"{rows[2]['epsilon']:.2g}" in printed


def _plain(runs):
    return [run for run in runs if run.manifest["epsilon"]["value"] is None]


def test_a_classifications_summary_shows_no_errors(tmp_path, capsys):
    raw = FORECAST | {"data": "digits", "partition": "iid", "num_clients": 3, "training": {"local_steps": 1}}
    print_summary([simulate(make_scenario(raw), tmp_path / "run")])
    printed = capsys.readouterr().out

    assert "accuracy" in printed
    assert "RMSE" not in printed


@pytest.mark.parametrize(
    ("plot", "label"), [("rmse", "Test RMSE"), ("mae", "Test MAE"), ("loss", "Test loss")]
)
def test_errors_are_drawn_by_round(runs, plot, label):
    figure, table = find(plot)(runs)

    assert figure.axes[0].get_ylabel() == label
    assert table[plot].notna().all()


def test_summary_and_utility_show_the_error_where_there_is_no_accuracy(runs):
    _, numbers = find("summary")(runs)
    figure, table = find("utility_by_epsilon")(runs)

    assert "rmse" in set(numbers["panel"])
    assert figure.axes[0].get_ylabel() == "Test RMSE"
    assert set(table["kind"]) == {"guarantee", "none"}
    assert table["rmse"].notna().all()


def test_errors_of_a_classification_cannot_be_drawn(tmp_path):
    raw = FORECAST | {"data": "digits", "partition": "iid", "num_clients": 3, "training": {"local_steps": 1}}
    run = simulate(make_scenario(raw), tmp_path / "run")

    with pytest.raises(ScenarioError, match="there is no test RMSE to draw: not all runs are regressions"):
        draw("rmse", [run])


def test_progress_tells_the_error():
    score = Score(None, 1.0, outputs=(OutputScore("a", 2, 3.0, 1.0), OutputScore("b", 2, 5.0, 2.0)))

    assert headline(score) == ("RMSE", 4.0)
    assert headline(Score(0.25, 1.0)) == ("accuracy", 0.25)


def test_lines_and_bars_name_the_score(capsys):
    for progress in (Lines(), Bars()):
        progress.begin(0, "forecast", 1, 0)
        progress.advance(0, 0, ("RMSE", 1288.6), 6, 1.0)
        progress.close()

    assert capsys.readouterr().out.count("RMSE 1288.6") >= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"probes": [{"name": "dlg"}]},
            "probe 'dlg' rebuilds labelled examples, and mobility has real-valued",
        ),
        ({"attacks": [{"name": "label_flip_all", "num_classes": 6, "count": 1}]}, "works on labels"),
    ],
    ids=["probe", "attack"],
)
def test_what_needs_labels_is_refused_before_anything_is_written(runs, change, message, tmp_path):
    with pytest.raises(ScenarioError, match=message):
        simulate(make_scenario(FORECAST | change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_matrix_of_accuracies_is_refused(runs, tmp_path):
    scenario = make_scenario(
        FORECAST | {"matrix": {"attacks": ["zero"], "defenses": ["mean"], "shares": [0.1]}}
    )

    with pytest.raises(ScenarioError, match="a matrix compares accuracies, and mobility has real-valued"):
        run_matrix(scenario, tmp_path / "matrix")
    assert not (tmp_path / "matrix").exists()


def test_labels_cannot_be_drawn(runs, tmp_path):
    with pytest.raises(DataError, match="mobility has real-valued targets and no labels to count"):
        draw_labels("mobility", [], tmp_path / "labels.png")


def test_the_papers_scenario_is_checked_to_the_last_key():
    scenario = load_scenario("dp-mobility")

    assert scenario.run_spec().training.optimizer == "adam"
    assert len(scenario.sweep["privacy"]) == 5
