"""Journals as somebody writes them who knows the format: each frame's checksum and the whole chain fit."""

from zlib import crc32

from gauntlet.sims.journal import _CRC, _HEAD, _chained, frames


def parts_of(path):
    """Return [(table, kind, payload)] of a journal's frames."""
    return [(f.table, f.kind, bytes(f.payload)) for f in frames(path)]


def sealed(parts):
    """Return the bytes of a journal that holds these frames."""
    written, digest = [], bytes(32)
    for table, kind, payload in parts:
        head = _HEAD.pack(table.encode().ljust(16, b"\0"), kind, len(payload))
        front = head + _CRC.pack(crc32(head))
        digest = _chained(digest, front, payload)
        written += [front, digest, payload]
    return b"".join(written)


def forged(parts, rng):
    """Return such a journal with one frame changed, moved, or called something else."""
    new, k = list(parts), int(rng.integers(len(parts)))
    table, kind, payload = new[k]
    way = int(rng.integers(7))
    if way < 5:
        changed = bytearray(payload)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(changed)))
            if rng.random() < 0.5:
                changed[at] ^= 1 << int(rng.integers(8))
            else:
                changed[at : at + 4] = rng.choice([0, 255, 127, 128, 1], 4).astype("u1").tobytes()
        new[k] = table, kind, bytes(changed)
    elif way == 5:
        new = [new[int(i)] for i in rng.permutation(len(new))]
    else:
        new[k] = (
            ("x", parts[int(rng.integers(len(parts)))][0])[int(rng.integers(2))],
            b"crx"[k % 3 :][:1],
            payload,
        )
    return sealed(new)
