"""A server state on disk: one safetensors file, written whole or not at all; nothing is ever unpickled."""

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.errors import CheckpointError
from ..core.trees import pack, unpack
from .state import ServerState

SCHEMA = 1
_KEPT = 2


def save_checkpoint(folder: Path, state: ServerState, run: str) -> Path:
    """Write ``state`` into ``folder`` atomically, and drop all but the newest two.

    Args:
        folder: The run's ``checkpoints`` folder; made if need be.
        state: What to save.
        run: The hash of the run's scenario: another run's checkpoint is refused at loading.

    Raises:
        CheckpointError: The disk is full or not writable, or a plug-in's state is not a tree.
    """
    from safetensors.torch import save

    try:
        skeleton, tensors = pack({f.name: getattr(state, f.name) for f in fields(state)})
    except TypeError as error:
        raise CheckpointError(f"round {state.round} cannot be saved: {error}") from error
    head = {"schema": SCHEMA, "run": run, "state": skeleton, "checksum": _checksum(tensors)}
    path = folder / f"round-{state.round:06d}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, save(tensors, metadata={"gauntlet": json.dumps(head)}))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror}") from error
    for old in _checkpoints(folder)[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def _write(path: Path, content: bytes) -> None:
    """Write a file that is there whole, or not at all, even if the power goes."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("round-*.safetensors"))


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].contiguous().flatten().numpy().tobytes(), total)
    return total


def load_checkpoint(folder: Path, run: str) -> ServerState | None:
    """Return the newest state in ``folder``, or None where there is none yet.

    Raises:
        CheckpointError: The file is damaged, of another version, or of another run.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    head, tensors = _read(found[-1])
    if head.get("run") != run:
        raise CheckpointError(f"{found[-1]} belongs to another run ({head.get('run')}, expected {run})")
    try:
        values = unpack(head["state"], tensors)
        return ServerState(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{found[-1]} is damaged: {error}") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    hint = "; delete it to resume from the one before"
    try:
        with safe_open(path, "pt") as file:
            head = json.loads((file.metadata() or {}).get("gauntlet", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {str(error).splitlines()[0]}{hint}") from error
    if not isinstance(head, dict) or head.get("schema") != SCHEMA:
        raise CheckpointError(f"{path} is not a checkpoint of this version (schema {SCHEMA}){hint}")
    if head.get("checksum") != _checksum(tensors):
        raise CheckpointError(f"{path} is damaged: its checksum does not fit{hint}")
    return head, tensors
