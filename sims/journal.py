"""The tables of a run while it goes on: one file to which each round's rows are appended.

The file is a chain of frames. A frame holds the columns of one table, or the rows that one round adds to one
(Arrow's IPC messages):

| bytes | content |
|---|---|
| 16 | the table's name, ASCII, filled up with zeros |
| 1 | ``c`` columns, ``r`` rows |
| 8 | length of the payload, little-endian |
| 4 | CRC-32 of the 25 bytes before |
| 32 | blake2b of the digest of the frame before (zeros in the first), these 29 bytes and the payload |
| ... | the payload |

So the last digest stands for all that lies before it, and the bytes do not depend on when they were written.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zlib import crc32

import pyarrow as pa

from ..core.disk import append
from ..core.errors import ResultsError, legible, said

_HEAD = struct.Struct("<16scQ")
_CRC = struct.Struct("<I")
_DIGEST = 32
_FRONT = _HEAD.size + _CRC.size  # bytes of a frame before its digest


@dataclass(frozen=True)
class Mark:
    """A place in a journal, and all that lies before it.

    Attributes:
        size: Bytes before it.
        digest: The digest of the last frame before it.
    """

    size: int = 0
    digest: bytes = bytes(_DIGEST)

    @property
    def stored(self) -> dict[str, Any]:
        """The mark as plain values, as a checkpoint holds it."""
        return {"bytes": self.size, "digest": self.digest.hex()}

    @classmethod
    def read(cls, stored: Any) -> "Mark":
        """Return the mark that ``stored`` gave.

        Raises:
            ValueError: It is none.
        """
        match stored:
            case {"bytes": int(size), "digest": str(digest)} if size >= 0:
                return cls(size, bytes.fromhex(digest))
        raise ValueError(f"{stored!r:.60} is no mark of a journal")


@dataclass(frozen=True)
class Frame:
    """One frame of a journal, and the mark behind it."""

    table: str
    kind: bytes
    payload: bytes
    mark: Mark


class Journal:
    """Append rows to a journal; what is on the disk up to a mark never changes."""

    def __init__(
        self,
        path: Path,
        schemas: Mapping[str, pa.Schema],
        mark: Mark | None = None,
        optional: Mapping[str, pa.Schema] = MappingProxyType({}),
    ) -> None:
        """Begin a journal, or go on with one behind ``mark``; what lies behind that is dropped.

        Args:
            path: Its file.
            schemas: The columns of every table, by name.
            mark: Where to go on.
            optional: The columns of tables that are there only once they have a row.

        Raises:
            ResultsError: What lies before the mark is not what was written.
        """
        self.path, self._mark = path, mark or Mark()
        self._schemas, self._pending = schemas, list[bytes | memoryview]()
        self.end = self._mark  # behind all that was added
        said = {} if mark is None else columns(path, mark)
        self._unsaid = {n: s for n, s in optional.items() if n not in said or not said[n].equals(s)}
        for name, schema in schemas.items():
            if name not in said or not said[name].equals(schema):
                self._append(name, b"c", schema.serialize())

    def add(self, table: str, rows: pa.Table) -> None:
        """Take rows of one round; they reach the disk with the next ``flush``."""
        if rows.num_rows and table in self._unsaid:
            self._append(table, b"c", self._unsaid.pop(table).serialize())
        for batch in rows.combine_chunks().to_batches() if rows.num_rows else ():
            self._append(table, b"r", batch.serialize())

    def _append(self, table: str, kind: bytes, payload: pa.Buffer) -> None:
        head = _HEAD.pack(table.encode().ljust(16, b"\0"), kind, len(payload))
        front = head + _CRC.pack(crc32(head))
        digest = _chained(self.end.digest, front, payload)
        self._pending += [front, digest, memoryview(payload)]
        self.end = Mark(self.end.size + len(front) + len(digest) + len(payload), digest)

    def flush(self, synced: bool = True) -> Mark:
        """Write what was added, by default onto the disk, and return the mark behind it.

        Raises:
            ResultsError: The disk is full or not writable; the rows are kept for another attempt.
        """
        if not self._pending:
            return self._mark
        try:
            append(self.path, self._mark.size, *self._pending, synced=synced)
        except OSError as error:
            raise ResultsError(f"{self.path} cannot be written: {error.strerror}") from error
        self._mark, self._pending = self.end, []
        return self._mark


def _chained(before: bytes, front: bytes, payload: Any) -> bytes:
    digest = blake2b(before, digest_size=_DIGEST)
    digest.update(front)
    digest.update(payload)
    return digest.digest()


def frames(path: Path, size: int | None = None) -> Iterator[Frame]:
    """Yield the frames in the first ``size`` bytes (all by default), up to one that is cut off.

    Raises:
        ResultsError: The file cannot be read, or a frame is not what was written.
    """
    try:
        with path.open("rb") as file:
            there = os.fstat(file.fileno()).st_size
            mark, end = Mark(), there if size is None else min(size, there)
            while mark.size + _FRONT + _DIGEST <= end:
                front, digest = file.read(_FRONT), file.read(_DIGEST)
                name, kind, length = _HEAD.unpack_from(front)
                whole = _CRC.unpack_from(front, _HEAD.size) == (crc32(front[: _HEAD.size]),)
                if whole and mark.size + _FRONT + _DIGEST + length > end:
                    return
                payload = file.read(length) if whole else b""
                if not whole or _chained(mark.digest, front, payload) != digest:
                    raise ResultsError(f"{path} is damaged at byte {mark.size} of {there}")
                mark = Mark(mark.size + _FRONT + _DIGEST + length, digest)
                yield Frame(name.rstrip(b"\0").decode(errors="replace"), kind, payload, mark)
    except OSError as error:
        raise ResultsError(f"{path} cannot be read: {error.strerror}") from error


def columns(path: Path, mark: Mark) -> dict[str, pa.Schema]:
    """Return the tables' columns as a journal last names them, after a look at all before ``mark``.

    Raises:
        ResultsError: What lies there is not what was written.
    """
    found, last = dict[str, pa.Schema](), Mark()
    if mark.size:
        for frame in frames(path, mark.size):
            last = frame.mark
            if frame.kind == b"c":
                with _arrows(path):
                    found[frame.table] = pa.ipc.read_schema(pa.py_buffer(frame.payload))
    if last.size < mark.size:
        raise ResultsError(f"{path} is cut off after {last.size} of {mark.size} bytes")
    if last != mark:
        raise ResultsError(f"{path} holds other rows than those that were written")
    return found


def read_tables(path: Path, size: int | None = None) -> dict[str, pa.Table]:
    """Return the tables in the first ``size`` bytes of a journal (all by default).

    Raises:
        ResultsError: The file cannot be read, or a frame is not what was written.
    """
    schemas, rows = dict[str, pa.Schema](), dict[str, list[pa.Table]]()
    with _arrows(path):
        for frame in frames(path, size):
            if frame.kind == b"c":
                schemas[frame.table] = pa.ipc.read_schema(pa.py_buffer(frame.payload))
                rows.setdefault(frame.table, []).append(schemas[frame.table].empty_table())
            else:
                rows[frame.table].append(_rows(frame.payload, schemas[frame.table]))
        return {name: _joined(parts, schemas[name]) for name, parts in rows.items()}


def _rows(payload: bytes, schema: pa.Schema) -> pa.Table:
    """Return a frame's rows, after a look at all of them: Arrow believes the lengths that it reads.

    Raises:
        ValueError: They reach beyond the payload, or are more than it has bits.
    """
    batch = pa.ipc.read_record_batch(pa.py_buffer(payload), schema)
    if batch.num_rows > 8 * len(payload):
        raise ValueError(f"{batch.num_rows} rows in {len(payload)} bytes")
    batch.validate(full=True)
    return pa.Table.from_batches([batch])


@contextmanager
def _arrows(path: Path) -> Iterator[None]:
    """Turn what Arrow says of bytes that it did not write into a ``ResultsError``."""
    try:
        with legible(f"{path} cannot be read"):
            yield
    except (OSError, EOFError) as error:
        raise ResultsError(f"{path} cannot be read: {said(error, named=False)}") from error


def _joined(parts: list[pa.Table], schema: pa.Schema) -> pa.Table:
    """Return the parts as one table with the columns of ``schema``, empty where a part had none."""
    whole = pa.concat_tables(parts, promote_options="default")
    return whole.select(schema.names).combine_chunks()
