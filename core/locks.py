"""One owner a folder: a lock that the operating system gives back when its process dies, however it dies."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from .errors import ResultsError

NAME = ".lock"
_PAUSE = 0.1  # seconds between two attempts
_RECORD = 32  # bytes that name the owner, in one write: nobody reads half of them
_NAMING = 1.0  # seconds within which an owner has written its name


class FolderLock:
    """Own a folder until ``release``, or until this process ends.

    The lock is ``flock`` on the file ``.lock``, which stays. Where a file system knows no locks, everybody
    owns everything.
    """

    def __init__(self, folder: Path, patience: float = 0.0) -> None:
        """Take the lock, after waiting up to ``patience`` seconds for another owner to end.

        Raises:
            ResultsError: Another process owns the folder, or no file can be made in it.
        """
        self._file: int | None = None
        try:
            file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise ResultsError(f"{folder / NAME} cannot be written: {error.strerror}") from error
        if not _locked(file, monotonic() + patience):
            owner = _owner(file)
            os.close(file)
            raise ResultsError(f"{folder} is in use by another process{owner and f' ({owner})'}")
        self._file = file
        if not os.path.samestat(os.fstat(file), _stat(folder / NAME)):
            raise ResultsError(f"{folder} was deleted by another process")
        with suppress(OSError):  # a full disk is no reason not to own
            os.pwrite(file, f"process {os.getpid()}".ljust(_RECORD).encode(), 0)

    def release(self) -> None:
        """Give the folder back; more than once does nothing."""
        if self._file is not None:
            with suppress(OSError):  # somebody's code closed all files of the process, and the lock with them
                os.close(self._file)
            self._file = None

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


def _owner(file: int) -> str:
    """Return who holds a lock; an owner that has only just taken it writes its name at once."""
    until = monotonic() + _NAMING
    while not (name := os.pread(file, _RECORD, 0).decode(errors="replace").strip()) and monotonic() < until:
        sleep(_PAUSE / 10)
    return name


def _stat(path: Path) -> os.stat_result:
    """Return what a path names now, or what nothing is like."""
    return path.stat() if path.exists() else os.stat(os.curdir)


def _locked(file: int, until: float) -> bool:
    import fcntl

    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= until:
                return False
            sleep(_PAUSE)
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                return True
            raise
        else:
            return True
