"""A sample of ``make fuzz``: hostile input is accepted or refused in one line, never more."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FUZZ = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


def fuzz(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(FUZZ), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_sample_of_hostile_input_is_refused_in_one_line_each():
    printed = fuzz("scenarios", "overrides", "checkpoints", "frames", "plugins", "--share", "0.02")
    rows = re.findall(r"\| (\w+) \| ([\d,]+) \| \d+ \| (\d+) \| (\d+) \| (\d+) \|", printed)

    assert [(kind, cases) for kind, cases, *_ in rows] == [
        ("scenarios", "40"), ("overrides", "40"), ("checkpoints", "10"), ("frames", "400"), ("plugins", "10"),
    ]  # fmt: skip
    assert all(int(refused) > 0 and (traces, hangs) == ("0", "0") for *_, refused, traces, hangs in rows)


@pytest.mark.slow
def test_damaged_result_folders_are_refused_in_one_line_each():
    assert "| folders | 25 |" in fuzz("folders", "--share", "0.05")


@pytest.mark.slow
def test_a_case_is_made_from_its_number_alone():
    one, again = (fuzz("overrides", "--case", "17", "--seed", "3").splitlines()[2:4] for _ in range(2))

    assert one == again
    assert one[0].startswith("overrides --seed 3 --case 17: ")


def test_no_case_changes_what_the_next_ones_are_made_of(monkeypatch):
    """What a case replaces may be replaced once more, within what it was replaced by."""
    monkeypatch.syspath_prepend(FUZZ.parent)
    from fuzz_cases import VALUES, changed

    before = repr(VALUES)
    for number in range(1000):
        changed(np.random.default_rng(number), {"x": 1})

    assert repr(VALUES) == before
