"""The lines of a scenario in the table of data sets are what their data sets take; nothing is read."""

import re
import tomllib
from pathlib import Path

import pytest

from gauntlet.clients.data import DATASETS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "use-your-data.md"
LINES = re.findall(r"^\|[^|]*\| `(data = [^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_table_has_a_line_for_each_of_the_seven():
    assert len(LINES) == 11


@pytest.mark.parametrize("line", LINES)
def test_a_line_names_a_data_set_and_options_that_it_has(line):
    told = tomllib.loads(line)["data"]
    table = {"name": told} if isinstance(told, str) else told
    DATASETS.build(table.pop("name"), table)
