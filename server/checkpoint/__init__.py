"""A server state on disk: one safetensors file, written whole or not at all; nothing is ever unpickled.

The file's head is JSON: schema, run, state and what is saved beside it, and before them the blake2b digest
of the whole file, computed with zeros in the digest's own place. What clients remember lies in files of its
own (``memory_files``), which the head names. Schema 1 had a checksum of the tensors alone and nothing beside
the state; such files are still read.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.disk import make_folder, sync_folder, write_whole
from ...core.errors import CheckpointError, GauntletError, said
from ...core.trees import State, pack, require_tree, unpack
from ..mail.mailbox_trees import mailbox_of, tree_of
from ..state import ServerState
from .memory_files import Listed, drop_files, load_rows, save_rows

SCHEMA = 2
MEMORY = ("clients", "counted")  # fields of the state that lie in files of their own
LATER = (
    "log",
    "schedule",
    "server",
    "attacked",
    "mailbox",
    "down",
)  # fields that are left out where there is nothing in them
_KEPT = 2
_BLANK = b"0" * 64
_BEFORE = b'{\\"digest\\": \\"'  # how the head begins: JSON within the JSON of safetensors


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read.

    Attributes:
        path: Its file.
        state: The server's.
        beside: What was saved with it; None in schema 1.
    """

    path: Path
    state: ServerState
    beside: State


def save_checkpoint(folder: Path, state: ServerState, run: str, beside: State = None) -> Path:
    """Write ``state`` into ``folder``; once it is on the disk, drop all but it and the one before.

    Args:
        folder: The run's ``checkpoints`` folder; made if need be.
        state: What to save.
        run: The hash of the run's scenario: another run's checkpoint is refused at loading.
        beside: What else the round stands on; a tree, handed back with the state.

    Raises:
        CheckpointError: The disk is full or not writable, or a plug-in's state is not a tree.
    """
    path = folder / f"round-{state.round:06d}.safetensors"
    try:
        make_folder(folder)
        listed = save_rows(folder, state, _before(path, run)) if state.clients else []
        content = _packed(state, run, beside, listed)
        at = _place(content)
        digest, view = blake2b(content, digest_size=32).hexdigest().encode(), memoryview(content)
        write_whole(path, view[:at], digest, view[at + len(digest) :])
        found = checkpoints(folder)
        for newer in found[found.index(path) + 1 :]:
            newer.unlink(missing_ok=True)
        drop_older(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror}") from error
    return path


def drop_older(path: Path) -> None:
    """Delete the checkpoints that came before one, but the last of them."""
    found = checkpoints(path.parent)
    for old in found[: max(0, found.index(path) + 1 - _KEPT)]:
        old.unlink(missing_ok=True)
    drop_files(path.parent, [file for kept in checkpoints(path.parent) for file in _head(kept)["clients"]])
    sync_folder(path.parent)


def _before(path: Path, run: str) -> tuple[int, Listed] | None:
    """Return the round of the checkpoint before one, and the files of rows that it counts on; None: none."""
    for old in reversed([found for found in checkpoints(path.parent) if found.name < path.name]):
        head = _head(old)
        if head["run"] == run and all((path.parent / str(name)).is_file() for name, *_ in head["clients"]):
            return int(old.stem.removeprefix("round-")), head["clients"]
    return None


def _head(path: Path) -> dict[str, Any]:
    """Return the run and the files of rows that a checkpoint names, unchecked; nothing where it is broken."""
    try:
        with path.open("rb") as file:
            text = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        head = json.loads(text["__metadata__"]["gauntlet"])
        return {
            "run": head["run"],
            "clients": [[str(n), str(d), int(k)] for n, d, k in head.get("clients", ())],
        }
    except (OSError, ValueError, LookupError, TypeError, OverflowError, MemoryError):
        return {"run": None, "clients": []}


def _packed(state: ServerState, run: str, beside: State, listed: Listed) -> bytes:
    """Return a checkpoint's file with zeros for its digest."""
    from safetensors.torch import save

    values = {f.name: getattr(state, f.name) for f in fields(state) if f.name not in MEMORY}
    values = {name: value for name, value in values.items() if name not in LATER or value is not None}
    if state.mailbox is not None:
        values["mailbox"] = tree_of(state.mailbox)
    try:
        (own, tensors), (other, more) = pack(values), pack(beside, "b")
    except TypeError as error:
        words = _named(values) or str(error)
        raise CheckpointError(f"round {state.round} cannot be saved: {words}") from error
    head = {"digest": _BLANK.decode(), "schema": SCHEMA, "run": run, "state": own, "beside": other}
    head |= {"clients": listed} if listed else {}
    try:
        return save(tensors | more, metadata={"gauntlet": json.dumps(head)})
    except (ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"round {state.round} cannot be saved: {said(error)}") from error


def _named(values: Mapping[str, State]) -> str:
    """Return what is wrong with a state that cannot be packed, under the name of its field."""
    for name, value in values.items():
        try:
            require_tree(value, name)
        except TypeError as error:
            return str(error)
    return ""


def _place(content: bytes) -> int:
    """Return where a file's digest begins; -1 where it has none."""
    end = 8 + int.from_bytes(content[:8], "little")
    found = content.find(_BEFORE, 0, min(end, len(content)))
    return found if found < 0 else found + len(_BEFORE)


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the oldest first."""
    return sorted(folder.glob("round-*.safetensors"))


def load_checkpoint(folder: Path, run: str) -> ServerState | None:
    """Return the newest state in ``folder`` that is whole, or None where there is none yet.

    Raises:
        CheckpointError: All files are damaged, of another version, or of another run.
    """
    found, _ = load_newest(folder, run, lambda _: None)
    return None if found is None else found.state


def load_newest(
    folder: Path, run: str, accept: Callable[[Checkpoint], None]
) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that is whole and accepted, and why newer ones were not taken.

    Args:
        folder: The run's ``checkpoints`` folder.
        run: The hash of the run's scenario.
        accept: Raises ``GauntletError`` where something that the checkpoint stands on is not there.

    Raises:
        GauntletError: There are checkpoints, and none can be taken; it says why the newest cannot.
    """
    refused: list[GauntletError] = []
    for path in reversed(checkpoints(folder)):
        try:
            found = read_checkpoint(path, run)
            accept(found)
        except GauntletError as error:
            refused.append(error)
        else:
            return found, [str(error) for error in refused]
    if refused:
        others = "no checkpoint before it can be taken either" if refused[1:] else "it is the only checkpoint"
        raise type(refused[0])(f"{refused[0]}; {others}; delete {folder} to run it again from round 0")
    return None, []


def read_checkpoint(path: Path, run: str) -> Checkpoint:
    """Return a checkpoint.

    Raises:
        CheckpointError: The file is damaged, of another version, or of another run.
    """
    head, tensors = _read(path)
    if head.get("run") != run:
        raise CheckpointError(f"{path} belongs to another run ({head.get('run')}, expected {run})")
    try:
        state = ServerState(**unpack(head["state"], tensors))
        if listed := head.get("clients"):
            clients, counted = load_rows(path.parent, listed)
            state = replace(state, clients=clients, counted=counted)
        _check_state(state)
        if state.mailbox is not None:
            box = mailbox_of(state.mailbox, state.round, len(state.params))
            state = replace(state, mailbox=box)
        return Checkpoint(path, state, unpack(head.get("beside"), tensors))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def _check_state(state: ServerState) -> None:
    """Raise ``ValueError`` unless the fields that every run has are of their types."""
    for name in ("round", "bytes_up", "bytes_down"):
        value = getattr(state, name)
        if type(value) is not int or value < 0:
            raise ValueError(f"{name} is {value!r:.40}, expected a whole number from 0")
    for name in ("params", "buffers"):
        value = getattr(state, name)
        if not isinstance(value, Tensor) or value.dtype != torch.float32 or value.dim() != 1:
            raise ValueError(f"{name} is no vector of float32")
    attacked = state.attacked
    if attacked is not None and not (
        isinstance(attacked, tuple) and all(type(client) is int for client in attacked)
    ):
        raise ValueError("attacked is no tuple of client ids")
    if type(state.clock) is not float:
        raise ValueError(f"clock is {state.clock!r:.40}, expected a number")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return (a checkpoint's head, its tensors), after a look at its digest."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
        tensors = load(content)
        text = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        head = json.loads(text.get("__metadata__", {}).get("gauntlet", "null"))
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path} cannot be read: {first}") from error
    if not isinstance(head, dict) or head.get("schema") not in (1, SCHEMA):
        raise CheckpointError(f"{path} is not a checkpoint of this version (schema {SCHEMA})")
    fits = _is_whole(content) if head["schema"] == SCHEMA else head.get("checksum") == _checksum(tensors)
    if not fits:
        raise CheckpointError(f"{path} is damaged: its checksum does not fit")
    return head, tensors


def _is_whole(content: bytes) -> bool:
    at = _place(content)
    if at < 0:
        return False
    view, end = memoryview(content), at + len(_BLANK)
    digest = blake2b(digest_size=32)
    for part in (view[:at], _BLANK, view[end:]):
        digest.update(part)
    return bytes(view[at:end]) == digest.hexdigest().encode()


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    """Return what schema 1 has for one: a CRC of the tensors alone."""
    total = 0
    for name in sorted(tensors):
        flat = tensors[name].contiguous().flatten()
        total = zlib.crc32(flat.view(torch.uint8).numpy().tobytes(), total)
    return total
