"""What each layer of a round's first message took: one row a layer and round, of codecs that shorten it.

Of the message of the lowest client id alone that reached the defense, so that it costs a frame a round. A
codec whose records are not one a tensor has no layers to tell of.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ..core.declarations import Codecs, declared
from ..core.frames import Record, one_a_tensor
from ..core.layout import Layout, Slot

if TYPE_CHECKING:
    from ..core.contracts import Codec
    from ..server.plan import Plan
    from ..server.simulation import Step

LAYERS = pa.schema(
    [
        ("round", pa.int64()),
        ("client_id", pa.int64()),
        ("layer", pa.string()),
        ("numel", pa.int64()),
        ("ideal_bits", pa.float64()),
        ("payload_bytes", pa.int64()),
        ("choice", pa.float64()),
    ]
)


def layer_rows(plan: Plan, step: Step) -> pa.Table | None:
    """Return the layers of a round's first message, in the order of the layout.

    None where the codec writes float32 as it is or sends other records than tensors, where clients send
    parts of messages, and where no message came.
    """
    o, layout = step.outcome, plan.exchange.up
    if declared(plan.codec, Codecs.verbatim) or not len(o.received) or o.sent.presence is not None:
        return None
    if tuple(plan.codec.records(layout)) != tuple(one_a_tensor(layout)):
        return None
    client = int(o.received.client_ids[0])
    records = o.records.get(client)
    if records is None:
        return None
    choices = declared(plan.codec, Codecs.choices)
    chosen = None if choices is None else choices(layout, o.down(client).shared)
    columns = {
        "round": np.full(len(records), o.round),
        "client_id": np.full(len(records), client),
        "layer": [slot.name for slot in layout.parameters],
        "numel": [slot.size for slot in layout.parameters],
        "ideal_bits": [_bits(plan.codec, *one) for one in zip(records, layout.parameters, strict=True)],
        "payload_bytes": [len(record.body) for record in records],
        "choice": [None] * len(records) if chosen is None else [float(value) for value in chosen],
    }
    return pa.Table.from_pydict(columns, schema=LAYERS)


def _bits(codec: Codec, record: Record, slot: Slot) -> float:
    """Return what an ideal coder needs for one layer's record."""
    return float(codec.ideal_bits([replace(record, tensor_id=0)], Layout((replace(slot, start=0),))))
