"""What every frame of a round cost: one row a frame, up and down, of codecs that lose or squeeze something.

Of a codec that sends float32 as it is all follows from the layout: 4 bytes and 32 bits a coordinate, and
nothing is lost.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pyarrow as pa
import torch
from torch import Tensor

from ..clients.codecs.parts.accounts import Account, account_of, accounts_of
from ..clients.codecs.parts.wire import frame_spec
from ..core.declarations import Codecs, declared
from ..core.frames import Envelope
from ..core.presence import reduced

if TYPE_CHECKING:
    from ..core.layout import Layout
    from ..server.mail.outcome import Outcome
    from ..server.plan import Plan
    from ..server.simulation import Step

FRAMES = pa.schema(
    [
        ("round", pa.int64()),
        ("client_id", pa.int64()),
        ("direction", pa.string()),
        ("numel", pa.int64()),
        ("ideal_bits", pa.float64()),
        ("payload_bytes", pa.int64()),
        ("frame_bytes", pa.int64()),
        ("nmse", pa.float64()),
    ]
)


_ACCOUNT = tuple(field.name for field in fields(Account))


def frame_rows(plan: Plan, step: Step) -> pa.Table | None:
    """Return the rows of a round: its messages in ascending client id, then what one client received.

    None where neither direction has a codec that does more than write float32.
    """
    o = step.outcome
    up = not declared(plan.codec, Codecs.verbatim)
    down = o.downs[o.round].account
    if not up and down is None:
        return None
    found = _up(plan, o) if up else []
    ids: list[int | None] = o.sent.client_ids.tolist() if up else []
    ways = ["up"] * len(found)
    if down is not None:
        found, ids, ways = [*found, (plan.layout.num_parameters, down)], [*ids, None], [*ways, "down"]
    beside = {"round": [o.round] * len(found), "client_id": ids, "direction": ways}
    columns = {name: [getattr(account, name) for _, account in found] for name in _ACCOUNT}
    return pa.table({**beside, "numel": [numel for numel, _ in found], **columns}, schema=FRAMES)


def _up(plan: Plan, o: Outcome) -> list[tuple[int, Account]]:
    """Return how many numbers each message of the cohort holds, and what its frame cost."""
    sent = o.sent
    if sent.presence is None:
        every = torch.arange(len(sent))
        accounts = _accounts(plan, o, every, plan.exchange.up, plan.public)
        return [(plan.exchange.up.num_parameters, account) for account in accounts]
    found: dict[int, tuple[int, Account]] = {}
    for level, rows in sent.presence.by_level():
        present = sent.presence.levels[level]
        layout, spec = reduced(plan.exchange.up, present), frame_spec(plan.public, present)
        accounts = _accounts(plan, o, rows, layout, spec)
        numel = layout.num_parameters
        found |= {row: (numel, a) for row, a in zip(rows.tolist(), accounts, strict=True)}
    return [found[row] for row in range(len(sent))]


def _accounts(plan: Plan, o: Outcome, rows: Tensor, layout: Layout, spec: int) -> list[Account]:
    """Return what the frames of some rows cost that are written with one layout."""
    ids, came = o.sent.client_ids.tolist(), o.received.client_ids.tolist()
    places = {client: row for row, client in enumerate(came) if client in o.records}
    read = [row for row in rows.tolist() if ids[row] in places]
    found = accounts_of(
        plan.codec,
        [o.frames[row] for row in read],
        [o.records[ids[row]] for row in read],
        layout,
        _rows(o.sent.vectors, read),
        _rows(o.received.vectors, [places[ids[row]] for row in read]),
    )
    accounts = dict(zip(read, found, strict=True))
    for row in rows.tolist():
        if row not in accounts:
            envelope = Envelope(plan.codec.codec_id, int(o.sent.started[row]), ids[row], spec)
            own = o.sent.vectors[row]
            accounts[row] = account_of(plan.codec, o.frames[row], envelope, layout, own, None)
    return [accounts[row] for row in rows.tolist()]


def _rows(vectors: Tensor, rows: list[int]) -> Tensor:
    """Return some rows of ``vectors`` [K, M], ascending: these themselves where they are all."""
    return vectors if len(rows) == len(vectors) else vectors[rows]
