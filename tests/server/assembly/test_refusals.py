"""All that is refused stands in one list, by name."""

import ast
import inspect
from pathlib import Path

from gauntlet.server.assembly.refusals import (
    REFUSALS,
    algorithms,
    budgets,
    client_defenses,
    codecs,
    combined,
    defenses,
    kept,
    levels,
    links,
    privacy,
    roles,
    schedules,
    servers,
    training,
)

MODULES = (
    algorithms,
    budgets,
    client_defenses,
    codecs,
    combined,
    defenses,
    kept,
    levels,
    links,
    privacy,
    roles,
    schedules,
    servers,
    training,
)
SERVER = Path(inspect.getfile(algorithms)).parents[2]


def test_every_refusal_is_in_the_list_once():
    """A refusal is a public function of these modules that returns an error or None."""
    written = [
        one
        for module in MODULES
        for name, one in inspect.getmembers(module, inspect.isfunction)
        if one.__module__ == module.__name__
        and not name.startswith("_")
        and inspect.signature(one).return_annotation == "ScenarioError | None"
    ]

    assert len(written) >= 40  # else they were not found
    assert sorted(r.__name__ for r in REFUSALS) == sorted(r.__name__ for r in written)


def test_each_says_in_one_line_what_it_refuses():
    for refusal in REFUSALS:
        assert len((inspect.getdoc(refusal) or "").splitlines()) == 1, refusal.__name__


def test_the_server_refuses_a_scenario_nowhere_else():
    """No other file of this floor raises ``ScenarioError`` or ``CohortError``."""
    found = []
    for path in SERVER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                name = getattr(node.exc.func, "id", "")
                if name in ("ScenarioError", "CohortError"):
                    found.append(f"{path.relative_to(SERVER)}:{node.lineno}")

    assert found == []
