"""Who misbehaves, how, and when."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from .declarations import DataAttacks, declared
from .guards import guard
from .replies import REPLIES

A = TypeVar("A")


@dataclass(frozen=True)
class Role(Generic[A]):
    """One attack, the clients that run it, and when.

    Attributes:
        kind: The attack's name: the truth that detection is scored against.
        attack: The plug-in.
        clients: The malicious clients, ascending; none where they are drawn anew in every round.
        start_round: The first round in which they attack, from 0; sleepers are honest until then.
        stop_round: The first round in which they no longer do, or None.
        every: They attack in every ``every``-th round from ``start_round`` on, at least 1.
        on_rounds: In bursts of so many rounds, the first from ``start_round`` on; 0: without a break.
        off_rounds: Honest rounds between two bursts.
        sampled: From a round to that round's malicious clients, ascending, instead of ``clients``.
    """

    kind: str
    attack: A
    clients: tuple[int, ...]
    start_round: int = 0
    stop_round: int | None = None
    every: int = 1
    on_rounds: int = 0
    off_rounds: int = 0
    sampled: Callable[[int], tuple[int, ...]] | None = None

    @property
    def honest(self) -> bool:
        """Whether the clients mean well and only have poor data."""
        return declared(self.attack, DataAttacks.honest)

    def of(self, client_id: int, round_: int) -> A:
        """Return the plug-in as one of this round's clients runs it: its part, where the attack is split."""
        part = declared(self.attack, DataAttacks.part)
        if part is None:
            return self.attack
        clients = self.attackers(round_)
        mine = cast(A, part(clients.index(client_id), len(clients)))
        return guard(mine, f"attack '{self.kind}'", REPLIES["data_attacks"])

    def active(self, round_: int) -> bool:
        """Return whether the clients attack in this round."""
        if round_ < self.start_round or (self.stop_round is not None and round_ >= self.stop_round):
            return False
        since = round_ - self.start_round
        if self.on_rounds and since % (self.on_rounds + self.off_rounds) >= self.on_rounds:
            return False
        return since % self.every == 0

    def attackers(self, round_: int) -> tuple[int, ...]:
        """Return the clients that attack in this round, ascending."""
        if not self.active(round_):
            return ()
        return self.clients if self.sampled is None else self.sampled(round_)
