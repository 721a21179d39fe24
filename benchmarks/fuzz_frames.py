"""Hostile frames for each codec: a vector of the declared shape with finite numbers, or one ``FrameError``.

    python benchmarks/fuzz_frames.py                      20,000 for each codec: docs/reliability.md
    python benchmarks/fuzz_frames.py topk eden --frames 500 --seed 7
    python benchmarks/fuzz_frames.py topk --case 123         one case again, with what it raised

Every codec is tried with each of the options that its contract is tried with, after a run of three rounds in
which clients come, stay away and are lost. A case is made from (seed, codec, number) alone. Exit code 1 if
any case ended otherwise, took more than 50 ms of processor time or, with 99 others, 32 MiB of memory.
"""

import argparse
import sys
import traceback
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import thread_time
from typing import Any

import numpy as np
import torch

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tests" / "support")]

from codec_draws import SPEC, layout_of, play
from codec_hostile import hostile, sealed
from codec_options import OPTIONS
from fuzz_cases import damaged

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.parts.sizes import max_frame
from gauntlet.clients.codecs.parts.wire import decode_frame, mismatch_of, read_cohort, support_of
from gauntlet.core.declarations import Codecs, declared
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import OVERHEAD, Envelope, read_frame, write_frame

SHAPES = [(5, 7), (11, 6), (6, 2, 3, 1), (), (0, 3), (13,), (3, 3), (12, 4)]
SECONDS, BYTES, TOGETHER = 0.05, 32 * 2**20, 100
HEAD = OVERHEAD - 4


@dataclass(frozen=True)
class Target:
    """A round of one codec, and the longest frame that it allows."""

    round: Any
    longest: int


def targets_of(name: str, seed: int) -> list[Target]:
    """Return the last round of a run with each of a codec's options."""
    found = []
    for options in OPTIONS.get(name, [{}]):
        codec = CODECS.build(name, options)
        layout = layout_of(SHAPES)
        found.append(Target(list(play(codec, layout, 3, seed))[-1], max_frame(codec, layout)))
    return found


def envelope_of(target: Target, k: int) -> Envelope:
    round_ = target.round
    return Envelope(round_.codec.codec_id, round_.streams.round, int(round_.updates.client_ids[k]), SPEC)


def frame_of(target: Target, other: Target, k: int, stream: np.random.Generator) -> tuple[bytes, str]:
    """Return a hostile frame that says it is of client k of a round, and in which way it is hostile."""
    round_, envelope = target.round, envelope_of(target, k)
    frame, records = round_.frames[k], round_.records[k]
    way = int(stream.integers(10))
    if way < 5:  # by somebody who knows the format, several times
        for _ in range(int(stream.integers(1, 4))):
            frame = hostile(frame, records, envelope, target.longest, stream)
            try:
                records = read_frame(frame, envelope, round_.codec.records(round_.layout), target.longest)
            except FrameError:
                break
        return frame, "of the format"
    if way < 7:  # anything behind a right header, under a right checksum
        return sealed(frame[:HEAD] + damaged(stream, frame[HEAD:-4])), "damaged and sealed"
    if way == 7:
        return damaged(stream, frame), "damaged"
    if way == 8:  # bodies of other tensors, or of no tensor at all
        bodies = [r.body for r in records]
        stream.shuffle(bodies)
        moved = [replace(r, body=b) for r, b in zip(records, bodies, strict=True)]
        return write_frame(envelope, moved), "bodies moved"
    theirs = other.round.records[0]  # what another codec would have sent
    return write_frame(envelope, theirs), "another codec's"


def look(target: Target, frame: bytes, envelope: Envelope) -> torch.Tensor | None:
    """Return what a frame decodes to, after the looks that every vector owes, or None: refused."""
    codec, layout = target.round.codec, target.round.layout
    context = target.round.streams.context(envelope.client_id)
    try:
        vector = decode_frame(codec, frame, envelope, layout, context)
    except FrameError as error:
        if "\n" in str(error) or len(str(error)) > 1000:
            raise AssertionError(f"not one line: {error!r:.500}") from error
        return None
    if vector.shape != (layout.num_parameters,) or vector.dtype != torch.float32:
        raise AssertionError(f"{vector.dtype} {tuple(vector.shape)}")
    if not declared(codec, Codecs.lossless) and not bool(vector.isfinite().all()):
        raise AssertionError(f"not finite: {vector[~vector.isfinite()][:4].tolist()}")
    return vector


def look_around(target: Target, frame: bytes, k: int, vector: torch.Tensor | None) -> None:
    """Look that the frame gives the same among others, spares them, and says what it names."""
    round_, envelope = target.round, envelope_of(target, k)
    ids = round_.updates.client_ids.tolist()
    frames = [frame if n == k else f for n, f in enumerate(round_.frames)]
    found = read_cohort(round_.codec, frames, ids, round_.layout, SPEC, round_.streams)
    expected = [torch.from_numpy(d) for d in round_.decoded]
    expected[k : k + 1] = [] if vector is None else [vector]
    assert [row for row, _ in found.rejected] == ([k] if vector is None else []), found.rejected
    same = all(
        a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(found.vectors, expected, strict=True)
    )
    assert same, "a hostile frame changed what another one, or itself, decodes to"
    if vector is not None:
        support_of(round_.codec, frame, envelope, round_.layout)
        mismatch = mismatch_of(round_.codec, frame, envelope, round_.layout, round_.streams.context(ids[k]))
        if mismatch is not None and bool(vector.isfinite().all()):
            mismatch(vector[None])


def peak() -> int:
    """Return the most resident bytes since the last call of ``settle``."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split("VmHWM:")[1].split()[0]) * 1024


def settle() -> int:
    """Forget the most resident bytes so far, and return those of now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak()


@dataclass
class Found:
    count: Counter[str]
    slowest: float = 0.0
    most: int = 0


def attack(name: str, numbers: Sequence[int], seed: int, loud: bool) -> Found:
    """Throw hostile frames at a codec, and count how they ended."""
    found, targets = Found(Counter()), targets_of(name, seed)
    names = list(CODECS.table)
    others = targets_of(names[(names.index(name) + 7) % len(names)], seed)
    before = settle()
    for number in numbers:
        stream = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
        target, other = targets[number % len(targets)], others[number % len(others)]
        k = int(stream.integers(len(target.round.frames)))
        frame, way = frame_of(target, other, k, stream)
        try:
            vector, seconds = timed(target, frame, envelope_of(target, k))
            found.slowest = max(found.slowest, seconds)
            ended = "refused" if vector is None else "accepted"
            if number % 10 == 0 or loud:
                look_around(target, frame, k, vector)
            if seconds > SECONDS:
                raise AssertionError(f"{seconds:.3f} s")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            ended = "wrong"
            print(f"{name} --seed {seed} --case {number} ({way}, {target.round.codec}): {error!r:.400}")
            if loud:
                traceback.print_exception(error)
        found.count[ended] += 1
        if number % TOGETHER == TOGETHER - 1:
            found.most = max(found.most, peak() - before)
            before = settle()
    return found


def timed(target: Target, frame: bytes, envelope: Envelope) -> tuple[torch.Tensor | None, float]:
    """Return what a frame decodes to, and the processor time: the least of three where one took long."""
    least = float("inf")
    for _ in range(3):
        begin = thread_time()
        vector = look(target, frame, envelope)
        least = min(least, thread_time() - begin)
        if least <= SECONDS:
            break
    return vector, least


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("codecs", nargs="*", choices=[*CODECS.table, []], help="by default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=20_000, help="for each codec")
    parser.add_argument("--case", type=int, help="one case alone, with what it raised")
    told = parser.parse_args()
    torch.set_num_threads(1)
    bad = 0
    print("| codec | options | frames | decoded | refused | wrong | slowest, ms | MiB | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in told.codecs or CODECS.table:
        numbers = range(told.frames) if told.case is None else range(told.case, told.case + 1)
        begin = thread_time()
        found = attack(name, numbers, told.seed, told.case is not None)
        bad += found.count["wrong"] + (found.most > BYTES)
        ended = " | ".join(f"{n:,}" for n in (found.count[w] for w in ("accepted", "refused", "wrong")))
        cost = f"{found.slowest * 1e3:.1f} | {found.most / 2**20:.1f} | {thread_time() - begin:.0f}"
        print(
            f"| {name} | {len(OPTIONS.get(name, [{}]))} | {len(numbers):,} | {ended} | {cost} |", flush=True
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
