"""The tables of declarations as ``docs/declarations.md``: ``python -m gauntlet.core.declarations.page``."""

from . import TABLES
from .declaration import Declaration, Table

_HEAD = """# What a plug-in may declare

Besides its verb, a plug-in may say things of itself: a public class attribute, a field, a property or a
method under one of the names below. Of a plug-in that is silent the careful answer holds. A value of
another type is refused in one line, and so is a public attribute that is no option and is called nearly like
one of these names: `need_root` for `needs_root`. `gauntlet check-plugin` names every public attribute that is
neither a declaration nor a verb nor an option. The name of a helper begins with an underscore.

The tables are `core/declarations/`, one class a family; the engine reads `declared(plugin, Defenses.linear)`.
This page is written from them: `python -m gauntlet.core.declarations.page > docs/declarations.md`.
"""


def page() -> str:
    """Return the page, one section a family."""
    return "\n".join([_HEAD, *(_section(name, table) for name, table in TABLES.items())])


def _section(name: str, table: type[Table]) -> str:
    lines = [_row(declaration) for declaration in table.rows().values()]
    head = f"## {name} (`{table.__name__}`)\n\n| name | value | if silent | meaning |\n|---|---|---|---|"
    return "\n".join([head, *lines, ""])


def _row(declaration: Declaration[object]) -> str:
    value = declaration.kind.words.replace("|", "\\|")
    silent = "" if declaration.careful is None else f"`{declaration.careful!r}`"
    return f"| `{declaration.name}` | {value} | {silent} | {declaration.meaning} |"


if __name__ == "__main__":
    print(page(), end="")
