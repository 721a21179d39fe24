"""A CSV file as words: its cells without blanks around them, and the line of each row for messages."""

import codecs
import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import DataError, unknown
from .base import Array
from .unpacking import read_bytes

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 2**31  # bytes of a table, unpacked
_OTHERS = {";": "';'", "\t": "'\\t' (a tab)", "|": "'|'", ",": "','"}


@dataclass(frozen=True)
class CsvFile:
    """A file ``.csv``, ``.csv.gz`` or ``.csv.xz`` with a header.

    Attributes:
        path: Where it is; a relative path counts from the working folder.
        separator: Between cells, one character.
        encoding: Of its text, as Python calls it.
        missing: Words that are read as empty cells.
    """

    path: str
    separator: str = ","
    encoding: str = "utf-8"
    missing: tuple[str, ...] = ()

    def read(self) -> "pd.DataFrame":
        """Return its words by column; what is missing is "". The index is the number of the row, from 0.

        Raises:
            DataError: No such file, or no table: another separator or encoding, a row of fewer or more cells
                than the header has, a column that stands there twice.
        """
        import pandas as pd

        text = self._text()
        try:
            table = pd.read_csv(StringIO(text), dtype=str, keep_default_na=False, sep=self.separator)
        except ValueError as error:  # pandas' errors of parsing are ValueErrors
            reason = self._other_separator(text) or str(error).splitlines()[0]
            raise DataError(f"{self.path} is no table: {reason}") from error
        if twice := [str(c) for c in table.columns if str(c).endswith(".1") and str(c)[:-2] in table.columns]:
            raise DataError(f"{self.path}: column {twice[0][:-2]!r} stands there twice")
        if not isinstance(table.index, pd.RangeIndex):  # what pandas makes of them
            hint = self._other_separator(text)
            hint = f"; {hint}" if hint else ""
            raise DataError(f"{self.path}: a row has more cells than the header has columns{hint}")
        table = table.rename(columns=lambda name: str(name).strip())
        if len(table.columns) > 1 and (table.iloc[:, -1].fillna("") == "").any():
            self._refuse_short(text, len(table.columns))
        table = table.fillna("").apply(lambda words: words.str.strip())
        return table.mask(table.isin(self.missing), "") if self.missing else table

    def check_column(self, table: "pd.DataFrame", name: str) -> None:
        """Raise ``DataError`` unless the table has that column."""
        if name in table.columns:
            return
        other = self._other_separator(self._text()) if len(table.columns) == 1 else None
        why = f"; {other}" if other else ""
        raise DataError(unknown(f"column of {self.path}", name, map(str, table.columns)) + why)

    def lines(self, rows: "list[int] | Array") -> str:
        """Return where rows stand in the file: ``line 12``, ``lines 12, 40 and 5 more``."""
        wanted, found = [int(row) for row in rows], []
        few = set(wanted[:3])
        try:
            for number, (line, _) in enumerate(self._records(self._text())):
                if number in few:
                    found.append(str(line))
                if len(found) == len(few):
                    break
        except csv.Error:  # a cell longer than Python's reader takes
            return f"row {wanted[0] + 1}"
        more = f" and {len(wanted) - len(few)} more" if len(wanted) > len(few) else ""
        return ("line " if len(wanted) == 1 else "lines ") + ", ".join(found) + more

    def _refuse_short(self, text: str, columns: int) -> None:
        """Raise ``DataError`` where a row has too few cells, which pandas fills up."""
        with suppress(csv.Error):  # a cell longer than Python's reader takes
            for line, cells in self._records(text):
                if cells < columns:
                    raise DataError(
                        f"{self.path}: line {line} has {cells} cells, the header has {columns} columns: "
                        "write an empty cell where nothing is known"
                    )

    def _records(self, text: str) -> Iterator[tuple[int, int]]:
        """Give each row's (first line, from 1; number of cells); blank lines are no rows, as for pandas."""
        reader = csv.reader(StringIO(text, newline=""), delimiter=self.separator)
        header, before = next(reader, None), reader.line_num
        while header is not None and not "".join(header).strip():
            header, before = next(reader, None), reader.line_num
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield before + 1, len(cells)
            before = reader.line_num

    def _text(self) -> str:
        place = Path(self.path).expanduser()
        if not place.is_file():
            raise DataError(f"there is no file {self.path} (working folder {Path.cwd()})")
        content = read_bytes(place, LARGEST)
        encoding = "utf-8-sig" if codecs.lookup(self.encoding).name == "utf-8" else self.encoding
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise DataError(
                f"{self.path} is no table: line {line} is no {self.encoding} text (byte "
                f"0x{content[error.start]:02x}): name its encoding (encoding = 'latin-1' or 'cp1252' for "
                "many tables of spreadsheets)"
            ) from error

    def _other_separator(self, text: str) -> str | None:
        """Return what to do where the header's cells are divided by another character; None where not."""
        header = text.partition("\n")[0]
        counts = Counter(c for c in header if c in _OTHERS and c != self.separator)
        if not counts or self.separator in header:
            return None
        other = counts.most_common(1)[0][0]
        return f"its header looks divided by {_OTHERS[other]}: set separator = {other!r}"


def check_format(separator: str, encoding: str) -> None:
    """Raise ``ValueError`` unless a table can be read with both."""
    if len(separator) != 1:
        raise ValueError(f"separator must be one character, got {separator!r}")
    try:
        b"1".decode(encoding)
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"encoding must be one of Python's for text, such as utf-8 or latin-1, got {encoding!r}"
        ) from error
