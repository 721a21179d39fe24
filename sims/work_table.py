"""Who worked when, and for nothing: a row a message, of runs whose rounds do not wait for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from ..server.plan import Plan
    from ..server.simulation import Step

WORK = pa.schema(
    [
        ("round", pa.int64()),
        ("client_id", pa.int64()),
        ("started", pa.int64()),
        ("staleness", pa.int64()),
        ("begins", pa.float64()),
        ("work_seconds", pa.float64()),
        ("counted", pa.bool_()),
    ]
)


def work_rows(plan: Plan, step: Step) -> pa.Table | None:
    """Return one row a message that counts in the round or is given up in it; None of a plain schedule.

    A client whose message does not count has worked until it was there, or the round was over.
    """
    o = step.outcome
    if plan.plain or o.begins is None:
        return None
    ids, started = o.sent.client_ids.numpy(), o.sent.started.numpy()
    columns = {
        "round": np.full(len(ids), o.round),
        "client_id": ids,
        "started": started,
        "staleness": o.round - started,
        "begins": o.begins,
        "work_seconds": np.minimum(o.delivery.client_seconds, step.state.clock - o.begins),
        "counted": o.delivery.arrived & ~np.isin(ids, list(o.refused)),
    }
    typed = [pa.array(columns[field.name], field.type) for field in WORK]
    return pa.Table.from_arrays(typed, schema=WORK)
