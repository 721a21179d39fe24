"""The functions that ``import gauntlet`` offers, and what their results show in a notebook."""

import pytest

import gauntlet as package
from gauntlet.core.errors import PluginError, ResultsError, ScenarioError
from gauntlet.sims.notebook import in_notebook
from gauntlet.sims.shown import bars_html, table_html

TINY = {"rounds": 2, "num_clients": 4, "data": "digits", "runtime": {"pool": "serial"}}
TINY |= {"training": {"local_steps": 1, "batch_size": 2, "lr": 0.5}, "model": {"name": "mlp", "hidden": [4]}}


def scenario(**changes):
    return package.Scenario(**{**TINY, **changes})


def test_every_public_name_is_there():
    for name in dir(package):
        assert getattr(package, name) is not None


def test_callbacks_get_the_whole_row_of_every_round(tmp_path):
    rows = []
    run = package.simulate(scenario(name="told"), tmp_path / "run", callbacks=[rows.append])

    assert [row.pop("run") for row in rows] == ["told", "told"]
    assert rows[0].keys() == set(run.rounds.columns)
    assert [row["accuracy"] for row in rows] == run.rounds["accuracy"].tolist()
    assert [row["total_bytes_up"] for row in rows] == run.rounds["total_bytes_up"].tolist()


def test_a_callback_that_raises_stops_the_run_which_goes_on_later(tmp_path):
    def stop(row):
        if row["round"] == 1:
            raise ValueError("seen enough")

    with pytest.raises(PluginError, match=r"^callback 'stop' raised ValueError: seen enough$"):
        package.simulate(scenario(rounds=4, checkpoint={"every": 1}), tmp_path / "run", callbacks=[stop])
    seen = []
    run = package.resume(tmp_path / "run", callbacks=[seen.append])

    assert len(run.rounds) == 4
    assert seen[-1]["round"] == 3
    assert run.rounds.equals(package.simulate(scenario(rounds=4), tmp_path / "whole").rounds)


def test_a_sweep_and_a_matrix_show_themselves(tmp_path):
    swept = package.sweep(scenario(), tmp_path / "swept", over={"seed": [1, 2]})
    crossed = package.matrix(
        scenario(num_clients=5), ["sign_flip"], ["mean", "median"], [0.2], out=tmp_path / "matrix"
    )

    assert swept._repr_html_().count("<tr>") == 2  # the head, and one line for both seeds
    assert swept.plot("accuracy").axes
    assert {"mean", "median"} == set(crossed.table["defense"])
    assert "sign_flip" in crossed._repr_html_()
    assert crossed.plot("drop").axes
    assert len(package.load_sweep(tmp_path / "matrix")) == 4
    with pytest.raises(ResultsError, match="holds no sweep"):
        package.load_sweep(swept[0].folder)
    with pytest.raises(ResultsError, match=r"holds no run, but the 2 of a sweep: .*run-000.*load_sweep"):
        package.load_run(tmp_path / "swept")


def test_results_are_overwritten_where_that_is_asked_for_and_the_new_ones_can_run(tmp_path):
    package.simulate(scenario(), tmp_path / "run")
    with pytest.raises(ResultsError, match="choose another folder with out, resume it, or delete it with"):
        package.simulate(scenario(rounds=1), tmp_path / "run")
    with pytest.raises(PluginError, match="unknown option"):
        package.simulate(scenario(defense={"name": "mean", "x": 1}), tmp_path / "run", overwrite=True)
    assert len(package.load_run(tmp_path / "run").rounds) == 2

    assert len(package.simulate(scenario(rounds=1), tmp_path / "run", overwrite=True).rounds) == 1
    assert len(package.sweep(scenario(), tmp_path / "run", over={"seed": [1, 2]}, overwrite=True)) == 2


def test_a_run_without_notes_has_none(tmp_path):
    assert package.simulate(scenario(), tmp_path / "run").manifest["notes"] == []


def test_a_run_shows_itself_escaped_finished_or_not(tmp_path):
    run = package.simulate(scenario(), tmp_path / "<b>&")

    assert "&lt;b&gt;&amp;" in run._repr_html_()
    assert "<b>&<" not in run._repr_html_()
    assert "&lt;script&gt;" in table_html("<script>", ["<script>"], [["<script>"]])
    assert "<script>" not in bars_html([("<script>", 1, 2, "<script>")], ["<script>"])
    with pytest.raises(PluginError):
        package.simulate(scenario(rounds=3), tmp_path / "stopped", callbacks=[lambda row: 1 / 0])
    assert "division by zero" in package.load_run(tmp_path / "stopped")._repr_html_()


def test_recorded_messages_are_attacked_from_python(tmp_path):
    run = package.simulate(
        scenario(
            rounds=1, probes=[{"name": "dlg", "max_iterations": 1}], model={"name": "logistic_regression"}
        ),
        tmp_path / "run",
    )
    found = package.attack(run, {"name": "idlg", "max_iterations": 1}, {"name": "dlg", "max_iterations": 2})

    assert set(found["attack"].str.partition(" ")[0]) == {"idlg", "dlg"}
    assert found["client"].tolist() == [0, 0]
    with pytest.raises(ScenarioError, match="name an attack"):
        package.attack(run)


def test_plots_of_several_results(tmp_path):
    one = package.simulate(scenario(), tmp_path / "one")
    other = package.simulate(scenario(seed=1), tmp_path / "other")
    figure = package.plot("accuracy", [one, tmp_path / "other"], out=tmp_path / "both.png")

    assert figure.axes
    assert (tmp_path / "both.png").is_file()
    assert (tmp_path / "both.csv").is_file()
    assert other.folder.is_dir()


def test_this_is_no_notebook():
    assert not in_notebook()
