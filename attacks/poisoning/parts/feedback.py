"""What a server did with the updates of last round, read off values that attackers put in.

Source: Li and others. 3DFed. IEEE S&P 2023, Section IV (indicators); thresholds as in public code
(unverified).
"""

from torch import Tensor

Indicator = list[int | float | bool]
"""Where the value was put, the value, and whether it was a decoy's."""

ACCEPTED, CLIPPED, REJECTED = "accepted", "clipped", "rejected"
THRESHOLD = 1e-4
SHORTENED = 0.8


def read(move: Tensor, indicators: list[Indicator]) -> list[str] | None:
    """Return what became of each indicator's update; None where it cannot be, as under noise.

    The part of its value that an update's coordinate moved the global model by is the update's weight: 0 of
    one that was left out, and less than the largest one's of one that was shortened.

    Args:
        move: How the global model moved in that round.  # [P]
        indicators: Those of the round.
    """
    parts = [float(move[int(place)]) / float(value) for place, value, _ in indicators]
    if any(part > 1 + THRESHOLD or part < -THRESHOLD for part in parts):
        return None
    most = max(parts)
    return [
        REJECTED if part <= THRESHOLD else CLIPPED if part <= SHORTENED * most else ACCEPTED for part in parts
    ]
