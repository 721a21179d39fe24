"""A sweep or a matrix that dies at any step goes on, and its list leads nobody to other folders."""

import json
import os
from pathlib import Path

import pytest
from power_cut import Recorder, lay

from gauntlet.core.errors import ResultsError
from gauntlet.sims.matrix import is_matrix, plan_matrix, read_cells, run_matrix
from gauntlet.sims.progress import Silent
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.sweep import begin_sweep, read_sweep, resume_sweep, sweep, variants
from gauntlet.sims.verify import verify

SHORT = {"rounds": 1, "model": {"name": "mlp", "hidden": [2]}}


def bits(folder: Path) -> dict[str, bytes]:
    paths = [p for p in folder.glob("run-*/*.parquet") if p.stem != "timings"]
    paths += folder.glob("run-*/checkpoints/*")
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


@pytest.fixture
def recorded(tiny, tmp_path):
    scenario = tiny(**SHORT, sweep={"seed": [1, 2]})
    simulate(tiny(**SHORT), tmp_path / "warm")
    root = tmp_path / "disk"
    root.mkdir()
    recorder = Recorder(root)
    with recorder.recording():
        sweep(scenario, root / "swept")
    return scenario, recorder


def survive(images, scenario, whole, tmp_path) -> int:
    """Resume every image; return how many had to be begun anew."""
    blank = 0
    for number, (how, image) in enumerate(images):
        folder = tmp_path / f"cut-{number}" / "swept"
        lay(image, folder.parent)
        if (folder / "sweep.json").is_file():
            assert max(found.code for found in verify(folder)) == 0, how
            resume_sweep(folder)
        else:
            blank += 1
            with pytest.raises(ResultsError, match=r"^[^\n]* holds no run[^\n]*$"):
                resume(folder)
            sweep(scenario, folder)
        assert bits(folder) == bits(whole), how
    return blank


def test_a_sweep_that_dies_now_and_then_goes_on(recorded, tmp_path):
    scenario, recorder = recorded
    steps = range(5, len(recorder.steps) + 1, 29)

    survive(recorder.images(steps, lucky=0), scenario, tmp_path / "disk" / "swept", tmp_path)


@pytest.mark.slow
def test_a_sweep_that_dies_at_any_step_goes_on(recorded, tmp_path):
    """Killed, and without power: before its list is there, and before each run's manifest is."""
    scenario, recorder = recorded
    images = list(recorder.images(lucky=1))

    blank = survive(images, scenario, tmp_path / "disk" / "swept", tmp_path)

    assert len(images) > 100
    assert 0 < blank < 20


class Stop(BaseException):
    """What takes a process down."""


class Stopper(Silent):
    """Stop when the first run begins."""

    def begin(self, run, label, rounds, done):
        raise Stop


def test_a_matrix_that_dies_before_its_first_run_is_a_matrix_or_nothing(tiny, tmp_path):
    axes = {"attacks": ["zero"], "defenses": ["mean"], "shares": [0.4]}
    scenario = tiny(**SHORT, matrix=axes)
    cells, todo = plan_matrix(scenario)
    root = tmp_path / "disk"
    root.mkdir()
    recorder = Recorder(root)
    with recorder.recording(), pytest.raises(Stop):
        run_matrix(scenario, root / "m", Stopper())
    begun = next(n for n, step in enumerate(recorder.steps) if step.kind == "name" and "run-000" in step.do)

    found = set()
    for number, (how, image) in enumerate(recorder.images(range(1, begun), lucky=4)):
        lay(image, tmp_path / f"cut-{number}")
        folder = tmp_path / f"cut-{number}" / "m"
        listed = (folder / "sweep.json").is_file()
        assert is_matrix(folder) or not listed, how
        if listed:
            assert read_cells(folder, len(read_sweep(folder))) == cells
        found.add(listed)
    assert found == {True, False}
    assert len(todo) == 2


def listing(scenario, folder: Path) -> None:
    """A sweep of which nothing has run yet."""
    folder.mkdir()
    begin_sweep(variants(scenario), folder, scenario)


@pytest.mark.parametrize("name", [".", "..", "../elsewhere", "/tmp", "", "run-001/x", "RUN-000", "run-001"])
def test_a_list_that_names_another_folder_is_refused_and_nothing_is_touched(name, gauntlet, tiny, tmp_path):
    listing(tiny(**SHORT, sweep={"seed": [1, 2]}), tmp_path / "swept")
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "swept" / "sweep.json"
    listed = json.loads(path.read_text())
    listed["runs"][0]["folder"] = name
    path.write_text(json.dumps(listed))
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    for call in (["resume", "swept"], ["plot", "accuracy", "swept"], ["verify", "swept"]):
        line = gauntlet(*call).refusal()
        assert f"'runs.0.folder' is '{name}', expected 'run-000'" in line
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_run_that_is_a_link_is_refused(gauntlet, tiny, tmp_path):
    listing(tiny(**SHORT, sweep={"seed": [1, 2]}), tmp_path / "swept")
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "swept" / "run-001")

    assert "run-001 is a link" in gauntlet("resume", "swept").refusal()


def test_a_list_of_another_schema_is_refused(gauntlet, tiny, tmp_path):
    listing(tiny(**SHORT, sweep={"seed": [1]}), tmp_path / "swept")
    path = tmp_path / "swept" / "sweep.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 9}))

    assert "sweep.json is of schema 9, expected 1" in gauntlet("resume", "swept").refusal()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"folder": "../x"}, "'cells.0.folder' is '../x', expected one of the folders in sweep.json"),
        ({"folder": "run-009"}, "'cells.0.folder' is 'run-009'"),
        ({"seed": "1"}, "'cells.0.seed' is '1', expected int"),
        ({"more": 1}, "expected a cell"),
    ],
)
def test_a_matrix_whose_cells_lead_elsewhere_is_refused(change, words, tiny, tmp_path):
    cell = {"attack": "zero", "share": 0.4, "defense": "mean", "seed": 0, "folder": "run-000"}
    content = {"schema": 1, "cells": [cell | change]}
    (tmp_path / "matrix.json").write_text(json.dumps(content))

    with pytest.raises(ResultsError) as refused:
        read_cells(tmp_path, 2)
    assert words in str(refused.value)
