"""``gauntlet table``: results as a table for a paper, in LaTeX, Markdown or CSV."""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ..core.disk import write_whole
from ..core.errors import ScenarioError, unknown
from .matrix_file import only_fields, read_matrix, with_somebody_to_find
from .matrix_table import SPREAD
from .plots.look import replaced
from .results import Run
from .summary import summary_rows
from .terminal import readable
from .terms import terms_in_words
from .upwards import upwards

Row = Mapping[str, Any]


def _number(name: str, form: str, factor: float = 1.0) -> Callable[[Row], str]:
    """Return how a mean is written, with its spread over seeds behind it where there are several."""

    def written(row: Row) -> str:
        value, spread = row.get(name), row.get(f"{name}_spread")
        if value is None:
            return ""
        return f"{factor * value:{form}}" + (f" ± {factor * spread:{form}}" if spread is not None else "")

    return written


def _word(name: str) -> Callable[[Row], str]:
    return lambda row: row.get(name) or ""


def _epsilon(row: Row) -> str:
    if row["epsilon"] is not None:
        return upwards(row["epsilon"], ".3g")
    return "" if row["epsilon_reason"] == "no_mechanism" else f"none ({row['epsilon_reason']})"


COLUMNS: Mapping[str, tuple[str, Callable[[Row], str]]] = {
    "run": ("Run", lambda row: str(row["run"])),
    "seeds": ("Seeds", lambda row: str(row["seeds"])),
    "accuracy": ("Accuracy (%)", _number("accuracy", ".1f", 100.0)),
    "rmse": ("RMSE", _number("rmse", ".4g")),
    "mae": ("MAE", _number("mae", ".4g")),
    "loss": ("Loss", _number("loss", ".3f")),
    "epsilon": ("Epsilon", _epsilon),
    "delta": ("Delta", _word("delta")),
    "unit": ("Unit", _word("unit")),
    "trust_model": ("Trust model", _word("trust_model")),
    "relation": ("Relation", _word("relation")),
    "megabytes_up": ("MB up", _number("megabytes_up", ".3g")),
    "bytes_up": ("Bytes up", _number("bytes_up", ".0f")),
    "bytes_down": ("Bytes down", _number("bytes_down", ".0f")),
    "virtual_seconds": ("Simulated seconds", _number("virtual_seconds", ".4g")),
    "precision": ("Precision (%)", _number("precision", ".1f", 100.0)),
    "recall": ("Recall (%)", _number("recall", ".1f", 100.0)),
    "false_positive_rate": ("False alarms (%)", _number("false_positive_rate", ".1f", 100.0)),
    "psnr_mean": ("PSNR, mean (dB)", _number("psnr_mean", ".1f")),
    "psnr_worst": ("PSNR, worst (dB)", _number("psnr_worst", ".1f")),
}
"""From a column's name to its head and to how a row of the summary is written in it."""
_ASKED = ("unit", "trust_model", "relation", "bytes_up", "bytes_down")
"""Columns that stand there only where they are named; what an epsilon is read with stands in the note."""
_BANDS: Mapping[str, str] = {
    "range": "half of the range over seeds",
    "std": "1 standard deviation over seeds",
    "ci": "half of the 95 % confidence interval of the mean over seeds (t)",
}


@dataclass(frozen=True)
class Table:
    """Heads and cells, as text."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def renamed(self, labels: Mapping[str, str]) -> "Table":
        """Return the table with names replaced in its cells and heads.

        Raises:
            ScenarioError: A name that no cell has.
        """
        cells = [*self.heads, *(cell for row in self.rows for cell in row)]
        for old in labels:
            if all(replaced(cell, {old: ""}) == cell for cell in cells):
                raise ScenarioError(
                    f"no cell of this table has {old!r}; it has: {'; '.join(dict.fromkeys(cells))}"
                )
        rows = [[replaced(cell, labels) for cell in row] for row in self.rows]
        return Table([replaced(head, labels) for head in self.heads], rows, self.note)

    def plain(self) -> "Table":
        """Return the table with every cell in one line, without letters that are not seen or turn text."""
        return Table(_plain(self.heads), [_plain(row) for row in self.rows], self.note)


def _plain(cells: Sequence[str]) -> list[str]:
    return [readable(" ".join(cell.split())) for cell in cells]


def summary_table(runs: Sequence[Run], columns: Sequence[str] = (), band: str = "range") -> Table:
    """Return a table of runs, one row a name; of no ``columns`` those that say something of these runs.

    Args:
        runs: What to show.
        columns: Of ``COLUMNS``.
        band: What stands behind a mean over seeds: half of the ``"range"``, ``"std"``, or half of the
            ``"ci"``.

    Raises:
        ScenarioError: There is no such column.
    """
    rows = summary_rows(runs, band)
    for name in columns:
        if name not in COLUMNS:
            raise ScenarioError(unknown("column", name, COLUMNS))
    told = [name for name, (_, cell) in COLUMNS.items() if any(cell(row) for row in rows)]
    shown = columns or [name for name in told if name not in _ASKED]
    cells = [[COLUMNS[name][1](row) for name in shown] for row in rows]
    spread = f"mean ± {_BANDS[band]}" if any(row["seeds"] > 1 for row in rows) else ""
    terms = terms_in_words(rows) if "epsilon" in shown else ""
    return Table([COLUMNS[name][0] for name in shown], cells, "; ".join(filter(None, (spread, terms))))


_PERCENT: tuple[str, Callable[[float], str]] = " (%)", lambda share: f"{100 * share:.1f}"
_UNITS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "delay": (" (rounds)", lambda rounds: f"{rounds:.1f}"),
    "aggregate_distance": ("", lambda distance: f"{distance:.3g}"),
}
"""Of a matrix's columns that hold no share: what stands behind the name, and how a number is written."""


def matrix_table_of(
    folder: Path, value: str = "best_accuracy", band: str | None = None, only: Sequence[str] = ()
) -> Table:
    """Return a matrix's table: a row a share and defense, a column an attack; shares in percent.

    Behind a mean over several seeds stands its spread, by default half of the range; what is counted over all
    seeds together, such as the recall, has none.

    Raises:
        ResultsError: The folder holds no table of a matrix that can be read.
        ScenarioError: The matrix has no such column of numbers, it has no spread although ``band`` asks for
            one, or ``only`` leaves nothing.
    """
    found = only_fields(with_somebody_to_find(read_matrix(folder)), only)
    ends = tuple(f"{name}_{end}" for name in SPREAD for end in ("low", "high", "std"))
    numbers = [n for n in found if found[n].dtype.kind == "f" and n != "share" and n not in ends]
    if value not in numbers:
        raise ScenarioError(unknown("column", value, numbers))
    halves = _halves(found, value, band or "range")
    if halves is None and band is not None:
        raise ScenarioError(_no_spread(value))
    attacks, (unit, written) = list(dict.fromkeys(found["attack"])), _UNITS.get(value, _PERCENT)
    rows = []
    found = found.assign(half=float("nan") if halves is None else halves)
    for (share, defense), part in found.groupby(["share", "defense"], sort=False):
        cells = part.set_index("attack")[[value, "half"]].reindex(attacks).to_numpy()
        told = ["" if v != v else written(v) + (f" ± {written(h)}" if h == h else "") for v, h in cells]
        rows.append([f"{100 * share:g}", defense, *told])
    behind = f"; mean ± {_BANDS[band or 'range']}" if found["half"].notna().any() else ""
    return Table(["Malicious (%)", "Defense", *attacks], rows, f"{value.replace('_', ' ')}{unit}{behind}")


def _halves(found: Any, value: str, band: str) -> Any:
    """Return how far the spread of each field reaches; None where the table does not hold it."""
    from .plots.base import half_width

    needed = [f"{value}_low", f"{value}_high"] if band == "range" else [f"{value}_std"]
    if value not in SPREAD or "seeds" not in found or not set(needed) <= set(found):
        return None
    several = found["seeds"] > 1
    if band == "range":
        return ((found[needed[1]] - found[needed[0]]) / 2).where(several)
    widths = found["seeds"].map(lambda seeds: half_width(band, int(seeds)))
    return (found[needed[0]] * widths).where(several)


def _no_spread(value: str) -> str:
    if value not in SPREAD:
        return f"{value} is counted over all seeds together and has no spread; {', '.join(SPREAD)} have one"
    return f"this matrix.csv, of an earlier version, holds no spread of {value}; 'gauntlet resume' writes it"


def latex(table: Table) -> str:
    """Return a table for LaTeX with the package booktabs; the first column of words stands left."""
    columns = "".join("l" if n == 0 or not _numeric(table, n) else "r" for n in range(len(table.heads)))
    lines = [
        *([f"% {table.note}"] if table.note else []),
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(_escaped, table.heads)) + r" \\",
        r"\midrule",
        *(" & ".join(map(_escaped, row)) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _numeric(table: Table, column: int) -> bool:
    return all(row[column][:1].isdigit() or row[column][:1] in ("", "-") for row in table.rows)


_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "ε": r"$\varepsilon$",
    "<": r"$<$",
    ">": r"$>$",
}


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in text)


def markdown(table: Table) -> str:
    """Return a table for Markdown."""
    rows = [table.heads, ["---"] * len(table.heads), *table.rows]
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join([*lines, *(["", table.note] if table.note else [])]) + "\n"


def comma_separated(table: Table) -> str:
    """Return a table as CSV that a spreadsheet may open.

    Source: OWASP, CSV Injection. A cell that a spreadsheet would compute has an apostrophe before it;
    numbers, also negative ones and such with a spread, stay as they are.
    """
    text = StringIO()
    rows = [[_inert(cell) for cell in row] for row in (table.heads, *table.rows)]
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


_COMPUTED = tuple("=+-@\t\r\n＝＋－＠")  # the last four in East Asian settings
_DIGITS = r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?"
_A_NUMBER = re.compile(rf"{_DIGITS}( ± {_DIGITS})?|[-+]?inf|-", re.ASCII)


def _inert(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_COMPUTED) and not _A_NUMBER.fullmatch(cell) else cell


FORMS: Mapping[str, Callable[[Table], str]] = {
    "latex": latex,
    "markdown": markdown,
    "csv": comma_separated,
}


def write_table(text: str, out: Path) -> Path:
    """Write a table's text at once or not at all.

    Raises:
        ResultsError: The disk is full or not writable.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, text.encode())
    return out
