"""One epsilon a run: the column of its rounds ends at what the whole run cost.

Live bounds are quick and can be larger than the tight one at the end. What the whole run cost bounds every
round before as well, so that no row stands above it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ..core.errors import ResultsError

if TYPE_CHECKING:
    import pandas as pd

_LIVE = {"value": "epsilon", "reason": "epsilon_reason", "accountant": "accountant"}


def settled(rounds: pa.Table, epsilon: Mapping[str, Any]) -> pa.Table:
    """Return the table of a run's rounds with no epsilon above the run's.

    Args:
        rounds: As the run wrote it, with ``epsilon`` and ``accountant``.
        epsilon: ``value`` and ``accountant`` of the whole run; without a value nothing changes.
    """
    if epsilon.get("value") is None:
        return rounds
    above = pc.fill_null(pc.greater(rounds["epsilon"], epsilon["value"]), False)
    for name, most in (("epsilon", epsilon["value"]), ("accountant", epsilon.get("accountant"))):
        place = rounds.schema.get_field_index(name)
        field = rounds.schema.field(place)
        column = pc.if_else(above, pa.scalar(most, field.type), rounds[name])
        rounds = rounds.set_column(place, field, column)
    return rounds


def settled_frame(rounds: "pd.DataFrame", epsilon: Mapping[str, Any] | None) -> "pd.DataFrame":
    """Return the same of a table that has been read: for runs that were finished by an earlier version."""
    value = (epsilon or {}).get("value")
    if value is None or "epsilon" not in rounds:
        return rounds
    above = rounds["epsilon"].astype(float) > value
    if not above.any():
        return rounds
    found = rounds.assign(epsilon=rounds["epsilon"].astype(float).mask(above, value))
    if "accountant" in rounds and epsilon:
        found["accountant"] = rounds["accountant"].mask(above, epsilon.get("accountant"))
    return found


def spent_so_far(manifest: Mapping[str, Any], rounds: "pd.DataFrame") -> dict[str, Any]:
    """Return what a run cost: ``value``, ``reason`` and ``accountant``; of one that goes on, so far.

    Args:
        manifest: The run's.
        rounds: One row a round, at least one.

    Raises:
        ResultsError: What the manifest holds is none of a run's.
    """
    said = manifest.get("epsilon")
    if said is None:
        last = rounds.iloc[-1]
        told = {name: last.get(column) for name, column in _LIVE.items()}
        return {name: None if value is None or value != value else value for name, value in told.items()}
    value, reason = said["value"], said["reason"]
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise ResultsError(f"a run's manifest has epsilon.value {value!r:.40}, expected a number or null")
    if not isinstance(reason, str | None):
        raise ResultsError(f"a run's manifest has epsilon.reason {reason!r:.40}, expected a word or null")
    return {"value": value, "reason": reason, "accountant": said.get("accountant")}
