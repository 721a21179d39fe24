"""Results as HTML, for notebooks: small tables without style or script of their own. All text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as _escape
from typing import TYPE_CHECKING, Any

from .terminal import readable

if TYPE_CHECKING:
    from .results import Run

_MOST = 50  # rows of a table that are shown


def escape(text: str) -> str:
    return _escape(readable(text))


def run_html(run: Run) -> str:
    """Return a run: its folder and status, its summary where it is finished, and what it notes."""
    manifest = run.manifest
    status, name = str(manifest["status"]), str(manifest["scenario"]["name"])
    head = f"<p><b>{escape(name)}</b>: {escape(status)}, <code>{escape(str(run.folder))}</code></p>"
    if status in _finished():
        return head + runs_html([run]) + _lines(map(str, manifest.get("notes", ())))
    reason = manifest.get("reason")
    return head + _lines([*([str(reason)] if reason else []), *map(str, manifest.get("notes", ()))])


def runs_html(runs: Sequence[Run]) -> str:
    """Return the table that a run or a sweep ends with, and its warnings."""
    from .summary import summary_table, warnings

    unfinished = [run.folder for run in runs if run.manifest["status"] not in _finished()]
    if unfinished or not runs:
        return _lines(f"{folder} is not finished" for folder in unfinished)
    title, columns, rows = summary_table(runs)
    return table_html(title, columns, rows) + _lines(f"warning: {line}" for line in warnings(runs))


def table_html(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table; of a long one the first rows, and how many there are."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows[:_MOST]
    )
    more = f"<p>{_MOST} of {len(rows)} rows</p>" if len(rows) > _MOST else ""
    return (
        f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        + more
    )


def bars_html(bars: Iterable[tuple[str, int, int, str]], notes: Sequence[str]) -> str:
    """Return a bar for each (label, rounds done, rounds in all, score in words), and the last notes."""
    rows = "".join(
        f"<tr><td>{escape(label)}</td><td><progress value='{done}' max='{rounds}'></progress></td>"
        f"<td>{done}/{rounds}</td><td>{escape(score)}</td></tr>"
        for label, done, rounds, score in bars
    )
    return f"<table>{rows}</table>{_lines(notes[-5:])}"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _finished() -> tuple[str, ...]:
    from .results import FINISHED

    return FINISHED
