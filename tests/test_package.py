"""The root is the package: what that could break."""

import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

import gauntlet

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FLOORS = ("core", "clients", "attacks", "defenses", "privacy", "server", "sims")


def test_the_hand_written_list_of_packages_is_that_of_the_folders():
    folders = [p.parent for floor in FLOORS for p in sorted((ROOT / floor).rglob("__init__.py"))]
    names = ["gauntlet", *(".".join(["gauntlet", *f.relative_to(ROOT).parts]) for f in folders)]

    assert sorted(SETTINGS["tool"]["setuptools"]["packages"]) == sorted(names)


def test_every_folder_with_code_is_a_package():
    for floor in FLOORS:
        for file in (ROOT / floor).rglob("*.py"):
            assert (file.parent / "__init__.py").is_file(), file


def test_no_test_folder_is_a_package():
    """Equal file names in two folders of tests would then be one module."""
    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert not (ROOT / "conftest.py").exists()


def test_what_is_no_python_travels_in_the_wheel():
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]

    assert "*.toml" in patterns["gauntlet.sims.scenarios"]
    assert "*.toml" in patterns["gauntlet.sims.papers"]
    assert "templates/*" in patterns["gauntlet.sims"]
    assert list((ROOT / "sims" / "templates").iterdir())


def test_the_pages_that_are_installed_stay_small():
    """docs/performance.md, What an install takes: 1.3 MB, of which 0.8 are pictures."""
    patterns = SETTINGS["tool"]["setuptools"]["package-data"]["gauntlet"]
    sizes = [path.stat().st_size for pattern in patterns for path in ROOT.glob(pattern)]

    assert 500_000 < sum(sizes) < 2_500_000


def test_the_bare_folder_names_are_forbidden_to_import():
    assert set(SETTINGS["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]) == set(FLOORS)


def test_importing_the_package_imports_nothing_but_the_standard_library():
    code = "import sys; before = set(sys.modules); import gauntlet; print(*(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    outside = {m for m in result.stdout.split() if m.split(".")[0] not in sys.stdlib_module_names}

    assert outside == {"gauntlet"}


@pytest.mark.parametrize("name", dir(gauntlet))
def test_every_public_name_is_there(name):
    assert getattr(gauntlet, name) is not None


def test_every_direct_dependency_is_pinned_also_of_the_extras():
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in _pins()}
    project = SETTINGS["project"]
    wanted = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    names = {re.split(r"[<>=\[]", requirement)[0].lower() for requirement in wanted}

    assert names <= pinned


def _pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_no_file_is_longer_than_320_lines():
    lengths = {
        path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines())
        for folder in (*FLOORS, "tests", "benchmarks", "docs")
        for path in (ROOT / folder).rglob("*.py")
    }

    assert len(lengths) > 500
    assert {str(path): n for path, n in lengths.items() if n > 320} == {}
