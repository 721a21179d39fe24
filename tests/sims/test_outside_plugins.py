"""Plug-ins from outside the tree: an installed package's entry point, and a single file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gauntlet.sims.run import simulate

DEFENSE = '''
"""Sign of the sum: each coordinate moves by a fixed step where most clients want it to."""

from dataclasses import dataclass

from gauntlet.core.contracts import Verdict


@dataclass(frozen=True)
class Middle:
    """The mean of the largest and the smallest value of each coordinate."""

    stretch: float = 1.0

    def init(self):
        return None

    def aggregate(self, updates, state):
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        low, high = updates.vectors.min(dim=0).values, updates.vectors.max(dim=0).values
        return Verdict(self.stretch * (low + high) / 2), state
'''

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "middle-of-nowhere"
version = "1.0"

[project.entry-points."gauntlet.defenses"]
middle = "middle_of_nowhere:Middle"

[tool.setuptools]
py-modules = ["middle_of_nowhere"]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A package that pip installed into a folder of its own."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "middle_of_nowhere.py").write_text(DEFENSE)
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def call(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "gauntlet.sims.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_an_installed_packages_plug_in_is_listed_checked_and_run_on_ray(installed, tiny_file, tmp_path):
    listed = call(installed, "list", "defenses", cwd=tmp_path)
    checked = call(installed, "check-plugin", "middle", cwd=tmp_path)
    options = ["-s", "defense.name=middle", "-s", "defense.stretch=0.5", "--pool", "ray", "--workers", "1"]
    ran = call(installed, "run", str(tiny_file), *options, "--out", "mine", cwd=tmp_path)

    assert "middle" in listed.stdout
    assert checked.returncode == 0, checked.stdout
    assert "FAILED" not in checked.stdout
    assert ran.returncode == 0, ran.stderr
    assert '"name": "middle"' in (tmp_path / "mine" / "manifest.json").read_text()


def test_without_the_package_its_name_is_unknown(gauntlet):
    result = gauntlet("check-plugin", "middle")

    assert result.returncode == 2
    assert "unknown plug-in 'middle'" in result.stderr
    assert " names, such as " in result.stderr


def test_a_single_file_is_checked_and_run_and_does_what_it_says(gauntlet, tiny, tmp_path):
    file = tmp_path / "middle.py"
    file.write_text(DEFENSE)
    checked = gauntlet("check-plugin", "middle.py:Middle")
    assert checked.returncode == 0, checked.stdout

    run = simulate(tiny(defense={"name": f"{file}:Middle"}), tmp_path / "run")
    mean = simulate(tiny(), tmp_path / "mean")

    assert run.rounds["aggregate_norm"][0] != mean.rounds["aggregate_norm"][0]
    assert run.rounds["update_norm"][0] == mean.rounds["update_norm"][0]


def test_a_file_beside_the_scenario_is_found_from_anywhere(gauntlet, tiny_file, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "middle.py").write_text(DEFENSE)
    scenario = folder / "with.toml"
    scenario.write_text(tiny_file.read_text() + 'defense = "middle.py:Middle"\n')

    assert gauntlet("run", scenario, "--out", "mine").returncode == 0


def test_a_plug_in_that_breaks_a_promise_fails_the_check(gauntlet, tmp_path):
    (tmp_path / "middle.py").write_text(DEFENSE.replace("(low + high) / 2", "low.mul_(0)"))

    result = gauntlet("check-plugin", "middle.py:Middle")

    assert result.returncode == 1
    assert "FAILED" in result.stdout
