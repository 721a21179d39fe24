"""How a picture is to look beside what it shows: its size, what things are called in it, its style.

``drawn_as`` holds for whatever is drawn within it, as matplotlib's own ``rc_context`` does.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...core.errors import ScenarioError, shown, unknown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.35, 7.0  # inches: 85 mm, and the text width of a page of two columns
_SIZES = {"column": COLUMN, "page": PAGE}
_LIMITS = 1.5, 40.0  # inches, of a picture that can be read and made
SIZE: ContextVar[tuple[float, float | None] | None] = ContextVar("SIZE", default=None)


@dataclass(frozen=True)
class Look:
    """What a user asks of a picture.

    Attributes:
        size: ``"column"`` (3.35 inches wide), ``"page"`` (7), or ``"W,H"`` in inches; None: the plot's own.
        labels: From a text that the picture would have to what it has instead.
        style: One of matplotlib's styles, or the path of an ``.mplstyle`` file; None: ours.
        had: Of several pictures, the names that some of them had so far: a name that one of them does not
            have is no error then, and ``refuse_lacking`` says which no picture had. None: of one picture.
    """

    size: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    style: str | None = None
    had: set[str] | None = None

    def __post_init__(self) -> None:
        inches(self.size)

    def refuse_lacking(self) -> None:
        """Raise ``ScenarioError`` where a label that is asked for was in none of several pictures."""
        lacking = [old for old in self.labels if self.had is not None and old not in self.had]
        if lacking:
            raise ScenarioError(f"no text of these pictures, which are drawn, has {shown(lacking[0])}")

    @property
    def width(self) -> float | None:
        """Inches from left to right; None where the plot says."""
        asked = inches(self.size)
        return None if asked is None else asked[0]

    @property
    def scale(self) -> float:
        """What letters, lines and marks are multiplied by: 9 points become 6.75 in a column."""
        asked = inches(self.size)
        if asked is None:
            return 1.0
        return 0.75 if asked[0] < 4.5 else 0.9 if asked[0] < 9.0 else 1.0


def labels_of(texts: Sequence[str]) -> dict[str, str]:
    """Return new names by old ones from ``old=new`` strings.

    Raises:
        ScenarioError: No ``=``, nothing before it, or an old name twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.rpartition("=")
        if not equals or not old.strip():
            raise ScenarioError(f"--label needs old=new, got {text!r}")
        if old in found:
            raise ScenarioError(f"--label names {old!r} twice")
        found[old] = new
    return found


def inches(size: str | None) -> tuple[float, float | None] | None:
    """Return the width and height that are asked for; no height where it follows from the plot's shape.

    Raises:
        ScenarioError: Neither a name nor two numbers, or numbers out of range.
    """
    if size is None:
        return None
    if size in _SIZES:
        return _SIZES[size], None
    try:
        width, height = (float(part) for part in size.split(","))
    except ValueError:
        raise ScenarioError(f"a size is column, page or W,H in inches such as 5,3; got {size!r}") from None
    low, high = _LIMITS
    if not (low <= width <= high and low <= height <= high):
        raise ScenarioError(f"a picture's sides are {low:g} to {high:g} inches, got {size!r}")
    return width, height


@contextmanager
def drawn_as(look: Look) -> Iterator[None]:
    """Let pictures that are made and saved within have the asked size and style.

    Raises:
        ScenarioError: There is no such style.
    """
    token = SIZE.set(inches(look.size))
    try:
        if look.style is None:
            yield
        else:
            with _styled(look.style):
                yield
    finally:
        SIZE.reset(token)


@contextmanager
def _styled(name: str) -> Iterator[None]:
    from matplotlib import style

    if not name.endswith(".mplstyle") and name not in style.available:
        raise ScenarioError(unknown("style", name, style.available))
    try:
        context = style.context(name)
        context.__enter__()
    except (OSError, ValueError) as error:
        raise ScenarioError(f"style {name} cannot be read: {' '.join(str(error).split())}") from error
    try:
        yield
    finally:
        context.__exit__(None, None, None)


def finish(figure: "Figure", data: "pd.DataFrame | None", look: Look) -> "tuple[Figure, pd.DataFrame | None]":
    """Give a figure the asked names and letters, and the numbers behind it the same names.

    Raises:
        ScenarioError: A label that the picture does not have.
    """
    if look.labels:
        _rename(figure, look.labels, look.had)
        data = None if data is None else _renamed(data, look.labels)
    if look.scale != 1.0:
        _shrink(figure, look.scale)
    if (asked := inches(look.size)) is not None:
        from .fit import fit
        from .style import MOST_HEIGHT

        fit(figure, MOST_HEIGHT if asked[1] is None else None)
    return figure, data


def _rename(figure: "Figure", labels: Mapping[str, str], had: set[str] | None) -> None:
    from matplotlib.text import Text

    fixed = _named_ticks(figure)
    kept = {id(text) for text in _explanations(figure)}
    kept |= {id(text) for axis, _ in fixed for text in axis.get_ticklabels()}
    texts: list[Any] = [text for text in figure.findobj(Text) if id(text) not in kept]
    before = [text.get_text() for text in texts]
    said = [*before, *(name for _, names in fixed for name in names)]
    for old in labels:
        if any(_word(old).search(name) for name in said):
            if had is not None:
                had.add(old)
        elif had is None:
            known = dict.fromkeys(" ".join(name.split()) for name in said if name.strip())
            raise ScenarioError(f"no text of this picture has {old!r}; it has: {'; '.join(known)}")
    for text, name in zip(texts, before, strict=True):
        text.set_text(replaced(name, labels))
    for axis, names in fixed:
        if (others := [replaced(name, labels) for name in names]) != names:
            axis.set_ticks(axis.get_majorticklocs(), labels=others)


def _named_ticks(figure: "Figure") -> list[tuple[Any, list[str]]]:
    """Return the axes whose ticks stand at fixed places, each once of those that share them, and their names.

    Names of such ticks are made anew whenever the picture is drawn: to change the texts alone would not last.
    """
    from matplotlib.ticker import FixedLocator

    found: dict[int, tuple[Any, list[str]]] = {}
    for axis in (one for axes in figure.get_axes() for one in (axes.xaxis, axes.yaxis)):
        if isinstance(axis.get_major_locator(), FixedLocator) and id(axis.major) not in found:
            found[id(axis.major)] = (axis, [text.get_text() for text in axis.get_ticklabels()])
    return [(axis, names) for axis, names in found.values() if any(names)]


def _explanations(figure: Any) -> list[Any]:
    """Return what says how to read a picture: small print, and what legends say of bands."""
    legends = [*figure.legends, *(legend for part in figure.subfigs for legend in part.legends)]
    return [*(legend.get_title() for legend in legends), *([figure._supxlabel] if figure._supxlabel else [])]


def _word(old: str) -> re.Pattern[str]:
    """Return what finds a name as a whole, also where a line was broken within it."""
    inside = r"\s+".join(map(re.escape, old.split()))
    return re.compile(rf"(?<![\w.-]){inside}(?![\w-])")


def replaced(text: str, labels: Mapping[str, str]) -> str:
    """Return a text with all names replaced at once: what one puts in is not replaced by another."""
    if not any(_word(old).search(text) for old in labels):
        return text
    by_length = sorted(labels, key=len, reverse=True)
    pattern = re.compile("|".join(f"({_word(old).pattern})" for old in by_length))
    return pattern.sub(lambda found: labels[by_length[int(found.lastindex or 1) - 1]], text)


def _renamed(data: "pd.DataFrame", labels: Mapping[str, str]) -> "pd.DataFrame":
    """Return a table in which whole words of its texts are replaced."""
    found = data.copy()
    for name in found.columns:
        if name != "band" and found[name].dtype.kind not in "biuf":
            found[name] = [replaced(v, labels) if isinstance(v, str) else v for v in found[name]]
    return found


def _shrink(figure: "Figure", scale: float) -> None:
    """Make letters, lines and marks smaller, as a smaller picture needs."""
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    for axes in figure.get_axes():
        for axis in (axes.xaxis, axes.yaxis):
            size = axis.get_tick_params().get("labelsize")
            if isinstance(size, float | int):
                axis.set_tick_params(labelsize=size * scale)
    ticks = {id(label) for axes in figure.get_axes() for label in _tick_labels(axes)}
    texts: list[Any] = figure.findobj(Text)
    for text in texts:
        if id(text) not in ticks:
            text.set_fontsize(text.get_fontsize() * scale)
    lines: list[Any] = figure.findobj(Line2D)
    for line in lines:
        line.set_linewidth(line.get_linewidth() * scale)
        line.set_markersize(line.get_markersize() * scale)
    scattered: list[Any] = figure.findobj(PathCollection)
    for marks in scattered:
        marks.set_sizes(marks.get_sizes() * scale**2)


def _tick_labels(axes: Any) -> list[Any]:
    return [*axes.get_xticklabels(), *axes.get_yticklabels()]
