"""What clients remember, beside the checkpoints: files of rows, each written once and never again.

A checkpoint names the files that it counts on, the oldest first, with the digest of each: a later row of a
client takes the place of an earlier one. It writes one more, of the rows that changed since the checkpoint
before it; or, where the files would hold more than twice as many rows as there are clients, one of all rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...core.disk import write_whole
from ...core.errors import CheckpointError

if TYPE_CHECKING:
    from ...core.client_rows import ClientRows
    from ..state import ServerState

Listed = list[list[Any]]
"""The name, the digest and the number of rows of each file, as a checkpoint's head holds them."""

_MOST = 32  # files
_NAME = re.compile(r"clients-\d{6,}\.safetensors")


def save_rows(folder: Path, state: ServerState, before: tuple[int, Listed] | None) -> Listed:
    """Write the rows that changed, and return the files that a checkpoint of ``state`` counts on.

    Args:
        folder: The run's ``checkpoints`` folder.
        state: What is saved.
        before: The round of the checkpoint before, and the files that it counts on; None where there is none.

    Raises:
        OSError: The disk is full or not writable.
    """
    from safetensors.torch import save

    since, listed = before or (0, [])
    ids = [client for client in state.clients if state.counted[client] >= since]
    rows = sum(count for _, _, count in listed) + len(ids)
    if rows > 2 * len(state.clients) or len(listed) >= _MOST or before is None:
        ids, listed = list(state.clients), []
    if not ids:
        return listed
    content = save(
        {
            "ids": torch.tensor(ids, dtype=torch.int64),
            "counted": torch.tensor([state.counted[client] for client in ids], dtype=torch.int64),
            "rows": torch.stack([state.clients[client] for client in ids]),
        }
    )
    name = f"clients-{state.round:06d}.safetensors"
    write_whole(folder / name, content)
    return [*listed, [name, _digest(content), len(ids)]]


def load_rows(folder: Path, listed: Listed) -> tuple[ClientRows, dict[int, int]]:
    """Return what clients remember, and the round in which each was last counted.

    Raises:
        CheckpointError: A file is not there, is not the one that was written, or is none of rows.
    """
    rows: dict[int, Tensor] = {}
    counted: dict[int, int] = {}
    for name, digest, _ in listed:
        if not (isinstance(name, str) and _NAME.fullmatch(name)):  # or it could name any file, or a device
            raise CheckpointError(
                f"{folder}: {name!r:.60} is no file of rows, expected clients-NNNNNN.safetensors"
            )
        found = _read(folder / name, str(digest))
        _check(folder / name, found)
        ids = found["ids"].tolist()
        rows |= {client: row.clone() for client, row in zip(ids, found["rows"], strict=True)}
        counted |= dict(zip(ids, found["counted"].tolist(), strict=True))
    return rows, counted


def _check(path: Path, found: dict[str, Tensor]) -> None:
    """Raise ``CheckpointError`` unless a file holds ids, a round for each of them, and a row for each."""
    kinds = {"ids": (torch.int64, 1), "counted": (torch.int64, 1), "rows": (torch.float32, 2)}
    fits = found.keys() == kinds.keys() and all(
        (found[name].dtype, found[name].ndim) == kind for name, kind in kinds.items()
    )
    if not fits or len({len(tensor) for tensor in found.values()}) != 1 or bool((found["ids"] < 0).any()):
        raise CheckpointError(f"{path} is damaged: it does not hold one row and one round a client")


def drop_files(folder: Path, kept: Iterable[Sequence[Any]]) -> None:
    """Delete the files of rows that none of those ``kept`` is.

    Raises:
        OSError: One cannot be deleted.
    """
    names = {str(name) for name, *_ in kept}
    for path in folder.glob("clients-*.safetensors"):
        if path.name not in names:
            path.unlink(missing_ok=True)


def _read(path: Path, digest: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
        if _digest(content) != digest:
            raise CheckpointError(f"{path} is damaged: its digest does not fit")
        return load(content)
    except (OSError, SafetensorError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path} cannot be read: {first}") from error


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=32).hexdigest()
