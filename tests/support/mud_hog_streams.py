"""Streams of updates for MUD-HoG, and what it says of them round by round."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from gauntlet.core.contracts import Verdict
from gauntlet.core.updates import Updates
from gauntlet.defenses.mud_hog import MudHog


def updates_of(vectors: Any, ids: Any = None) -> Updates:
    rows = torch.as_tensor(vectors)
    ids = torch.arange(len(rows)) if ids is None else torch.as_tensor(ids)
    return Updates(rows, ids, torch.full((len(rows),), 10))


def trace(rounds: int, honest_from: int | None = None) -> Iterator[Updates]:
    """Yield the golden stream: flippers 0 1, noise 2 3, a common drift 4 5 6, poor data 7, of 20 clients."""
    rng = np.random.default_rng(11)
    mu = rng.normal(size=200)
    mu /= np.linalg.norm(mu)
    q = rng.normal(size=200)
    q -= (q @ mu) * mu
    q /= np.linalg.norm(q)
    for t in range(rounds):
        near = 0.02 * rng.normal(size=(20, 200))
        added, poor = 0.2 * rng.normal(size=(20, 200)), 0.06 * rng.normal(size=(20, 200))
        x = mu + near
        flippers = [0, 1] if honest_from is None or t < honest_from else [1]
        x[flippers] *= -1
        x[2:4] += added[2:4]
        x[4:7] += 0.8 * q
        x[7] += poor[7]
        yield updates_of(x)


def play(defense: MudHog, cohorts: Any, state: Any = None) -> tuple[list[Verdict], list[Any]]:
    """Return every round's verdict, and the state after it."""
    verdicts, states = [], [defense.init() if state is None else state]
    for cohort in cohorts:
        verdict, after = defense.aggregate(cohort, states[-1])
        verdicts.append(verdict)
        states.append(after)
    return verdicts, states[1:]


def suspects(verdict: Verdict, kind: str) -> set[int]:
    return {i for i, named in verdict.details.items() if f"suspect_{kind}" in named}


def confirmed(state: Any, kind: str) -> set[int]:
    return {i for i, record in state["clients"].items() if kind in record["since"]}


def left_in(verdict: Verdict) -> int:
    return int((verdict.weights > 0).sum())


def stream(rounds: int, clients: int = 20, size: int = 50, seed: int = 3) -> Iterator[np.ndarray]:
    """Yield like-minded updates around one direction of length 1."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=size)
    common /= np.linalg.norm(common)
    for _ in range(rounds):
        yield common + 0.02 * rng.normal(size=(clients, size))
