"""Write the page beside what it is of."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import GauntletError, ResultsError, said

if TYPE_CHECKING:
    from ..progress import Progress

NAME = "report.html"


def write_report(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write the page of one result folder, or of several side by side, and return its path.

    Args:
        folders: Runs, sweeps or matrices.
        out: The file; by default ``report.html`` in the one folder, or here where there are several.

    Raises:
        ResultsError: A folder holds no results, or others than those of a run; or the file cannot be written.
    """
    from .document import page
    from .reading import read

    path = out or (folders[0] / NAME if len(folders) == 1 else Path(NAME))
    beside = len(folders) == 1 and path.resolve().parent == folders[0].resolve()
    try:
        content = page(read(folders, apart=not beside))
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ResultsError(f"{', '.join(map(str, folders))} cannot be shown: {said(error)}") from error
    _put(path, content.encode("utf-8", errors="replace"))
    return path


def _put(path: Path, content: bytes) -> None:
    """Write the page whole or not at all; a power cut may lose it, since it can be made again."""
    part = path.with_suffix(".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise ResultsError(f"{path} cannot be written: {error.strerror}") from error


def keep_report(folder: Path, progress: "Progress") -> None:
    """Write the page of a folder that has just been finished; where that fails, one line says so."""
    try:
        write_report([folder])
    except (GauntletError, OSError, MemoryError) as error:
        progress.note(f"warning: {folder / NAME} was not written: {said(error)}")
