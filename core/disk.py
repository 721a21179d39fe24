"""Files that outlive a kill and a power cut: whole or not at all, and on the disk when a function returns.

A file system promises this much (POSIX, ``fsync`` and ``rename``): content is on the disk once its file was
synced, a name once its folder was, and a rename is seen whole or not at all. What was not synced may be lost
in any part and in any order. Whatever a run stands on is written by these functions and by no others.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

Content = bytes | memoryview
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe without a writer is no wait
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)  # of a folder, on file systems that sync names with their files


def read_plain(path: Path, most: int | None = None) -> bytes:
    """Return a file's content; a pipe that nobody fills and a device that never ends are refused.

    Args:
        path: The file, or a link to it.
        most: The most bytes that it may hold; by default any number.

    Raises:
        OSError: It cannot be read, it is no file, or it holds more.
    """
    file = os.open(path, os.O_RDONLY | _AT_ONCE)
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", str(path))
        content = opened.read() if most is None else opened.read(most + 1)
    if most is not None and len(content) > most:
        raise OSError(errno.EFBIG, f"it holds more than {most} bytes", str(path))
    return content


def write_whole(path: Path, *content: Content, named: bool = True) -> None:
    """Write a file that is there whole, or as it was before; what was half written is removed.

    Args:
        path: The file.
        content: Its parts.
        named: Whether its name is on the disk, too, at the end; else ``sync_folder`` has to follow.

    Raises:
        OSError: The disk is full or not writable.
    """
    part = path.with_suffix(".part")
    try:
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            _write(file, 0, content)
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            os.unlink(part)
        raise
    if named:
        sync_folder(path.parent)


def write_folder(folder: Path, files: Mapping[str, Content]) -> None:
    """Write a folder of files that is there whole or not at all; one of the same name goes first.

    Raises:
        OSError: The disk is full or not writable; what was half written is removed.
    """
    part = folder.with_name(f"{folder.name}.part")
    make_folder(folder.parent)
    for old in (part, folder):
        if old.exists():
            shutil.rmtree(old)
    try:
        os.mkdir(part)
        for name, content in files.items():
            append(part / name, 0, content)
        os.rename(part, folder)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def append(path: Path, size: int, *content: Content, synced: bool = True) -> None:
    """Write behind the first ``size`` bytes of a file, and drop what lay there.

    What was half written is removed.

    Args:
        path: The file; with ``size`` 0 it is made if need be.
        size: What is to stay.
        content: What comes behind it.
        synced: Whether it is on the disk at the end.

    Raises:
        OSError: The disk is full or not writable, or the file is shorter than ``size``.
    """
    made = not path.exists()
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        there = os.fstat(file).st_size
        if there < size:
            raise OSError(errno.EIO, f"it holds {there} of {size} bytes that were written")
        try:
            if there > size:
                os.ftruncate(file, size)
            _write(file, size, content)
            if synced:
                os.fsync(file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, size)
            raise
    finally:
        os.close(file)
    if made and synced:
        sync_folder(path.parent)


def _write(file: int, at: int, content: Iterable[Content]) -> None:
    for one in content:
        rest = memoryview(one).cast("B")
        while len(rest):
            written = os.pwrite(file, rest, at)
            rest, at = rest[written:], at + written


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        OSError: The disk is full or not writable, or something else has that name.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        os.mkdir(folder)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk: what was made, renamed or removed there.

    Raises:
        OSError: The disk failed.
    """
    try:
        opened = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # one may write there and not look; nothing can be synced
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(opened)
