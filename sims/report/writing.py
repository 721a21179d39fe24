"""Write the page beside what it is of."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import GauntletError, ResultsError, legible, said
from ...core.locks import FolderLock
from ..results import write_file

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
    with legible(f"{', '.join(map(str, folders))} cannot be shown"):
        content = page(read(folders, apart=not beside))
    write_file(path, content.encode("utf-8", errors="replace"), named=False)
    return path


def keep_report(folder: Path, progress: "Progress") -> None:
    """Write the page of a folder that has just been finished; where that fails, one line says so."""
    try:
        write_report([folder])
    except (GauntletError, OSError, MemoryError) as error:
        progress.note(f"warning: {folder / NAME} was not written: {said(error)}")


def complete_report(folder: Path, progress: "Progress") -> None:
    """Write the page of a finished run whose process died before it did, and drop what was half written.

    A run that another process owns, or a folder that cannot be written to, is left as it is.
    """
    page = folder / NAME
    part = page.with_suffix(".part")
    if page.exists() and not part.exists():
        return
    with suppress(ResultsError, OSError), FolderLock(folder):
        part.unlink(missing_ok=True)
        if not page.exists():
            keep_report(folder, progress)
