"""The tables of declarations as ``docs/declarations.md``: ``python -m gauntlet.core.declarations.page``."""

import inspect
from collections.abc import Iterator, Mapping

from .. import contracts
from . import TABLES
from .declaration import Declaration, Table

VERBS: Mapping[str, type] = {
    "tasks": contracts.Task,
    "algorithms": contracts.LocalRule,
    "client_defenses": contracts.ClientDefense,
    "codecs": contracts.Codec,
    "data_attacks": contracts.DataAttack,
    "update_attacks": contracts.UpdateAttack,
    "leakage_attacks": contracts.LeakageAttack,
    "inference_attacks": contracts.InferenceAttack,
    "servers": contracts.MaliciousServer,
    "defenses": contracts.Defense,
    "pre_aggregations": contracts.PreAggregation,
    "privacy": contracts.Privacy,
    "clippings": contracts.Clipping,
    "audits": contracts.Audit,
    "samplers": contracts.Sampler,
    "schedules": contracts.Schedule,
    "networks": contracts.Network,
    "server_optimizers": contracts.ServerOptimizer,
    "trackers": contracts.Tracker,
}
"""From a family's name to what its members owe; of data sets and partitions that is no word of this floor."""

_HEAD = """# What a plug-in has, and what it may declare

A section begins with the methods of the family's contract (`core/contracts/`). Besides these, a plug-in
may say things of itself: a public class attribute, a field, a property or a method under one of the names
below. Of a plug-in that is silent the careful answer holds. A value of another type is refused in one line,
and so is a public attribute that is no option and is called nearly like one of these names: `need_root` for
`needs_root`. `gauntlet check-plugin` names every public attribute that is
neither a declaration nor a verb nor an option. The name of a helper begins with an underscore.

Where a meaning ends with `Of` and verbs, the declaration speaks of these: a class that inherits from another
and writes one of them anew does not inherit it, and is silent until it says so itself. A subclass of `Mean`
with an `aggregate` of its own is not `linear`.

The tables are `core/declarations/`, one class a family; the engine reads `declared(plugin, Defenses.linear)`.
This page is written from them: `python -m gauntlet.core.declarations.page > docs/declarations.md`.
"""


def page() -> str:
    """Return the page, one section a family."""
    return "\n".join([_HEAD, *(_section(name, table) for name, table in TABLES.items())])


def _section(name: str, table: type[Table]) -> str:
    lines = [_row(declaration) for declaration in table.rows().values()]
    owed = list(_verbs(VERBS[name], table)) if name in VERBS else []
    owed += [""] * bool(owed)
    head = [f"## {name} (`{table.__name__}`)", "", *owed]
    return "\n".join([*head, "| name | value | if silent | meaning |", "|---|---|---|---|", *lines, ""])


def _verbs(protocol: type, table: type[Table]) -> Iterator[str]:
    """Yield a line for each method that all members have: arguments, what it returns, what it is for."""
    for name, verb in vars(protocol).items():
        if name.startswith("_") or not inspect.isfunction(verb) or name in table.rows():
            continue
        arguments = ", ".join(list(inspect.signature(verb).parameters)[1:])
        came = verb.__annotations__["return"]
        meaning = (inspect.getdoc(verb) or "").partition("\n\n")[0].replace("\n", " ")
        end = f": {meaning}" if meaning else ""
        yield f"- `{name}({arguments}) -> {came if isinstance(came, str) else came.__name__}`{end}"


def _row(declaration: Declaration[object]) -> str:
    value = declaration.kind.words.replace("|", "\\|")
    silent = "" if declaration.careful is None else f"`{declaration.careful!r}`"
    spoken = f" Of `{'`, `'.join(declaration.verbs)}`." if declaration.verbs else ""
    return f"| `{declaration.name}` | {value} | {silent} | {declaration.meaning}{spoken} |"


if __name__ == "__main__":
    print(page(), end="")
