"""Every command that a page names, in a block or within a sentence, is one that its own parser takes.

What a command names is there too: scenarios with each key and value that is set, plots, plug-ins, columns,
kinds. Published measurements (``python benchmarks/...``) are begun and stopped where they have read their
command line, so that nothing that they import is missing either.
"""

import argparse
import re
import runpy
import sys
from contextlib import suppress
from typing import Any

import click
import pytest
import typer
from pages import ROOT, blocks, sentences, shell_words

from gauntlet.core.errors import unknown
from gauntlet.sims.arguments import Aware
from gauntlet.sims.attack_choice import attacks_of
from gauntlet.sims.cli import app
from gauntlet.sims.drawing import check_plot
from gauntlet.sims.explain import explain
from gauntlet.sims.names import GROUPS, every_plugin, plugin_names
from gauntlet.sims.overrides import check_swept, parse_list, parse_over
from gauntlet.sims.places import PLACES
from gauntlet.sims.plots.look import Look, labels_of
from gauntlet.sims.scaffold import _KINDS
from gauntlet.sims.scenario import load_scenario, make_scenario
from gauntlet.sims.shelves import scenario_names
from gauntlet.sims.sweep import variants
from gauntlet.sims.tables import COLUMNS

IN_BLOCKS = [
    (b.page, tuple(w)) for b in blocks() if b.kind in ("", "sh", "text") for w in shell_words(b) if w
]
NAMED = list(dict.fromkeys([*IN_BLOCKS, *((page, tuple(words)) for page, words in sentences())]))
GAUNTLET = [(page, words[1:]) for page, words in NAMED if words[0] == "gauntlet" and words[1:]]
MEASURED = [
    (page, words[1:]) for page, words in NAMED if words[:1] == ("python",) and "benchmarks/" in words[1]
]
_PARSER = typer.main.get_command(app)


def parsed(words: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Return a command's name and its parameters; a sentence may leave out what the last argument is."""
    assert isinstance(_PARSER, typer.core.TyperGroup)
    context = click.Context(_PARSER, info_name="gauntlet")
    name, command, rest = _PARSER.resolve_command(context, list(words))
    for further in ([], ["NAME"], ["NAME", "FOLDER"]):
        with suppress(click.MissingParameter):
            return str(name), command.make_context(name, [*rest, *further], parent=context).params
    raise AssertionError(f"{words} lacks more than its last arguments")


def placeholder(word: str) -> bool:
    """Whether a word stands for what a reader puts in: NAME, or a file of the reader's own."""
    return word.strip("'[].") == word.strip("'[].").upper() or word.endswith(".toml") or ":" in word


def look_at_scenario(name: str, given: dict[str, Any]) -> None:
    """Make runs of what is asked for, so that every value of a sweep is in one of them."""
    scenario = load_scenario(given["scenario"], given["set_"] or ())
    axes = {
        f"matrix.{key}": parse_list(given[key])
        for key in ("attacks", "defenses", "shares", "seeds")
        if given.get(key) is not None
    }
    if axes:
        make_scenario(load_scenario(given["scenario"], [*(given["set_"] or ()), *axes.items()]).values())
    said = parse_over(given.get("over") or ())
    crossed = scenario.sweep | said
    check_swept(given["set_"] or (), crossed, said)
    first = {key: values[:1] for key, values in crossed.items()}
    others = [first | {key: [value]} for key, values in crossed.items() for value in values[1:]]
    for one in [first, *others]:
        variants(make_scenario(scenario.values() | {"sweep": one}, scenario.name))[0].scenario.run_spec()


def look_at(name: str, given: dict[str, Any]) -> None:
    """Raise where a command names what there is not."""
    word = str(given.get("name") or given.get("what") or given.get("word") or given.get("part") or "")
    if name in ("run", "sweep", "matrix") and not placeholder(given["scenario"]):
        look_at_scenario(name, given)
    elif name == "plot" and not placeholder(word):
        check_plot(word, given["by"], given["out"], given["format_"], given["band"])
        Look(given["size"], labels_of(given["label"] or []), given["style"])
    elif name == "show" and not placeholder(word):
        assert word in [*scenario_names(), *every_plugin()], unknown("name", word, every_plugin())
    elif name == "list" and not placeholder(word):
        assert word in ("scenarios", "plots", "all", *GROUPS, *PLACES)
    elif name == "explain" and not placeholder(word):
        explain(word)
    elif name == "check-plugin" and not placeholder(word):
        assert word in every_plugin()
    elif name == "attack":
        named = [one for one in given["with_"] or () if one.startswith("{") or not placeholder(one)]
        aware = given["codec_aware"] and Aware(given["codec_aware"])  # as Typer hands it on
        assert given["with_"] or not (given["set_"] or aware)
        attacks_of(named, given["set_"] or () if named else (), aware)
    elif name == "new" and not placeholder(given["kind"]):
        assert given["kind"] in _KINDS
    elif name == "codecs":
        named = [one for one in given["only"] or () if not placeholder(one)]
        assert set(named) <= set(plugin_names("codecs"))
    elif name == "table":
        assert {one.strip() for one in (given["columns"] or "run").split(",")} <= set(COLUMNS)


@pytest.mark.parametrize(("page", "words"), GAUNTLET, ids=lambda v: v if isinstance(v, str) else " ".join(v))
def test_a_documented_command_is_taken_and_names_what_there_is(page, words):
    if words[0].startswith("-"):  # of the program, such as --version
        assert words[0] in {option for one in _PARSER.params for option in one.opts}
    else:
        look_at(*parsed(words))


class _Read(Exception):
    """The command line was read."""


@pytest.mark.parametrize(("page", "words"), MEASURED, ids=lambda v: v if isinstance(v, str) else " ".join(v))
def test_a_published_measurement_can_be_imported_and_takes_its_command_line(page, words, monkeypatch):
    def read(parser, *given, _real=argparse.ArgumentParser.parse_args):
        _real(parser, *given)
        raise _Read

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", read)
    monkeypatch.setattr(sys, "argv", [str(ROOT / words[0]), *words[1:]])
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    with pytest.raises(_Read):
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")


def test_the_page_of_python_names_every_command_that_is_no_function():
    functions = {"run", "sweep", "matrix", "resume", "export", "attack", "plot"}
    text = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    alone = text.partition("are commands\nalone (")[2].partition(")")[0]

    assert isinstance(_PARSER, typer.core.TyperGroup)
    assert sorted(re.findall(r"`([\w-]+)`", alone)) == sorted({*_PARSER.commands} - functions)
