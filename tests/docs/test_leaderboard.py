"""The page of the leaderboard: what its tables say, its commands, and that it can be sorted."""

import csv
import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest

from gauntlet.sims.matrix_axes import axes_of
from gauntlet.sims.scenario import load_scenario
from tests.support.chromium import chromium

DOCS = Path(__file__).resolve().parents[2] / "docs"
TABLES = DOCS / "leaderboard"
SETTINGS = json.loads((TABLES / "settings.json").read_text())
TOLD = [name for name in SETTINGS if (TABLES / f"{name}.csv").is_file()]


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("leaderboard_hook", DOCS / "hooks" / "leaderboard.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tables(tmp_path):
    """One setting of two defenses and two attacks, of which one names like a tag."""
    (tmp_path / "settings.json").write_text(json.dumps({"s": ["a setting", ["--set", "partition=iid"]]}))
    lines = ["defense,attack,accuracy,best_accuracy,drop,attack_success_rate,reason"]
    lines += [
        "mean,no attack,0.95,0.96,0.0,,",
        "mean,alie z=1.5,0.5,0.6,0.36,,",
        "</script>,no attack,0.9,0.9,0.0,,",
    ]
    lines += ["</script>,alie z=1.5,,,,,too few clients"]
    (tmp_path / "s.csv").write_text("\n".join(lines))
    return tmp_path


def test_the_numbers_of_a_table_stand_in_the_page_and_no_word_ends_its_script(hook, tables):
    page = hook.with_numbers(f"# Title\n\n{hook.MARK}\n", tables)
    told = json.loads(re.search(r'id="leaderboard-numbers">(.*)</script>', page)[1])

    assert told["settings"] == {"s": ["a setting", ["--set", "partition=iid"]]}
    assert told["tables"]["s"]["accuracy"] == [0.95, 0.5, 0.9, None]
    assert told["tables"]["s"]["defense"] == ["mean", "mean", "</script>", "</script>"]
    assert page.count("</script>") == 2
    assert "\n\n" not in page[page.index("<script>") :].rstrip()  # at which Markdown ends a block


@pytest.mark.parametrize("setting", TOLD)
def test_every_row_is_a_field_of_the_shipped_scenario(setting):
    """So that the command beside it takes it."""
    changes = [tuple(part.split("=", 1)) for part in SETTINGS[setting][1] if "=" in part and part[0] != "-"]
    scenario = load_scenario("leaderboard", [f"{key}={value}" for key, value in changes])
    attacks, defenses, _ = axes_of(scenario)
    with (TABLES / f"{setting}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert {row["defense"] for row in rows} <= defenses.keys()
    assert {row["attack"] for row in rows} - {"no attack"} <= attacks.keys()
    assert all(row["reason"] or 0 <= float(row["accuracy"]) <= 1 for row in rows)


@pytest.mark.slow
def test_a_click_sorts_and_tells_the_command_and_nothing_is_fetched(hook, tables, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{hook.with_numbers(hook.MARK, tables)}")
    cells = "[...document.querySelectorAll('.leaderboard-rows tbody tr')].map(r => r.cells[2].textContent)"
    with chromium() as page:
        page.open(path.as_uri())
        assert page.value(cells) == ["50.0", "90.0", "95.0", "–"]
        page.value("document.querySelectorAll('.leaderboard-rows button')[2].click()")
        assert page.value(cells) == ["95.0", "90.0", "50.0", "–"]
        page.value("document.querySelectorAll('.leaderboard-map td')[1].click()")
        said = page.value("document.querySelector('.leaderboard-said code').textContent")
        assert shlex.split(said) == [
            *("gauntlet", "matrix", "leaderboard", "--set", "partition=iid"),
            *("--only", "defense=mean", "--only", "attack=alie z=1.5"),
        ]
        page.value("document.querySelectorAll('.leaderboard-map td')[0].click()")  # without an attack
        beside = page.value("document.querySelector('.leaderboard-said code').textContent")
        assert shlex.split(beside) == shlex.split(said)
        assert page.errors == []
        assert [url for url in page.asked if not url.startswith("file:")] == []
