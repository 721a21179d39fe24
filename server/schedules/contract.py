"""What every schedule owes, in a small world whose delays follow from a stream."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch

from ...core.contracts import Arrivals, Schedule, Starts, Traffic
from ...core.declarations import Schedules, declared
from ...core.registry import require
from ...core.seeds import generator
from ...core.trees import equal, pack, unpack

Array = np.ndarray[Any, Any]
NUM_CLIENTS = 40
ROUNDS = 12


@dataclass(frozen=True)
class Round:
    """One round of the small world.

    Attributes:
        begun: What was known, and who began, at each answer of ``starts``; the last one lets nobody begin.
        traffic: What was known before ``arrivals``.
        arrivals: Its answer.
    """

    begun: list[tuple[Traffic, Starts]]
    traffic: Traffic
    arrivals: Arrivals


@dataclass
class _World:
    """Clients that take 1 to about 20 seconds, of whom a share is lost, drawn by turns."""

    lost: float = 0.0
    drawn: int = NUM_CLIENTS
    traffic: Traffic = field(
        default_factory=lambda: Traffic(
            0, 0.0, *(np.zeros(0, dtype=np.int64) for _ in range(3)), *(np.zeros(0) for _ in range(3))
        )
    )

    def rounds(self, schedule: Schedule, number: int = ROUNDS) -> Iterator[Round]:
        """Yield the rounds that a schedule makes of this world."""
        state = schedule.init()
        for round_ in range(number):
            ids = np.sort(generator(5, "drawn", round_).permutation(NUM_CLIENTS)[: self.drawn])
            self.traffic = replace(self.traffic, round=round_, drawn=ids.astype(np.int64))
            begun: list[tuple[Traffic, Starts]] = []
            while True:
                stream = generator(5, "schedule", round_, len(begun))
                starts, state = schedule.starts(self.traffic, state, stream)
                begun.append((self.traffic, starts))
                _only_idle(self.traffic, starts.client_ids)
                if not len(starts.client_ids):
                    break
                self._begin(starts, round_, len(begun))
            before = self.traffic
            arrivals, state = schedule.arrivals(before, state)
            state = unpack(*pack(state))
            yield Round(begun, before, arrivals)
            self._leave(arrivals)

    def _begin(self, starts: Starts, round_: int, number: int) -> None:
        stream, size = generator(5, "delays", round_, number), len(starts.client_ids)
        seconds = 1 + stream.pareto(1.5, size).clip(0, 19)
        arrives = np.where(stream.random(size) < self.lost, np.inf, starts.at + seconds)
        there = np.isfinite(arrives)
        waits = np.full(size, max(starts.at, arrives[there].max(initial=0.0)))
        t = self.traffic
        self.traffic = replace(
            t,
            client_ids=np.concatenate([t.client_ids, starts.client_ids]),
            started=np.concatenate([t.started, np.full(size, round_)]),
            begins=np.concatenate([t.begins, np.full(size, starts.at)]),
            arrives=np.concatenate([t.arrives, arrives]),
            waits=np.concatenate([t.waits, waits]),
        )

    def _leave(self, arrivals: Arrivals) -> None:
        stay, t = ~(arrivals.counted | arrivals.dropped), self.traffic
        names = ("client_ids", "started", "begins", "arrives", "waits")
        self.traffic = replace(t, now=arrivals.at, **{name: getattr(t, name)[stay] for name in names})


def _worlds() -> list[_World]:
    return [_World(), _World(lost=0.3), _World(drawn=15), _World(lost=0.2, drawn=1), _World(drawn=0)]


def lets_only_idle_clients_begin(schedule: Schedule) -> None:
    """Ids are int64, ascending and of clients that are drawn and have no message on the way."""
    for world in _worlds():
        for one in world.rounds(schedule):
            for traffic, starts in one.begun:
                _only_idle(traffic, starts.client_ids)


def _only_idle(traffic: Traffic, ids: Array) -> None:
    require(ids.dtype == np.int64 and ids.ndim == 1, f"ids are {ids.dtype} {ids.shape}, not int64 [K]")
    require(bool((ids[1:] > ids[:-1]).all()), f"ids do not ascend strictly: {ids.tolist()}")
    busy = sorted(set(ids.tolist()) - set(traffic.idle.tolist()))
    require(not busy, f"clients {busy} begin, and are not idle")


def never_runs_the_clock_backwards(schedule: Schedule) -> None:
    """Nobody begins before the round does, or before those that began in it; it ends no earlier either."""
    for world in _worlds():
        for one in world.rounds(schedule):
            last = one.traffic.now
            for _, starts in one.begun[:-1]:
                require(last <= starts.at < np.inf, f"clients begin at {starts.at} after {last}")
                last = starts.at
            end = one.arrivals.at
            require(one.traffic.now <= end < np.inf, f"a round from {one.traffic.now} ends at {end}")


def counts_only_what_arrived(schedule: Schedule) -> None:
    """One bool a message; what counts has arrived by the end of the round, and is not dropped as well."""
    for world in _worlds():
        for one in world.rounds(schedule):
            counted, dropped = one.arrivals.counted, one.arrivals.dropped
            shape = one.traffic.client_ids.shape
            for name, mask in (("counted", counted), ("dropped", dropped)):
                fits = mask.dtype == bool and mask.shape == shape
                require(fits, f"{name} is {mask.dtype} {mask.shape}, expected bool {shape}")
            late = one.traffic.arrives[counted] > one.arrivals.at
            require(not late.any(), "a message counts that arrives after the end of the round, or never")
            require(not (counted & dropped).any(), "a message counts and is dropped")


def lets_messages_count(schedule: Schedule) -> None:
    """Where nothing is lost, some message counts in the first rounds, and again in the last ones."""
    numbers = [int(one.arrivals.counted.sum()) for one in _World().rounds(schedule)]
    require(sum(numbers[:4]) > 0, f"no message counts in 4 rounds of {NUM_CLIENTS} clients")
    require(sum(numbers[-4:]) > 0, f"no message counts in rounds {ROUNDS - 4} to {ROUNDS - 1}")


def keeps_to_its_size(schedule: Schedule) -> None:
    """No more messages count in a round than ``size`` says; all that arrived where it is ``plain``."""
    size = declared(schedule, Schedules.size)
    least = size(0.3) if size else 1.0
    require(least >= 1, f"size must be at least 1 where 0.3 clients are expected, got {least:g}")
    for world in _worlds():
        most = size(float(world.drawn)) if size and world.drawn else float(world.drawn)
        require(most >= 1 or not world.drawn, f"size must be at least 1, got {most}")
        for one in world.rounds(schedule):
            number = int(one.arrivals.counted.sum())
            require(number <= most or not world.drawn, f"{number} messages count, and size is {most:g}")
            if declared(schedule, Schedules.plain):
                there = np.isfinite(one.traffic.arrives)
                same = np.array_equal(one.traffic.client_ids, one.traffic.drawn)
                same = same and np.array_equal(one.arrivals.counted, there)
                same = same and np.array_equal(one.arrivals.dropped, ~there)
                require(same, "plain: not all who were drawn began, or not all counted that arrived")


def counts_what_began_in_the_round_where_it_is_fresh(schedule: Schedule) -> None:
    """Where it is ``fresh``, no message counts that began in a round before."""
    if not declared(schedule, Schedules.fresh):
        return
    for world in _worlds():
        for one in world.rounds(schedule):
            began = one.traffic.started[one.arrivals.counted]
            require(
                bool((began == one.traffic.round).all()),
                f"fresh: a message counts in round {one.traffic.round} that began in {began.min(initial=0)}",
            )


def weighs_what_is_stale_no_more(schedule: Schedule) -> None:
    """Weights are finite and at least 0; where they are ``bounded``, at most 1."""
    weights = declared(schedule, Schedules.weights)
    if weights is None:
        return
    staleness = torch.tensor([0, 0, 1, 2, 5, 40])
    found = weights(staleness, torch.tensor([1, 50, 1, 50, 3, 7]))
    fits = found.dtype == torch.float64 and found.shape == staleness.shape
    require(fits, f"weights are {found.dtype} {tuple(found.shape)}, expected float64 (6,)")
    require(bool((found >= 0).all() and found.isfinite().all()), f"weights are {found.tolist()}")
    bounded = declared(schedule, Schedules.bounded)
    require(not bounded or bool((found <= 1).all()), f"weights are bounded by 1, got {found.tolist()}")


def gives_the_same_answer_to_the_same_question(schedule: Schedule) -> None:
    """Answers follow from the arguments alone, whatever was asked before, and leave them as they were."""
    world = _World(lost=0.2)
    asked = [traffic for one in world.rounds(schedule, 6) for traffic in (one.begun[0][0], one.traffic)]
    for traffic in asked:
        before = deepcopy(traffic)
        one, two = (schedule.starts(traffic, schedule.init(), generator(1, "again")) for _ in range(2))
        same = np.array_equal(one[0].client_ids, two[0].client_ids) and one[0].at == two[0].at
        require(same and equal(one[1], two[1]), "equal arguments gave two answers of starts")
        three, four = (schedule.arrivals(traffic, schedule.init()) for _ in range(2))
        same = np.array_equal(three[0].counted, four[0].counted) and three[0].at == four[0].at
        same = same and np.array_equal(three[0].dropped, four[0].dropped)
        require(same and equal(three[1], four[1]), "equal arguments gave two answers of arrivals")
        names = [f.name for f in fields(traffic)]
        kept = all(np.array_equal(getattr(traffic, n), getattr(before, n)) for n in names)
        require(kept, "it wrote into what it was asked")


CHECKS: tuple[Callable[[Schedule], None], ...] = (
    lets_only_idle_clients_begin,
    never_runs_the_clock_backwards,
    counts_only_what_arrived,
    lets_messages_count,
    keeps_to_its_size,
    counts_what_began_in_the_round_where_it_is_fresh,
    weighs_what_is_stale_no_more,
    gives_the_same_answer_to_the_same_question,
)
