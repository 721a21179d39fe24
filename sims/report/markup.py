"""HTML whose every word is escaped: text becomes markup through ``element`` and in no other way."""

import html
import re
from collections.abc import Iterable, Sequence

from ..terminal import readable

MOST_LETTERS = 2_000  # of one piece of text
_VOID = frozenset({"br", "img", "meta"})


class Markup(str):
    """Text that is HTML already; made by this file alone."""

    __slots__ = ()


Content = Markup | str | int | float | None


def escaped(value: Content, most: int = MOST_LETTERS) -> Markup:
    """Return a value as HTML text: markup as it is, anything else escaped and cut after ``most`` letters.

    Letters that are not seen, or turn the direction in which text is read, become U+FFFD.
    """
    if isinstance(value, Markup):
        return value
    words = "" if value is None else str(value)
    if len(words) > most:
        words = f"{words[:most]} …"
    return Markup(html.escape(readable(words), quote=True))


def element(tag: str, *content: Content, **attributes: Content) -> Markup:
    """Return one element; ``class_`` is ``class``, ``_`` in names is ``-``, None leaves an attribute out.

    The names of tags and attributes are written in the code and never come from outside.
    """
    said = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{said}>")
    return Markup(f"<{tag}{said}>{''.join(map(escaped, content))}</{tag}>")


def joined(parts: Iterable[Content], between: str = "") -> Markup:
    """Return pieces of text and markup one after the other."""
    return Markup(escaped(between).join(map(escaped, parts)))


def trusted(text: str) -> Markup:
    """Return as markup what ships with the package: the page's own style and script."""
    return Markup(text)


def table(
    head: Sequence[Content], rows: Iterable[Sequence[Content]], caption: str, most: int = 500
) -> Markup:
    """Return a table that can be sorted by every column; rows after the first ``most`` are counted only.

    The first cell of a row names the row. A column whose every cell is a number or empty is set to the right.
    """
    rows = [list(row) for row in rows]
    right = [all(_is_number(row[i]) for row in rows) for i in range(len(head))]
    titles = [
        element("th", name, scope="col", class_="number" if right[i] else None) for i, name in enumerate(head)
    ]
    body = [
        element(
            "tr",
            *(
                element("th", cell, scope="row")
                if i == 0
                else element("td", cell, class_="number" if right[i] else None)
                for i, cell in enumerate(row)
            ),
        )
        for row in rows[:most]
    ]
    words = caption if len(rows) <= most else f"{caption} The first {most} of {len(rows)} rows."
    whole = element(
        "table",
        captioned(words),
        element("thead", element("tr", *titles)),
        element("tbody", *body),
        class_="sortable",
    )
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def captioned(words: str) -> Markup:
    """Return a table's caption, which breaks at the window's edge and stays where the table is scrolled."""
    return element("caption", element("span", words))


def _is_number(cell: Content) -> bool:
    return cell is None or isinstance(cell, int | float) or bool(re.match(r"[-+]?[\d.]|-?$|—$", cell))


def pairs(items: Iterable[tuple[str, Content]]) -> Markup:
    """Return names and values beside each other; what has no value is left out."""
    shown = [(name, value) for name, value in items if value not in (None, "")]
    return element("dl", *(joined([element("dt", n), element("dd", v)]) for n, v in shown))


def section(name: str, title: str, *content: Content) -> Markup:
    """Return one part of the page under a heading; nothing where there is no content."""
    inside = joined(content)
    if not inside:
        return Markup("")
    return element(
        "section", element("h2", title, id=f"{name}-title"), inside, id=name, aria_labelledby=f"{name}-title"
    )
