"""What clients that were away received before a round's frame, as rows of the table of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from .frame_table import FRAMES

if TYPE_CHECKING:
    from ..server.plan import Plan
    from ..server.simulation import Step


def catch_up_rows(plan: Plan, step: Step) -> pa.Table | None:
    """Return one row a client that was away, in ascending id: bytes alone, of one or several frames; or None.

    They are a part of ``bytes_down`` of the round.
    """
    o = step.outcome
    found = [
        {
            "round": o.round,
            "client_id": client,
            "direction": "catchup",
            "numel": plan.layout.num_parameters,
            "frame_bytes": size,
        }
        for client, size in sorted(o.missed.items())
    ]
    return pa.Table.from_pylist(found, schema=FRAMES) if found else None
