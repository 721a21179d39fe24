"""Scenarios and plug-ins, shown and checked; and how labels lie on clients."""

import inspect
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Any

from ..core.declarations.strangers import resembled, strangers
from ..core.errors import PluginError, ScenarioError, said, unknown
from ..core.options import options_of
from ..core.registry import Family
from .examples import example_of, files_of
from .families import checks, families_of, family, family_names
from .overrides import parse
from .scenario import Scenario, load_scenario, make_scenario
from .shelves import scenario_names
from .terminal import say

_LONGEST = 300  # letters of a broken promise's reason


def print_scenario(name: str) -> None:
    """Print a scenario's file as it stands."""
    load_scenario(name)  # a broken one is refused here, in one line
    path = scenario_names().get(name, Path(name))
    say(path.read_text(encoding="utf-8").removesuffix("\n"))


def print_plugin(name: str) -> None:
    """Print a plug-in's family, description, source and options, and a scenario that uses it."""
    names = set(scenario_names())
    try:
        kinds = families_of(name)
    except PluginError as error:
        if ":" in name:
            raise
        every = names | {n for kind in family_names() for n in family(kind).names()}
        raise PluginError(unknown("scenario or plug-in", name, every)) from error
    for kind in kinds:
        plugin: Any = family(kind).find(name)
        module = inspect.getmodule(plugin)
        say(f"{name} ({family(kind).noun})\n")
        say(f"{(module.__doc__ or '').strip()}\n" if module else "")
        say(inspect.getdoc(plugin) or "")
        say("\nOptions:" if options_of_class(plugin) else "\nNo options.")
        for line in options_of_class(plugin):
            say(f"  {line}")
        say(f"\n{_example(kind, name, plugin)}")


def _example(kind: str, name: str, plugin: Any) -> str:
    """Return the files of an example of use, and the command that runs it."""
    files = {**files_of(kind, name), "example.toml": example_of(kind, name, plugin)}
    saved = "\n\n".join(f"Example, as {file}:\n\n{text.rstrip()}" for file, text in files.items())
    made = [f"python {file}" for file in files if file == "pictures.py"]
    return "\n".join([saved, "", *made, "gauntlet run example.toml"])


def options_of_class(plugin: Any) -> list[str]:
    """Return a plug-in's options, each with its type and default."""
    if not is_dataclass(plugin):
        return [str(p) for p in inspect.signature(plugin).parameters.values()]
    return [f"{f.name}: {_type(f)}{_default(f)}" for f in fields(plugin) if f.init]


def _type(field: Field[Any]) -> str:
    return field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)


def _default(field: Field[Any]) -> str:
    if field.default is not MISSING:
        return f" = {field.default!r}"
    return " = ..." if field.default_factory is not MISSING else "   (required)"


def check(name: str, family_name: str | None, options: Sequence[str]) -> bool:
    """Run a family's contract on a plug-in; print one line a sentence; return whether all hold.

    Raises:
        PluginError: There is no such plug-in, or it does not take the options.
    """
    kinds = [family_name] if family_name else families_of(name)
    if len(kinds) > 1:
        raise PluginError(f"'{name}' is in several families: {', '.join(kinds)}; choose one with --family")
    plugin = family(kinds[0]).build(name, dict(parse(option) for option in options))
    failures, told = 0, dict[str, str]()
    for sentence in checks(kinds[0]):
        words = sentence.__name__.replace("_", " ")
        try:
            sentence(plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plug-in that leaves the process breaks its promise, too
            failures += 1
            reason = _reason(error, plugin)
            first = told.setdefault(reason, words)
            say(f"FAILED  {words}: {reason if first == words else f'the same as of: {first}'}")
        else:
            say(f"ok      {words}")
    for line in _beside(plugin, family(kinds[0])):
        say(f"note    {line}")
    total = len(checks(kinds[0]))
    noun = family(kinds[0]).noun
    say(f"{noun} '{name}' keeps {total - failures} of the {total} promises that every {noun} makes.")
    return failures == 0


def _reason(error: BaseException, plugin: object) -> str:
    """Return what a broken promise says, and which line of the plug-in's file was at work."""
    reason = said(error, named=not isinstance(error, PluginError), most=_LONGEST)
    place = _place(error, plugin)
    return f"{place}: {reason}" if place else reason


def _place(error: BaseException | None, plugin: object) -> str:
    """Return ``file.py:12``: the innermost line of the plug-in's own file in an error or its causes."""
    try:
        file = inspect.getfile(type(getattr(plugin, "__wrapped__", plugin)))
    except (TypeError, OSError):  # a class of a notebook
        return ""
    found = ""
    while error is not None:
        lines = [f.lineno for f in extract_tb(error.__traceback__) if f.filename == file]
        found = f"{Path(file).name}:{lines[-1]}" if lines else found
        error = error.__cause__
    return found


def _beside(plugin: object, members: Family[Any]) -> list[str]:
    """Return, one line each, what a plug-in says under names that nobody reads."""
    table, known = members.declares, members.known(plugin)
    options = [name for name in options_of(plugin) if name not in table.rows()]
    meant = {name: resembled(name, table) for name in options}
    return [
        *(
            f"'{name}' is in no table of what a {members.noun} may declare: nothing reads it"
            for name in strangers(plugin, table, known)
        ),
        *(
            f"option '{name}' declares nothing; where '{right}' is meant, write {right}: ClassVar"
            for name, right in meant.items()
            if right
        ),
    ]


def draw_labels(name: str, options: Sequence[str], out: Path | None) -> tuple[list[str], Path]:
    """Draw the label distribution of a scenario's clients, or of a data set split IID.

    Returns:
        Lines that sum the data up, and the PNG.

    Raises:
        ScenarioError: Neither a scenario nor a data set has that name.
    """
    from ..server.assembly.ingredients import make_data
    from .data_summary import summary_lines
    from .plots import save
    from .plots.labels import label_distribution

    scenario = _data_scenario(name, options)
    data = make_data(scenario.run_spec())
    counts = data.label_counts()
    figure, table = label_distribution(counts)
    return summary_lines(data, counts), save(figure, out or Path(f"{scenario.name}-labels.png"), table)


def _data_scenario(name: str, options: Sequence[str]) -> Scenario:
    if name.endswith(".toml") or name in scenario_names():
        return load_scenario(name, options)
    if name not in family("datasets").names() and ":" not in name:
        raise ScenarioError(
            unknown("scenario or data set", name, [*scenario_names(), *family("datasets").names()])
        )
    from .overrides import change

    raw: dict[str, Any] = {
        "name": name.replace(":", "-").replace("/", "-"),
        "rounds": 1,
        "num_clients": 10,
        "data": name,
        "model": "logistic_regression",
    }
    for key, value in map(parse, options):
        raw = change(raw, key, value)
    return make_scenario(raw)
