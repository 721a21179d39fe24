"""What clients that were away received before a round's frame, as rows of the table of frames."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from .frame_table import FRAMES

if TYPE_CHECKING:
    from ..server.plan import Plan
    from ..server.simulation import Step


def catch_up_rows(plan: Plan, step: Step) -> pa.Table | None:
    """Return one row a client that was away, in ascending id, or None.

    Bytes alone of one or several frames that it received before the round's; or in the place of that one a
    log of what was counted. They are a part of ``bytes_down`` of the round.
    """
    o, numel = step.outcome, plan.layout.num_parameters
    logs = {client: log for client, log in o.downs[o.round].logs.items() if client in o.began}
    costs: dict[int, dict[str, Any]] = {client: {"frame_bytes": size} for client, size in o.missed.items()}
    costs |= {client: asdict(log) for client, log in logs.items()}
    same = {"round": o.round, "direction": "catchup", "numel": numel}
    found = [{**same, "client_id": client, **cost} for client, cost in sorted(costs.items())]
    return pa.Table.from_pylist(found, schema=FRAMES) if found else None
