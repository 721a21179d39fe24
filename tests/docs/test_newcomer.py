"""A newcomer follows one page word by word: own table, network, attack, defense, and what comes of them."""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pandas as pd
import pytest
from follow import steps

from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import load_scenario

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tutorials/a-study-of-your-own.md"


def check(folder: Path) -> None:
    """Look at what the page promises to leave."""
    rounds = pd.read_parquet(folder / "first/rounds.parquet")
    assert rounds["accuracy"].iloc[-1] > 0.85
    table = pd.read_csv(folder / "robust/matrix.csv")
    worst = table[(table["attack"] == "Shout") & (table["share"] == 0.3)].set_index("defense")["accuracy"]
    assert worst["Cap"] > worst["mean"] + 0.2
    assert (folder / "robust/plots/matrix-accuracy.png").stat().st_size > 10_000
    bought = pd.read_csv(folder / "privacy-utility.csv").sort_values("epsilon")
    assert len(bought) == 4
    assert bought["epsilon"].is_monotonic_increasing
    assert bought["accuracy"].iloc[-1] > 0.6
    assert (folder / "privacy-utility.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "net.safetensors").is_file()


def test_the_pages_files_fit_together(tmp_path, gauntlet):
    """The page's own files in this environment: both plug-ins together, in short runs without pictures."""
    for name, text in steps(PAGE.read_text(encoding="utf-8")):
        if name:
            (tmp_path / name).write_text(text)
    subprocess.run([sys.executable, "beans.py"], cwd=tmp_path, check=True)
    assert gauntlet("check-plugin", "cap.py:Cap").returncode == 0
    assert gauntlet("check-plugin", "shout.py:Shout").returncode == 0

    attacked = {"defense": "cap.py:Cap", "attacks": [{"name": "shout.py:Shout", "count": 4}], "rounds": 2}
    here = {"runtime": {"pool": "serial"}}
    run = simulate(load_scenario(tmp_path / "beans.toml", attacked | here), tmp_path / "first")
    private = load_scenario(tmp_path / "private.toml", {"sweep": {}, "rounds": 1} | here)

    assert run.rounds["accuracy"].iloc[-1] > 0.3
    assert simulate(private, tmp_path / "private").rounds["epsilon"].iloc[-1] > 0
    assert gauntlet("export", "first", "--out", "net.safetensors").returncode == 0
    assert run.model()[-1].out_features == 3


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A fresh environment with the wheel of this checkout, on the dependencies that are installed here."""
    made = tmp_path_factory.mktemp("fresh")
    quiet = {"check": True, "capture_output": True}
    source = made / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if not (ROOT / name).is_symlink() and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip"]
    built = ["wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(made / "wheel"), str(source)]
    subprocess.run([*pip, *built], **quiet)
    subprocess.run([sys.executable, "-m", "venv", str(made / "venv")], **quiet)
    (wheel,) = (made / "wheel").glob("*.whl")
    python = made / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], **quiet)
    (packages,) = (made / "venv/lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return made / "venv"


@pytest.mark.slow
def test_a_newcomer_gets_there_from_the_wheel_with_the_first_picture_in_three_minutes(environment, tmp_path):
    """Without Ray; ``.ci/run`` follows the page as it is, with the dependencies installed as well."""
    own = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    own |= {"PATH": f"{environment / 'bin'}:{own['PATH']}", "GAUNTLET_OFFLINE": "1"}
    where = [environment / "bin/python", "-c", "import gauntlet; print(gauntlet.__file__)"]
    place = subprocess.run(where, cwd=tmp_path, env=own, capture_output=True, text=True, check=True)
    assert Path(place.stdout.strip()).is_relative_to(environment)

    script = [environment / "bin/python", ROOT / "tests/support/follow.py", PAGE, "--serial"]
    told = subprocess.run(script, cwd=tmp_path, env=own, capture_output=True, text=True)

    assert told.returncode == 0, (told.stdout[-2000:], told.stderr[-2000:])
    assert "tensor([0])" in told.stdout
    assert float(re.search(r"first picture after (\d+) s", told.stdout)[1]) < 180
    check(tmp_path)


TUTORIALS = {
    "first-run": ("gallery.png", "accuracy.csv"),
    "privacy-utility": (
        "priced/plots/utility_by_epsilon.pdf",
        "priced/plots/utility_by_epsilon.txt",
        "budget/rounds.parquet",
    ),
    "robustness-matrix": ("grid/plots/matrix-accuracy.pdf", "grid/plots/matrix-drop.csv"),
    "what-an-attacker-sees": ("seen.png", "seen.csv"),
}


def test_every_tutorial_is_followed():
    there = {page.stem for page in PAGE.parent.glob("*.md")}

    assert there == {PAGE.stem, *TUTORIALS}


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_leaves_what_it_promises(name, tmp_path, gauntlet):
    """Its files and commands in order, in this environment, without Ray."""
    for file, text in steps((PAGE.parent / f"{name}.md").read_text(encoding="utf-8")):
        if file:
            (tmp_path / file).write_text(text)
            continue
        for words in map(shlex.split, text.splitlines()):
            serial = ["--pool", "serial"] if words[1] in ("run", "matrix") else []
            result = gauntlet(*words[1:], *serial)
            assert result.returncode == 0, (words, result.stderr)

    assert all((tmp_path / file).stat().st_size > 100 for file in TUTORIALS[name])
