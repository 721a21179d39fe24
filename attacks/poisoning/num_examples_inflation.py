"""Inflated counts: an honest update, with more examples claimed than there are.

Source: our own; any rule that weighs clients by what they claim has this door.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates


@dataclass(frozen=True)
class NumExamplesInflation:
    """Claim ``factor`` times the examples, rounded down, and send the update as it is.

    Attributes:
        factor: How many times as many, above 1 and at most a million.
    """

    factor: float = 100.0

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def __post_init__(self) -> None:
        if not 1 < self.factor <= 1e6:
            raise ValueError(f"factor must be above 1 and at most a million, got {self.factor}")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        return replace(own, num_examples=(own.num_examples.double() * self.factor).long()), state
