"""The power goes at every step of a run or a sweep: what was not synced is lost in part, the rest resumes."""

from pathlib import Path

import pytest
from power_cut import Recorder, lay

from gauntlet.core.errors import ResultsError
from gauntlet.sims.results import read_manifest
from gauntlet.sims.run import resume, simulate

SHORT = {
    "rounds": 2,
    "checkpoint": {"every": 1},
    "model": {"name": "mlp", "hidden": [2]},
}
TABLES = ("rounds", "clients", "classes", "attacks", "scores", "outputs")


def bits(folder: Path) -> dict[str, bytes]:
    files = [folder / f"{name}.parquet" for name in TABLES] + sorted((folder / "checkpoints").iterdir())
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture
def recorded(tiny, tmp_path):
    """A run of two rounds, every write and sync of it."""
    scenario = tiny(**SHORT)
    simulate(scenario, tmp_path / "warm")  # what is imported late is imported
    root = tmp_path / "disk"
    root.mkdir()
    recorder = Recorder(root)
    with recorder.recording():
        simulate(scenario, root / "run")
    return scenario, recorder


def test_the_recorder_misses_nothing(recorded):
    """With everything kept, the replay of all steps is the folder itself."""
    _, recorder = recorded
    there = {
        str(path.relative_to(recorder.root)): None if path.is_dir() else path.read_bytes()
        for path in recorder.root.rglob("*")
    }

    assert recorder.image(len(recorder.steps), lambda at, step: True) == there


def survive(images, scenario, whole, tmp_path) -> int:
    """Resume every image; return how many had to be begun anew."""
    blank = 0
    for number, (how, image) in enumerate(images):
        root = tmp_path / f"cut-{number}"
        lay(image, root)
        if (root / "run" / "manifest.json").is_file():
            assert bits(resume(root / "run").folder) == bits(whole), how
            assert "notes" not in read_manifest(root / "run"), how  # nothing that it counted on was damaged
            continue
        blank += 1
        if (root / "run").exists():
            with pytest.raises(ResultsError, match=r"^[^\n]* holds no run[^\n]*$"):
                resume(root / "run")
        assert bits(simulate(scenario, root / "run").folder) == bits(whole), how
    return blank


def test_a_power_cut_now_and_then_loses_no_run(recorded, tmp_path):
    scenario, recorder = recorded
    steps = range(1, len(recorder.steps) + 1, 23)

    survive(recorder.images(steps, lucky=0), scenario, tmp_path / "disk" / "run", tmp_path)


@pytest.mark.slow
def test_a_power_cut_at_any_step_loses_no_run(recorded, tmp_path):
    scenario, recorder = recorded
    images = list(recorder.images())

    blank = survive(images, scenario, tmp_path / "disk" / "run", tmp_path)

    assert len(images) > 100
    assert 0 < blank < 20
