"""What an attack on updates is allowed to see."""

from enum import StrEnum


class UpdateKnowledge(StrEnum):
    """What an attack on updates is allowed to see besides the public broadcast.

    What it has seen counts for privacy: with OMNISCIENT no central or distributed epsilon holds from the
    first round on in which it attacks.
    """

    OWN = "own"
    """Its own honest update only: the engine calls it once for each malicious client."""
    COLLUDERS = "colluders"
    """The honest updates of all clients that run the same attack."""
    OMNISCIENT = "omniscient"
    """Those, and the honest updates of every other client of the cohort."""
