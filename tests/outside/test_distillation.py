"""An added loss from outside the tree: one file, on the page on algorithms, checked as one of ours.

What it computes is held to an independent trace in ``tests/server/test_added_loss.py``.
"""

from pathlib import Path

import pytest

from gauntlet.clients.algorithms import ALGORITHMS
from gauntlet.clients.algorithms.contract import CHECKS

FILE = Path(__file__).parent / "distillation.py"
PAGE = Path(__file__).parents[2] / "docs" / "add-an-algorithm.md"


def test_it_is_one_file_of_at_most_80_lines_and_the_page_on_algorithms_shows_it():
    code = FILE.read_text(encoding="utf-8")
    assert len(code.splitlines()) <= 80
    assert f"```python\n{code}```" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_every_promise(check):
    check(ALGORITHMS.build(f"{FILE}:Distillation", {"strength": 0.5}))
