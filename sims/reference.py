"""Reference pages in Markdown, made of what plug-ins and the Python face say of themselves."""

import inspect
from collections.abc import Iterator
from typing import Any

from .catalogue import options_of_class
from .examples import example_of, files_of
from .families import family, family_names
from .places import SENTENCES

_TRUST = ("unit", "trust_model", "relation", "knowledge", "requires", "sees_model", "knows_defense", "exact")
"""Declarations that say what a plug-in assumes of the world: its threat model."""


def pages() -> Iterator[tuple[str, str]]:
    """Return every page as (path below the site's root, text): one a family, and the Python face."""
    for name in family_names():
        yield f"reference/{name}.md", family_page(name)
    yield "reference/python.md", python_page()


def family_page(name: str) -> str:
    """Return one family's page: a section a plug-in, with its options, source, threat model and example."""
    title = name.replace("_", " ").capitalize()
    parts = [f"# {title}\n\n{SENTENCES[name]} `gauntlet list {name}` lists them.\n"]
    parts += [_section(name, plugin, family(name).find(plugin)) for plugin in family(name).table]
    return "\n".join(parts)


def _section(kind: str, name: str, plugin: Any) -> str:
    module = inspect.getmodule(plugin)
    files = {**files_of(kind, name), "example.toml": example_of(kind, name, plugin)}
    options = [f"- `{line}`" for line in options_of_class(plugin)]
    lines = [
        f"## {name}\n",
        _text((module.__doc__ or "") if module else ""),
        _text(inspect.getdoc(plugin) or ""),
        "\n".join(["**Options**\n", *options]) if options else "No options.",
        "\n".join(["\n**Threat model**\n", *threats]) if (threats := _threat_model(kind, plugin)) else "",
        *(_example(file, text) for file, text in files.items()),
    ]
    return "\n".join(lines) + "\n"


def _example(file: str, text: str) -> str:
    block = "\n".join(f"    {line}" if line else "" for line in f"```text\n{text.rstrip()}\n```".splitlines())
    return f'\n??? example "{file}"\n\n{block}'


def _threat_model(kind: str, plugin: Any) -> list[str]:
    """Return what a class declares of who sees and knows what, one line each."""
    rows = family(kind).declares.rows()
    found = []
    for name in _TRUST:
        if name in rows and name in vars(plugin):
            value = vars(plugin)[name]
            if not isinstance(value, property):
                found.append(f"- `{name}`: {_plain(value)}")
    return found


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} ({_plain(level)})" for key, level in value.items()) or "nothing"
    return str(getattr(value, "value", value)).lower()


def python_page() -> str:
    """Return the page of the names that ``import gauntlet`` gives, from their docstrings."""
    import gauntlet

    parts = [
        "# Python\n\nWhat `import gauntlet` gives. [Python and notebooks](../python.md) shows them at work.\n"
    ]
    for name in sorted(dir(gauntlet)):
        found = getattr(gauntlet, name)
        if name.startswith("_") or inspect.ismodule(found) or not callable(found):
            continue
        try:
            signature = str(inspect.signature(found))
        except ValueError:
            signature = "(...)"
        parts.append(f"## {name}\n\n```text\n{name}{signature}\n```\n\n{_text(inspect.getdoc(found) or '')}")
    return "\n".join(parts)


def _text(docstring: str) -> str:
    """Return a docstring as preformatted text: its own line breaks and indents are what one reads."""
    return f"```text\n{docstring.strip()}\n```\n" if docstring.strip() else ""
