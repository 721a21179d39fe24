"""One epsilon a run: the column of its rounds ends at what the whole run cost.

Live bounds are quick and can be larger than the tight one at the end. What the whole run cost bounds every
round before as well, so that no row stands above it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd


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
