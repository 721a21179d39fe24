"""What there is, listed: an overview that fits a screen, and each part of it with first sentences."""

import inspect
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from ..core.errors import PluginError, unknown
from .names import GROUPS, plugin_names
from .places import PLACES, SENTENCES
from .terminal import cell_text, wide_console

_SCREEN = 24  # lines


def print_overview() -> None:
    """Print one line a family with its number of members, loading none of them: 24 lines of 80 letters.

    Where there are more families than lines, those that come last share them, without a sentence.
    """
    from .plots import PLOTS
    from .shelves import scenario_names

    rows = [
        ("scenarios", len(scenario_names()), "gauntlet run NAME; list WORD, show NAME, explain WORD."),
        ("plots", len(PLOTS), "Pictures of results: gauntlet plot NAME FOLDER."),
        *((name, len(plugin_names(name)), SENTENCES[name]) for name in PLACES),
    ]
    print("\n".join(overview(rows)))


def overview(rows: Sequence[tuple[str, int, str]], lines: int = _SCREEN) -> list[str]:
    """Return (name, number, sentence) in that many lines at most, each within 80 letters."""
    alone = len(rows) if len(rows) <= lines else 2 * lines - len(rows)
    told = [f"{name:<18}{count:>4}  {sentence}" for name, count, sentence in rows[:alone]]
    left = [f"{name:<18}{count:>4}" for name, count, _ in rows[alone:]]
    return told + ["  ".join(pair) for pair in zip_longest(left[::2], left[1::2], fillvalue="")]


def print_part(word: str) -> None:
    """Print one part: scenarios, plots, a family, several of them (``attacks``), or all.

    Raises:
        PluginError: There is no such part.
    """
    if word in ("scenarios", "all"):
        print_scenarios()
    if word in ("plots", "all"):
        print_plots()
    if word == "all":
        print_families(list(PLACES))
    elif word in (*GROUPS, *PLACES):
        print_families(GROUPS.get(word, (word,)))
    elif word not in ("scenarios", "plots"):
        raise PluginError(unknown("family", word, ["scenarios", "plots", "all", *GROUPS, *PLACES]))


def print_scenarios() -> None:
    """Print every shipped scenario with the first sentence of its description."""
    from rich.table import Table

    from .scenario import load_scenario
    from .shelves import scenario_names

    table = Table("scenario", "what it shows", title="Scenarios (gauntlet run NAME)")
    for name in scenario_names():
        table.add_row(name, cell_text(first_sentence(load_scenario(name).description)))
    wide_console().print(table)


def print_families(names: Sequence[str]) -> None:
    """Print the plug-ins of some families, each with its first sentence."""
    from rich.table import Table

    from .families import family

    table = Table("family", "plug-in", "what it is", title="Plug-ins (gauntlet show NAME)")
    for number, kind in enumerate(names):
        if number:
            table.add_section()
        for plugin in family(kind).names():
            table.add_row(kind, cell_text(plugin), cell_text(_sentence(family(kind).find(plugin))))
    wide_console().print(table)


def print_plots() -> None:
    """Print what ``gauntlet plot`` draws, and the sets of these that have a name."""
    from rich.table import Table

    from .plots import PLOTS, SETS, find

    table = Table("plot", "what it draws", title="Plots (gauntlet plot NAME FOLDER...)")
    for name in PLOTS:
        table.add_row(name, _sentence(find(name)))
    table.add_section()
    for name, members in SETS.items():
        table.add_row(name, f"All of {', '.join(members)} that the results allow.")
    wide_console().print(table)


def _sentence(plugin: Any) -> str:
    return (inspect.getdoc(plugin) or "").split("\n")[0]


def first_sentence(text: str) -> str:
    """Return a text up to its first full stop or question mark that ends a sentence, in one line."""
    words = " ".join(text.split())
    ends = [place + 1 for mark in (". ", "? ", ": ") if (place := words.find(mark)) >= 0]
    return words[: min(ends)].replace(":", "") if ends else words
