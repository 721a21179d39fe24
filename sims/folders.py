"""Result folders: which are free, who owns one, and how a new one is taken."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..core.disk import make_folder
from ..core.errors import ResultsError
from ..core.locks import NAME as LOCK
from ..core.locks import FolderLock
from .results import read_manifest

RESERVE = ".reserve"  # space that a full disk gives back, so that the manifest can say why a run stopped
_BEGUN = {LOCK, RESERVE, "manifest.part", "matrix.part", "sweep.part", "matrix.json"}
"""What lies in a folder whose owner died before the manifest, or a sweep's list, was there."""


def check_free(folder: Path) -> None:
    """Check that a folder can take new results: it is empty, or not there.

    Raises:
        ResultsError: It holds something; the message says what, and whether that can be resumed.
    """
    if _is_free(folder):
        return
    held = _held(folder)
    others = ", resume it, or delete it with overwrite" if held else ""
    raise ResultsError(
        f"{folder} already holds {held or 'other files'}; choose another folder with out{others}"
    )


def _is_free(folder: Path) -> bool:
    if not folder.is_dir():
        return not folder.exists()
    return all(path.name in _BEGUN for path in folder.iterdir())


def _held(folder: Path) -> str | None:
    if (folder / "sweep.json").is_file():
        return "the runs of a sweep"
    try:
        manifest = read_manifest(folder)
    except ResultsError:
        return None
    return f"the {manifest['status']} run '{manifest['scenario']['name']}' (seed {manifest['seed']})"


def fresh_folder(root: Path, name: str) -> Path:
    """Make ``root/name``, or ``root/name-2`` and so on where that is taken; nobody else gets it.

    Raises:
        ResultsError: It cannot be made.
    """
    folder, number = root / name, 1
    while True:
        try:
            make_folder(root)
            os.mkdir(folder)
        except FileExistsError:
            number += 1
            folder = root / f"{name}-{number}"
        except OSError as error:
            raise ResultsError(f"{folder} cannot be made: {error.strerror}") from error
        else:
            return folder


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Own a folder for new results: made if need be, and empty. It goes again if nothing was begun in it.

    Raises:
        ResultsError: It cannot be made, holds something, or another process owns it.
    """
    try:
        make_folder(folder)
    except OSError as error:
        raise ResultsError(f"{folder} cannot be made: {error.strerror}") from error
    with FolderLock(folder):
        check_free(folder)
        try:
            yield
        finally:
            if _is_free(folder):
                _clear(folder)


def _clear(folder: Path) -> None:
    """Remove a folder in which nothing was begun."""
    with suppress(OSError):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def remove(folder: Path) -> None:
    """Delete what a result folder holds, a run, a sweep or nothing, for ``overwrite``.

    Raises:
        ResultsError: The folder holds something else, or another process owns it: nothing is deleted.
    """
    if _is_free(folder):
        return
    if not ((folder / "manifest.json").is_file() or (folder / "sweep.json").is_file()):
        raise ResultsError(f"{folder} holds no run; --overwrite deletes only results")
    with FolderLock(folder):
        # Last what makes it a result folder, so that a second attempt finishes a first that was killed.
        held = sorted(folder.iterdir(), key=lambda path: path.name in ("manifest.json", "sweep.json"))
        for path in held:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
