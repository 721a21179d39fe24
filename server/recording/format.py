"""How a recording lies on the disk: its files, and what it says beside its bytes, in any schema."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ...core.errors import DataError, said

SCHEMA = 3
BROADCAST, TRUTH, RELEASES = "broadcast.safetensors", "truth.safetensors", "releases.safetensors"
MASKS, RECORDS = "masks.safetensors", "records.safetensors"
OF_RECORDS = ("candidates", "auxiliary")
"""Items of knowledge that are records, in a file of their own."""
_NOTHING: Mapping[str, Any] = {"d": []}  # an empty table, packed
UNREADABLE = (OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError)


def public_of(place: Path) -> dict[str, Any]:
    """Return what an observation says beside its bytes, as this version has it.

    Schema 1 was shared by all probes of a client, and schema 2 had no recipe, no kinds and no releases.

    Raises:
        ValueError: A schema that is not read here.
    """
    public: dict[str, Any] = json.loads((place / "observation.json").read_text(encoding="utf-8"))
    if public["schema"] not in (1, 2, SCHEMA):
        raise ValueError(
            f"schema {public['schema']}, expected 1 to {SCHEMA}; the version that wrote it reads it"
        )
    if public["schema"] == SCHEMA:
        return public
    recipe = {"model": public["model"], "inputs": public["inputs"], "tensors": None}
    groups = public.get("message", {"groups": [], "scales": {}})
    later = {
        "context": {"public_seed": 0, "shared": None},
        **dict.fromkeys(("received", "planted", "releases"), _NOTHING),
    }
    message = {"kind": "update", "contributors": 1, **groups}
    return {"probe": {}, **later, **public, "schema": SCHEMA, "recipe": recipe, "message": message}


def probe_of(place: Path) -> dict[str, Any]:
    """Return whose recording this is, as plain values; nothing of one that several probes shared (schema 1).

    Raises:
        DataError: The recording cannot be read.
    """
    try:
        return dict(public_of(place)["probe"])
    except UNREADABLE as error:
        raise unreadable(place, error) from error


def sealed(files: Mapping[str, bytes], public: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of a recording with what it says, in which their digests stand."""
    digests = {name: _digest(content) for name, content in files.items()}
    return {"observation.json": json.dumps({**public, "digests": digests}, indent=1).encode(), **files}


def content_of(place: Path, name: str) -> bytes:
    """Return a file of a recording as it was written; recordings without digests are taken as they are.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not what was written.
    """
    content = (place / name).read_bytes()
    public = json.loads((place / "observation.json").read_text(encoding="utf-8"))
    if dict(public.get("digests", {})).get(name, _digest(content)) != _digest(content):
        raise ValueError(f"{name} is not what the run wrote")
    return content


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=32).hexdigest()


def unreadable(place: Path, error: Exception) -> DataError:
    return DataError(f"{place} is not a readable observation: {said(error)}")
