"""The notebooks of the docs, run whole: in this process, and by Jupyter's own client where it is."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def code_of(path: Path) -> list[str]:
    """Return a notebook's cells of code."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") for cell in cells), "save notebooks without their output"
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run_here(path: Path) -> dict[str, object]:
    space: dict[str, object] = {"__name__": "notebook"}
    for number, block in enumerate(code_of(path)):
        exec(compile(block, f"{path.name} cell {number}", "exec"), space)
    return space


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["leakage", "privacy-utility", "robustness-matrix"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = run_here(path)

    if path.stem == "privacy-utility":
        private = [run.manifest["epsilon"]["value"] for run in space["swept"]]
        assert private[0] is None
        assert private[1:] == sorted(private[1:])
        assert 0 < private[1] <= 1.0
    elif path.stem == "robustness-matrix":
        assert "NormCut" in set(space["crossed"].table["defense"])
        assert space["crossed"].table["best_accuracy"].notna().all()
    else:
        assert space["table"]["psnr_best"].notna().all()
        assert space["run"].gallery()[0].psnr[0] > space["guarded"].gallery()[0].psnr[0]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_jupyter_runs_it_and_shows_results_as_html(path, tmp_path):
    nbclient = pytest.importorskip(
        "nbclient", reason="nbclient is not installed: pip install gauntlet-fl[notebook]"
    )
    nbformat = pytest.importorskip("nbformat")
    book = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    shown = [out.get("data", {}) for cell in book.cells for out in cell.get("outputs", ())]
    pages = [data["text/html"] for data in shown if "text/html" in data]
    assert any("<progress" in page for page in pages)
    assert any("<table><caption>" in page for page in pages)
    assert any("image/png" in data for data in shown)
