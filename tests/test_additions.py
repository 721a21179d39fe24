"""What adding a plug-in touches: its file, its line in the table, and its test; no file of the engine."""

import ast
import re
from functools import cache
from pathlib import Path

import grimp
import pytest

import gauntlet
from gauntlet.sims.families import family, family_names

ROOT = Path(gauntlet.__file__).resolve().parent
ROW = re.compile(r"^\| [^|]+ \| `(\w+)` \| `([\w/]+)/` \| (\d) \| `(\w+)` \|", re.MULTILINE)
ENGINE = [
    *(f"server/{name}.py" for name in ("round", "simulation")),
    *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "clients").glob("*.py")),
]


def rows() -> dict[str, tuple[str, int, str]]:
    """Return by family: its folder, how many files an addition has, and the example."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return {name: (folder, int(count), example) for name, folder, count, example in ROW.findall(text)}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("gauntlet", cache_dir=None)


def module_of(name: str, member: str) -> str:
    return family(name).table[member].partition(":")[0]


def test_the_page_has_a_row_for_every_family():
    assert sorted(rows()) == sorted(family_names())


@pytest.mark.parametrize("name", family_names())
def test_nothing_imports_a_plug_in_but_what_stands_in_its_own_folder(name):
    """So no file of the engine changes where one is added; a rule may build on another of its folder."""
    folder = "gauntlet." + rows()[name][0].replace("/", ".")
    for member in family(name).table:
        module = module_of(name, member)
        importers = graph().find_modules_that_directly_import(module)
        assert module.startswith(f"{folder}."), (member, module)
        beyond = {m for m in importers if not m.startswith(f"{folder}.")}
        assert not {m for m in beyond if not m.endswith(".contract")}, (member, importers)


@pytest.mark.parametrize("name", family_names())
def test_the_example_of_each_row_is_in_as_many_files_as_are_counted(name):
    """Files of the package that hold its class's name, and a test that holds its own."""
    folder, count, example = rows()[name]
    place, _, kind = family(name).table[example].partition(":")
    file = ROOT.joinpath(*place.split(".")[1:]).with_suffix(".py")
    shelf = ROOT.joinpath(*folder.split("/"), "__init__.py")
    floors = ("core", "clients", "attacks", "defenses", "privacy", "server", "sims")
    files = [path for floor in floors for path in (ROOT / floor).rglob("*.py")]
    named = {path for path in files if re.search(rf"\b{kind}\b", path.read_text(encoding="utf-8"))}
    tests = [p for p in (ROOT / "tests").rglob("test_*.py") if re.search(rf"\b{example}\b", p.read_text())]

    assert named == {file, shelf}
    assert tests
    assert count == len(named) + 1


def words_in_decisions(file: Path) -> set[str]:
    """Return the strings that a file compares with, matches, or looks up in a table of its own."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            parts = list(node.keys)
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        inner = (one for part in parts if part is not None for one in ast.walk(part))
        found |= {n.value for n in inner if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return found


def test_the_round_and_the_training_decide_nothing_by_a_plug_ins_name():
    """``sgd`` and ``adam`` are also local optimizers, an option of training."""
    names = {member for name in family_names() for member in family(name).table} - {"sgd", "adam"}
    assert len(names) > 100
    for file in ENGINE:
        assert not words_in_decisions(ROOT / file) & names, file
