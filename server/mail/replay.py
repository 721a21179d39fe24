"""What was counted, kept so that a client that was away is sent that in the place of the parameters.

A log is a frame to one client. It has a record for each round that the client missed, numbered like the
round, whose body is the number of messages that were counted in it, and of each, in ascending client id:

    uvarint id, less the id before and 1 (the first: the id) | uvarint num_examples | uvarint length | records

with the records as the message's own frame held them. From the parameters of the first of these rounds and
the run's public configuration the parameters after the last follow to the last bit: messages are decoded,
averaged and applied as the server does it. A client holds the parameters of the last round in which a message
of its own was counted: that it received others the server does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...clients.codecs.parts.accounts import Account
from ...clients.codecs.parts.wire import vectors_of
from ...core.contracts import CodecStreams
from ...core.declarations import Codecs, declared
from ...core.errors import FrameError
from ...core.frames import (
    OVERHEAD,
    Envelope,
    Record,
    RecordShape,
    read_frame,
    read_records,
    read_uvarint,
    records_of,
    uvarint,
    write_frame,
)
from ...core.updates import Updates
from ..defending.decision import decide

if TYPE_CHECKING:
    from ...core.trees import State
    from ..plan import Plan
    from .mailbox import Messages

LOG = 255
"""The codec number of a log."""
BYTES = 0x09
LARGEST = 2**16 - 1  # records of a frame


def first_log(plan: Plan) -> State:
    """Return the log before round 0; None where nobody is sent one.

    It holds ``rounds``: the body of each round that a log may still begin with, uint8 by round, and ``held``:
    by client id the last round in which its message was counted.
    """
    return {"rounds": {}, "held": {}} if declared(plan.codec_down, Codecs.replays) else None


def noted(plan: Plan, log: State, round_: int, received: Updates, messages: Messages) -> State:
    """Return the log with what was counted in a round; rounds are dropped that no log can begin with.

    Args:
        plan: The run's.
        log: What it was before; None: nothing is kept.
        round_: The round.
        received: The messages that were counted.
        messages: All that came, with their frames.
    """
    if log is None:
        return None
    frames = dict(zip(messages.updates.client_ids.tolist(), messages.frames, strict=True))
    ids = received.client_ids.tolist()
    body = _body(ids, received.num_examples.tolist(), [records_of(frames[client]) for client in ids])
    rounds = {**log["rounds"], round_: torch.frombuffer(bytearray(body), dtype=torch.uint8)}
    kept, length = dict[int, Tensor](), OVERHEAD
    for number in sorted(rounds, reverse=True):
        length += _length(plan, number, rounds[number])
        if length >= plan.frame_down or len(kept) == LARGEST:
            break
        kept[number] = rounds[number]
    return {"rounds": kept, "held": {**log["held"], **dict.fromkeys(ids, round_)}}


def _body(ids: Sequence[int], examples: Sequence[int], contents: Sequence[bytes]) -> bytes:
    """Return a round's body."""
    parts, before = [uvarint(len(ids))], -1
    for client, count, content in zip(ids, examples, contents, strict=True):
        parts += [uvarint(client - before - 1), uvarint(max(count, 0)), uvarint(len(content)), content]
        before = client
    return b"".join(parts)


def _length(plan: Plan, round_: int, body: Tensor) -> int:
    """Return how many bytes a round's record takes in a log."""
    size = plan.layout.num_parameters
    return len(uvarint(round_)) + 1 + len(uvarint(size)) + len(uvarint(len(body))) + len(body)


def since(plan: Plan, log: State, round_: int, client_id: int) -> int | None:
    """Return the first round that a client is sent a log of; None where it is sent the parameters."""
    start = 0 if declared(plan.codec_down, Codecs.start_known) else None
    held = log["held"].get(client_id, start)
    return held if held is not None and all(t in log["rounds"] for t in range(held, round_)) else None


def accounts(plan: Plan, log: State, round_: int, client_ids: Sequence[int]) -> dict[int, Account]:
    """Return what the log to each of some clients costs, of those that are sent one."""
    if log is None:
        return {}
    found: dict[int, Account] = {}
    for client in client_ids:
        if (first := since(plan, log, round_, client)) is not None:
            bodies = {t: log["rounds"][t] for t in range(first, round_)}
            payload = sum(map(len, bodies.values()))
            length = OVERHEAD + sum(_length(plan, t, body) for t, body in bodies.items())
            found[client] = Account(8.0 * payload, payload, length, 0.0)
    return found


def log_frame(plan: Plan, log: State, round_: int, client_id: int, first: int) -> bytes:
    """Return the frame to a client that holds the parameters of round ``first``."""
    size = plan.layout.num_parameters
    bodies = {t: log["rounds"][t].numpy().tobytes() for t in range(first, round_)}
    records = [Record(t, BYTES, size, body) for t, body in bodies.items()]
    return write_frame(Envelope(LOG, round_, client_id, plan.public), records)


def replayed(plan: Plan, params: Tensor, frame: bytes, round_: int, client_id: int, first: int) -> Tensor:
    """Return the parameters of a round, from those of round ``first`` and the log to a client.  # [P]

    Raises:
        FrameError: It is no log of these rounds to this client.
    """
    shapes = [RecordShape(t, (plan.layout.num_parameters,)) for t in range(first, round_)]
    records = read_frame(frame, Envelope(LOG, round_, client_id, plan.public), shapes, len(frame))
    for record in records:
        own = plan.at(record.tensor_id)
        updates = _updates(own, record, params)
        aggregate = decide(own, updates, (), own.defense.init()).verdict.aggregate
        params, _ = own.moved(params, aggregate, own.optimizer.init(), 0.0)
    return params


def _updates(plan: Plan, record: Record, params: Tensor) -> Updates:
    """Return the messages that were counted in a round, of clients that began from ``params`` [P]."""
    ids, examples, contents = _entries(record)
    streams, layout = CodecStreams(plan.seed, record.tensor_id, params=params), plan.exchange.up
    shapes = plan.codec.records(layout)
    cohort = [
        (row, read_records(content, shapes), streams.context(client))
        for row, (client, content) in enumerate(zip(ids, contents, strict=True))
    ]
    vectors, bad = vectors_of(plan.codec, cohort, layout)
    if bad:
        raise FrameError(f"log: a message of round {record.tensor_id}: {bad[0][1]}")
    whose = torch.tensor(ids, dtype=torch.int64), torch.tensor(examples, dtype=torch.int64)
    return Updates(vectors, *whose, plan.sampling.expected_size)


def _entries(record: Record) -> tuple[list[int], list[int], list[bytes]]:
    """Return the ids, examples and records of a round's messages."""
    body, before = record.body, -1
    count, at = read_uvarint(body, 0)
    ids, examples, contents = list[int](), list[int](), list[bytes]()
    for _ in range(count):
        gap, at = read_uvarint(body, at)
        number, at = read_uvarint(body, at)
        length, at = read_uvarint(body, at)
        if length > len(body) - at:
            raise FrameError(f"log: round {record.tensor_id} is cut off")
        before += gap + 1
        ids.append(before)
        examples.append(number)
        contents.append(body[at : at + length])
        at += length
    if at != len(body):
        raise FrameError(f"log: {len(body) - at} bytes left over in round {record.tensor_id}")
    return ids, examples, contents
