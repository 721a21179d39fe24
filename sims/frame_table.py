"""What every frame of a round cost: one row a frame, up and down, of codecs that lose or squeeze something.

Of a codec that sends float32 as it is all follows from the layout: 4 bytes and 32 bits a coordinate, and
nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..clients.codecs.parts.accounts import account_of
from ..clients.codecs.parts.wire import frame_spec
from ..core.declarations import Codecs, declared
from ..core.frames import Envelope
from ..core.presence import reduced

if TYPE_CHECKING:
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


def frame_rows(plan: Plan, step: Step) -> pa.Table | None:
    """Return the rows of a round: its messages in ascending client id, then what one client received.

    A client that is sent a log of what it missed has a row of its own for it, ``catchup``.

    None where neither direction has a codec that does more than write float32.
    """
    o = step.outcome
    up = not declared(plan.codec, Codecs.verbatim)
    if not up and o.downs[o.round].account is None:
        return None
    found = [*(_up(plan, o) if up else ()), *_down(plan, o)]
    return pa.Table.from_pylist(found, schema=FRAMES)


def _up(plan: Plan, o: Outcome) -> Iterator[dict[str, Any]]:
    sent, ids = o.sent, o.received.client_ids.tolist()
    places = {client: row for row, client in enumerate(ids)}
    for row, (client, frame) in enumerate(zip(sent.client_ids.tolist(), o.frames, strict=True)):
        layout, spec, own = plan.exchange.up, plan.public, sent.vectors[row]
        came = o.received.vectors[places[client]] if client in places else None
        if sent.presence is not None:
            present = sent.presence.levels[sent.presence.level[row]]
            layout, spec = reduced(layout, present), frame_spec(spec, present)
        envelope = Envelope(plan.codec.codec_id, int(sent.started[row]), client, spec)
        account = account_of(plan.codec, frame, envelope, layout, own, came)
        yield {
            "round": o.round,
            "client_id": client,
            "direction": "up",
            "numel": layout.num_parameters,
            **asdict(account),
        }


def _down(plan: Plan, o: Outcome) -> Iterator[dict[str, Any]]:
    account = o.downs[o.round].account
    if account is not None:
        yield {
            "round": o.round,
            "client_id": None,
            "direction": "down",
            "numel": plan.layout.num_parameters,
            **asdict(account),
        }
    for client in o.began.tolist():
        if client in o.downs[o.round].logs:
            yield {
                "round": o.round,
                "client_id": client,
                "direction": "catchup",
                "numel": plan.layout.num_parameters,
                **asdict(o.downs[o.round].logs[client]),
            }
