"""Make what is written in a picture fit into it: measured as it will be drawn, and mended where it does not.

Small pictures have the same words as large ones. Lines are broken, ticks thinned out or turned, legends get
fewer columns, and a picture whose height is free grows.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from textwrap import fill
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import Bbox

from .base import Array

_ROUNDS = 6  # of measuring and mending; two or three do
_GAP = 2.0  # pixels between two labels
_MOST_LEGEND = 0.4  # of a picture's height
_LEAST_PANEL = 0.9  # inches of the highest panel with lines in it
_MARGIN = 0.95  # of the room: at another resolution letters are a little wider
_LEAST_SIZE = 4.0  # points
_LEAST_LINE = 8  # letters of the shortest line


def fit(figure: Figure, most_height: float | None) -> None:
    """Break lines, thin ticks and give room until nothing is cut and no two labels cover one another.

    Args:
        figure: The picture, with all that is in it.
        most_height: Up to which height it may grow, in inches; None where its height is asked for.
    """
    for _ in range(_ROUNDS):
        with catch_warnings(record=True) as told:
            simplefilter("always")  # that there is no room yet is what is mended here
            figure.draw_without_rendering()  # places all parts
        lacking = any("collapsed" in str(one.message) for one in told)
        changed = [
            _narrow_legends(figure),
            _break_lines(figure),
            _part_ticks(figure, most_height),
            part_notes(figure),
        ]
        if most_height is not None:
            changed.append(_grow(figure, most_height, lacking))
        if not any(changed):
            return


def parts(figure: Any) -> Iterator[Any]:
    """Yield a figure and all parts of it."""
    yield figure
    for part in figure.subfigs:
        yield from parts(part)


def _panels(figure: Figure) -> list[Any]:
    """Return the axes of a picture, whose titles at the left and right have no public name."""
    return list(figure.get_axes())


def extent(text: Any) -> Bbox:
    """Return the box around a text or a legend, in pixels."""
    box: Bbox = text.get_window_extent()
    return box


def _narrow_legends(figure: Figure) -> bool:
    """Take a column from every legend that is wider than its part, and break its title's line."""
    changed = False
    for part in parts(figure):
        for legend in part.legends:
            if extent(legend).width <= part.bbox.width:
                continue
            title = legend.get_title()
            if extent(title).width > 0.97 * part.bbox.width:
                changed |= _broken(title, 0.95 * part.bbox.width / extent(title).width)
            elif legend._ncols > 1:
                legend.set_ncols(legend._ncols - 1)
                changed = True
            else:
                for text in legend.get_texts():
                    changed |= _broken(text, part.bbox.width / extent(legend).width)
    return changed


def _break_lines(figure: Figure) -> bool:
    """Break the names of axes and the titles that are longer than what they stand at."""
    changed = False
    for axes in _panels(figure):
        box = axes.get_window_extent()
        for text, room, side in (
            (axes.xaxis.label, box.width, 0),
            (axes.yaxis.label, box.height, 1),
            (axes.title, box.width, 0),
            (axes._left_title, box.width, 0),
            (axes._right_title, box.width, 0),
        ):
            changed |= _fitted(text, _room(figure, axes, text, room), side)
        for text in axes.texts:
            if text.get_horizontalalignment() == "left" and not text.get_in_layout():
                changed |= _fitted(text, _MARGIN * box.width, 0)
    for part in parts(figure):
        if part._suptitle is not None:
            changed |= _fitted(part._suptitle, 0.97 * part.bbox.width, 0)
    return changed


def _room(figure: Figure, axes: Any, text: Text, room: float) -> float:
    """Return how long an axis' name or a title may be: up to the panels beside it, or the picture's edge."""
    if text is axes.yaxis.label:
        return room
    own = axes.get_window_extent()
    others = [other.get_window_extent() for other in figure.get_axes() if other is not axes]
    beside = [box for box in others if box.y0 < own.y1 and box.y1 > own.y0]
    middle, width = own.x0 + own.width / 2, figure.bbox.width
    if text is axes._left_title:
        return _MARGIN * float(min([box.x0 for box in beside if box.x0 > own.x0] + [width]) - own.x0)
    apart = [abs((box.x0 + box.x1) / 2 - middle) for box in beside]
    return _MARGIN * float(min([2 * middle, 2 * (width - middle), *(one for one in apart if one > 1)]))


def _fitted(text: Text, room: float, side: int) -> bool:
    length = (extent(text).width, extent(text).height)[side]
    if not text.get_text() or length <= room:
        return False
    return _broken(text, room / length) or _smaller(text, room / length)


def _smaller(text: Text, share: float) -> bool:
    """Make the letters of a single word smaller that stands at something shorter than it."""
    size = max(float(text.get_fontsize()) * share, _LEAST_SIZE)
    if " " in text.get_text() or size >= float(text.get_fontsize()):
        return False
    text.set_fontsize(size)
    return True


def _broken(text: Text, share: float) -> bool:
    """Break a text's lines so that they take that share of their length; return whether that changed it."""
    lines = text.get_text().split("\n")
    words = " ".join(lines) if "$" not in text.get_text() else text.get_text()
    longest = max(map(len, lines))
    told = fill(words, max(int(longest * share), _LEAST_LINE), break_long_words=False)
    if told == text.get_text():
        return False
    text.set_text(told)
    return True


def _part_ticks(figure: Figure, most_height: float | None) -> bool:
    """Turn or thin out the labels of ticks that cover one another."""
    changed, seen = False, set[int]()
    for axes in figure.get_axes():
        for axis in (axes.xaxis, axes.yaxis):
            if id(axis.major) in seen or not crowded(axis):
                continue
            seen.add(id(axis.major))
            if axis is axes.yaxis and most_height is not None and figure.get_figheight() < most_height:
                continue  # there will be room
            changed |= _turned(axis) or _thinned(axis)
    return changed


def crowded(axis: Axis) -> bool:
    """Return whether two labels of an axis' ticks that are seen cover one another."""
    boxes = [quad(text) for text in labels_of(axis)]
    return any(overlap(one, other, _GAP) for one, other in pairwise(boxes))


def labels_of(axis: Axis) -> list[Text]:
    """Return the labels of the ticks that are drawn, in their order."""
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    drawn = [t for t in ticks if low - slack <= t.get_loc() <= high + slack]
    labels = [label for t in sorted(drawn, key=lambda t: t.get_loc()) for label in (t.label1, t.label2)]
    return [label for label in labels if label.get_visible() and label.get_text()]


def _turned(axis: Axis) -> bool:
    """Turn names at the x axis; numbers stay as they are."""
    texts = labels_of(axis)
    named = any(any(letter.isalpha() for letter in text.get_text()) for text in texts)
    turned = {text.get_rotation() for text in texts}
    if getattr(axis, "axis_name", "") != "x" or not named or turned == {90.0}:
        return False
    axis.set_tick_params(rotation=90)
    for text in axis.get_ticklabels():
        text.set(ha="center", rotation_mode="default")
    return True


def _thinned(axis: Axis) -> bool:
    """Leave every second tick out."""
    low, high = sorted(axis.get_view_interval())
    places = [place for place in axis.get_majorticklocs() if low <= place <= high]
    if len(places) < 3:
        return False
    names = [text.get_text() for text in axis.get_ticklabels()]
    if isinstance(axis.get_major_locator(), FixedLocator) and len(names) == len(axis.get_majorticklocs()):
        whole = dict(zip(axis.get_majorticklocs(), names, strict=True))
        axis.set_ticks(places[::2], labels=[whole[place] for place in places[::2]])
        return True
    axis.set_major_locator(FixedLocator(places[::2]))
    return True


def _grow(figure: Figure, most_height: float, lacking: bool) -> bool:
    """Make a picture higher that lacks room, as where legends take much or labels at the y axis touch."""
    height = figure.get_figheight()
    taken = [sum(extent(one).height for one in part.legends) / part.bbox.height for part in parts(figure)]
    wanted = max(height, height * max(taken) / _MOST_LEGEND)
    if lacking or any(crowded(axes.yaxis) for axes in figure.get_axes()):
        wanted = max(wanted, 1.25 * height)
    drawn = [axes.get_window_extent().height for axes in figure.get_axes() if axes.lines and not axes.images]
    wanted = max(wanted, height + _LEAST_PANEL - max(drawn, default=figure.bbox.height) / figure.dpi)
    wanted = min(wanted, most_height)
    if wanted <= height + 1e-6:
        return False
    figure.set_figheight(wanted)
    return True


_AROUND = ((6, 5), (6, -12), (-12, 5), (-12, -12), (6, 15), (6, -22), (16, 5), (16, -12))
"""Places of a note around its point, in points."""


def part_notes(figure: Figure) -> bool:
    """Move notes beside points that cover one another, or a title, to another side of their point."""
    changed = False
    for axes in _panels(figure):
        notes = [t for t in axes.texts if isinstance(t, Annotation) and t.anncoords == "offset points"]
        titles = [t for t in (axes.title, axes._left_title, axes._right_title) if t.get_text()]
        taken = [quad(t) for t in (*titles, *labels_of(axes.xaxis), *labels_of(axes.yaxis))] if notes else []
        for note in notes:
            if _covers(note, taken):
                changed |= _moved(note, taken)
            taken.append(quad(note))
    return changed


def _covers(note: Text, taken: Sequence[Array]) -> bool:
    own = quad(note)
    return any(overlap(own, other) for other in taken)


def _moved(note: Annotation, taken: Sequence[Array]) -> bool:
    before = note.xyann
    for place in _AROUND:
        note.xyann = place
        if not _covers(note, taken):
            return True
    note.xyann = before
    return False


def quad(text: Text) -> Array:
    """Return the four corners of a text as it stands, turned or not.  # [4, 2]"""
    box, angle = extent(text), text.get_rotation()
    if angle % 90 == 0:
        half: Array = np.array([box.width, box.height]) / 2
        turn: Array = np.eye(2)
    else:
        text.set_rotation(0)
        flat = extent(text)
        text.set_rotation(angle)
        half = np.array([flat.width, flat.height]) / 2
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turn = np.array([[cos, -sin], [sin, cos]])
    middle = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
    corners: Sequence[tuple[int, int]] = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return np.asarray([middle + turn @ (half * corner) for corner in corners])


def overlap(one: Array, other: Array, gap: float = 0.0) -> bool:
    """Return whether two convex shapes come nearer to one another than ``gap``: no line parts them."""
    for shape in (one, other):
        for edge in np.roll(shape, -1, axis=0) - shape:
            normal = np.array([-edge[1], edge[0]])
            length = float(np.hypot(*normal))
            if length == 0:
                continue
            a, b = one @ normal / length, other @ normal / length
            if a.max() + gap <= b.min() or b.max() + gap <= a.min():
                return False
    return True
