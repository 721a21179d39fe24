"""``gauntlet list`` fits a screen, ``doctor`` says what there is, and a shell completes names."""

import sys
import tomllib
from pathlib import Path
from subprocess import run

import pytest

from gauntlet.sims import doctor
from gauntlet.sims.completion import parts, pictures, scenarios, shown, words
from gauntlet.sims.families import family, family_names
from gauntlet.sims.listing import first_sentence, overview
from gauntlet.sims.names import plugin_names
from gauntlet.sims.places import PLACES, SENTENCES

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # which libraries set, so that lines are broken


def test_the_overview_fits_a_screen_and_counts_every_family(gauntlet):
    lines = gauntlet("list").stdout.splitlines()

    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    counted = {line.split()[0]: line.split()[1] for line in lines}
    assert all(counted[name] == str(len(family(name).names())) for name in family_names())
    assert {"scenarios", "plots"} <= set(counted)


@pytest.mark.parametrize("number", [1, 24, 25, 31, 48])
def test_more_families_than_lines_still_fit_a_screen(number):
    """By hand: 25 rows in 24 lines are 23 lines of one and one of two; 48 are 24 of two."""
    rows = [
        (f"family_of_plugins{n:02}", n, "Does something of its own, as its plug-ins do it.")
        for n in range(number)
    ]
    lines = overview(rows)

    assert len(lines) == min(number, 24)
    assert max(map(len, lines)) <= 80
    assert " ".join(lines).split().count("Does") == (number if number <= 24 else 48 - number)
    assert [name for name, *_ in rows] == [w for w in " ".join(lines).split() if w.startswith("family_of")]


@pytest.mark.parametrize("name", PLACES)
def test_names_are_found_without_loading_a_family(name):
    assert plugin_names(name) == family(name).names()
    assert SENTENCES[name].endswith(".")


def test_several_families_are_listed_under_one_word(gauntlet):
    printed = gauntlet("list", "attacks").stdout

    assert all(f" {name} " in printed for name in ("sign_flip", "label_flip", "dlg", "membership", "imprint"))
    assert "trimmed_mean" not in printed
    assert "unknown family 'atacks'; did you mean 'attacks'" in gauntlet("list", "atacks").refusal()


def test_of_a_scenario_the_first_sentence_is_listed(gauntlet):
    printed = gauntlet("list", "scenarios").stdout

    assert "Forty clients learn to read digits, one small gradient step a round." in printed
    assert "Seven of them cheat" not in printed
    assert first_sentence("One.\nTwo.") == "One."
    assert first_sentence("All of it") == "All of it"
    assert first_sentence("Does it? Yes.") == "Does it?"


@pytest.mark.slow
def test_the_doctor_names_versions_cores_memory_and_data(gauntlet, monkeypatch, tmp_path):
    monkeypatch.setenv("GAUNTLET_DATA", str(tmp_path / "nowhere"))
    result = gauntlet("doctor")

    assert result.returncode == 0, result.stderr
    found = dict(line.split()[1::-1][:2] for line in result.stdout.splitlines())
    assert found["torch"] == found["cores"] == found["memory"] == found["digits"] == "ok"
    assert found["mnist"] in ("ok", "none")
    assert "1437 training examples" in result.stdout
    assert f"{tmp_path / 'nowhere'} (not there)" in result.stdout


def test_what_the_doctor_says_would_help_is_an_extra_that_there_is():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert {extra for extra, _ in doctor._EXTRAS.values()} <= set(extras["optional-dependencies"])


def test_the_doctor_says_what_is_missing_and_what_it_would_give(monkeypatch):
    monkeypatch.setattr(doctor, "_EXTRAS", {"no_such_package": ("flower", "strategies")})
    (line,) = doctor.software()[-1:]

    assert line.startswith("none    no_such_package")
    assert line.endswith("pip install 'gauntlet-fl[flower]' gives strategies")
    assert any(line.startswith("ok      torch  ") for line in doctor.software())


def test_a_folder_of_a_packages_name_is_no_package(monkeypatch, tmp_path):
    (tmp_path / "no_such_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "_EXTRAS", {"no_such_package": ("flower", "strategies")})
    assert doctor.software()[-1].startswith("none    no_such_package")


@pytest.mark.parametrize(
    ("complete", "incomplete", "found"),
    [
        (scenarios, "quick", ["quickstart"]),
        (parts, "leak", ["leakage_attacks"]),
        (shown, "multi_k", ["multi_krum"]),
        (pictures, "accuracy_by_e", ["accuracy_by_epsilon"]),
        (words, "epsilon_reason=w", ["epsilon_reason=weights"]),
    ],
)
def test_a_shell_is_told_the_names_that_begin_so(complete, incomplete, found):
    assert complete(incomplete) == found


@pytest.mark.parametrize(
    ("shell", "asked"),
    [
        ("bash", {"COMP_WORDS": "gauntlet show multi_", "COMP_CWORD": "2"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "gauntlet show multi_"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "gauntlet show multi_", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_each_shells_half_is_answered(shell, asked, gauntlet, monkeypatch):
    for key, value in {"_GAUNTLET_COMPLETE": f"complete_{shell}", **asked}.items():
        monkeypatch.setenv(key, value)
    result = gauntlet()

    assert (result.returncode, result.stderr) == (0, "")
    assert "multi_krum" in result.stdout
    assert "trimmed_mean" not in result.stdout


def test_completing_a_name_loads_no_torch():
    code = (
        "import sys, gauntlet.sims.cli; from gauntlet.sims.completion import shown, scenarios, pictures;"
        "shown('a'), scenarios('a'), pictures('a'); print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    assert run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"
