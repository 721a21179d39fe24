"""Who misbehaves, how, and when."""

from dataclasses import dataclass
from typing import Generic, TypeVar

A = TypeVar("A")


@dataclass(frozen=True)
class Role(Generic[A]):
    """One attack and the clients that run it.

    Attributes:
        kind: The attack's name: the truth that detection is scored against.
        attack: The plug-in.
        clients: The malicious clients, ascending.
        start_round: The first round in which they attack, from 0.
        stop_round: The first round in which they no longer do, or None.
        every: They attack in every ``every``-th round from ``start_round`` on, at least 1.
    """

    kind: str
    attack: A
    clients: tuple[int, ...]
    start_round: int = 0
    stop_round: int | None = None
    every: int = 1

    def active(self, round_: int) -> bool:
        """Return whether the clients attack in this round."""
        if round_ < self.start_round or (self.stop_round is not None and round_ >= self.stop_round):
            return False
        return (round_ - self.start_round) % self.every == 0
