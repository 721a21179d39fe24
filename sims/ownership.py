"""Which result folders are the user's own: their manifests are signed with a key that only the user has.

The key is 32 random bytes in ``key`` of the user's configuration folder (``gauntlet`` under
``XDG_CONFIG_HOME``, or under ``~/.config``), made when it is first needed and readable by the user alone.
What is signed is all of a manifest that decides which code runs and where: a copy of a folder counts as the
user's own wherever it lies, and one whose plug-ins were changed does not.
"""

import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..core.errors import ResultsError
from .results import read_json
from .sections import Runtime

SIGNED = ("scenario", "code", "changes", "runs")  # keys of a manifest or a sweep's list
_SIZE = 32  # bytes


def signature(document: Mapping[str, Any]) -> str | None:
    """Return the signature of a manifest or a sweep's list; None where the user can keep no key."""
    key = _key(make=True)
    return None if key is None else _signed(key, document)


def is_own(document: Mapping[str, Any]) -> bool:
    """Return whether this user signed a manifest or a sweep's list as it stands."""
    said, key = document.get("signature"), _key(make=False)
    return isinstance(said, str) and key is not None and hmac.compare_digest(said, _signed(key, document))


def _signed(key: bytes, document: Mapping[str, Any]) -> str:
    content = {name: document[name] for name in SIGNED if document.get(name)}
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hmac.new(key, b"gauntlet results 1\n" + text.encode(), sha256).hexdigest()


def key_path() -> Path:
    """Return where the user's key lies."""
    root = os.environ.get("XDG_CONFIG_HOME")
    return (Path(root) if root else Path.home() / ".config") / "gauntlet" / "key"


def _key(make: bool) -> bytes | None:
    """Return the user's key, made if need be; None where there is none that only the user can read."""
    try:
        path = key_path()
        if make and not path.exists():
            _make(path)
        with path.open("rb") as file:
            status, key = os.fstat(file.fileno()), file.read()
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        return None
    shut = not hasattr(os, "getuid") or (
        status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077
    )
    return key if shut and len(key) == _SIZE else None


def _make(path: Path) -> None:
    """Write a new key; of several processes that do, the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f"key.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_SIZE))
        os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink()


def distrusted(folder: Path, document: Mapping[str, Any], allow_code: bool) -> str | None:
    """Return why nothing from outside the package may be loaded that a folder names; None where it may.

    Raises:
        ResultsError: The folder holds a symbolic link, whoever it is of: the signature does not cover that.
    """
    refuse_links(folder)
    if allow_code or is_own(document):
        return None
    return (
        f"{folder} is not signed by this user on this machine: look at what it names, then say --allow-code"
    )


def refuse_cluster(stored: Runtime, wanted: Runtime, why: str | None) -> None:
    """Refuse to join the Ray cluster that a folder of others names: what it answers is unpickled here.

    Raises:
        ResultsError: It would be joined, and ``why`` says that the folder is of others.
    """
    address = wanted.ray_address
    if why is not None and wanted.pool == "ray" and address and address == stored.ray_address:
        raise ResultsError(f"the Ray cluster at {address} would be joined, and {why}, or --pool serial")


def refuse_links(folder: Path) -> None:
    """Refuse a folder in which a link could send what is written there somewhere else.

    Raises:
        ResultsError: It holds a symbolic link, or something that is no file.
    """
    for place, folders, files in os.walk(folder):
        for path in (Path(place) / name for name in (*folders, *files)):
            if not _is_plain(path):
                raise ResultsError(
                    f"{path} is a link or no plain file, through which nothing is written; take it away"
                )


def _is_plain(path: Path) -> bool:
    """Return whether a path is a file or a folder, or gone: its owner may be renaming it at this moment."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return True
    return stat.S_ISREG(kind) or stat.S_ISDIR(kind)


def refuse_drawing(folder: Path) -> None:
    """Refuse to write into a folder that holds links.

    Raises:
        ResultsError: It does, or its manifest cannot be read.
    """
    for name in ("manifest.json", "sweep.json"):
        if (folder / name).is_file():
            distrusted(folder, read_json(folder / name, {}), allow_code=False)
