"""Audit a mechanism by itself: one canary, many draws, with it and without.

Source: Jagielski, Ullman, Oprea. Auditing Differentially Private Machine Learning. NeurIPS 2020,
arXiv:2006.07709 (lower bounds from two samples); the worst-case neighbours are Gauntlet's own.

Use it at a noise multiplier of 2 or more over all rounds: what 1e5 draws can certify stays near 5, so that
at multiplier 1 even half the noise is only just caught.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Defense, Privacy, Release
from ...core.declarations import Defenses, Mechanisms, declared
from ...core.seeds import generator
from ...core.trees import State
from ...core.updates import Updates
from ..accounting.curves import gaussian_epsilon
from .auditing import two_sample_epsilon

_OTHERS = 4  # honest clients beside the canary
_TOO_LONG = 1e4  # what everybody would like to send, in units of the clip norm
_CLAIMED_EXAMPLES = 10_000  # the canary's: a mean weighted by examples is nearly the canary alone


@dataclass(frozen=True)
class MechanismAudit:
    """What a mechanism claims, and what its draws refute.

    Attributes:
        claimed: Epsilon that follows from its events, without amplification; None where it claims none.
        epsilon_low: Lower bound from the draws.
    """

    claimed: float | None
    epsilon_low: float

    @property
    def refuted(self) -> bool:
        """Whether the mechanism gives away more than it claims."""
        return self.claimed is not None and self.epsilon_low > self.claimed


def audit_mechanism(
    mechanism: Privacy,
    defense: Defense | None = None,
    *,
    delta: float = 1e-5,
    rounds: int = 2,
    draws: int = 100_000,
    alpha: float = 0.05,
    seed: int = 0,
) -> MechanismAudit:
    """Return a lower bound on the epsilon of clipping, averaging and noising, beside what they claim.

    In a round all honest clients push one way and the canary the other, as far as clipping lets them; the
    directions turn from round to round, so that noise which comes again cancels. Under central trust the
    noise of many coordinates stands for many draws; under local trust, many clients do.

    Args:
        mechanism: What to audit, with a noise multiplier.
        defense: How the server averages; by default the sum over the expected size of a cohort.
        delta: For which epsilon is asked, between 0 and 1.
        rounds: Rounds in which the canary takes part, at least 1; below 2 noise that comes again is not seen.
        draws: Draws with the canary, and as many without, at least 2.
        alpha: Probability that the bound may fail.
        seed: Of all draws.

    Raises:
        ValueError: A mechanism without a clip norm, or whose noise its server never adds.
    """
    clip_norm = declared(mechanism, Mechanisms.clip_norm) or declared(mechanism, Mechanisms.initial_clip_norm)
    if clip_norm is None or mechanism.trust_model not in ("central", "local"):
        raise ValueError(
            "only a central or local mechanism with a clip_norm can be audited, "
            f"got trust_model '{mechanism.trust_model}' and clip_norm {clip_norm}"
        )
    case = _Case(mechanism, defense, float(clip_norm), rounds, draws, seed)
    release = case.central if mechanism.trust_model == "central" else case.local
    with_it, _ = release("with")
    without, events = release("without")
    multipliers = [e.noise_multiplier for e in events if isinstance(e, Release)]
    relations = {e.relation for e in events if isinstance(e, Release)}
    claimed = None
    if len(multipliers) == rounds:
        factor = 4.0 if relations == {"replace_one"} else 1.0
        claimed = gaussian_epsilon(sum(factor / z**2 for z in multipliers), delta)
    return MechanismAudit(claimed, two_sample_epsilon(with_it, without, delta, alpha))


@dataclass(frozen=True)
class _Case:
    mechanism: Privacy
    defense: Defense | None
    clip_norm: float
    rounds: int
    draws: int
    seed: int

    def central(self, world: str) -> tuple[np.ndarray[Any, Any], list[Any]]:
        """Return draws of what the server releases, turned so that the canary pushes up, and the events."""
        state, memory = self.mechanism.init(), self.defense.init() if self.defense else None
        total, events = np.zeros(self.draws), []
        for t in range(self.rounds):
            updates = self._cohort(world, -1.0 if t % 2 else 1.0)
            sent = self.mechanism.privatize(updates, self._streams(world, t))
            clipped, state = self.mechanism.clip(sent, state)
            mean, memory = self._average(clipped, memory)
            noised, state = self.mechanism.noise(
                mean.expand(self.draws).clone(),
                updates.expected_size,
                state,
                generator(self.seed, f"audit {world}", t),
            )
            total += (-1.0 if t % 2 else 1.0) * noised.double().numpy()
            events.append(self.mechanism.event(self._sensitivity(), updates.expected_size, state))
        return total / sqrt(self.rounds), events

    def local(self, world: str) -> tuple[np.ndarray[Any, Any], list[Any]]:
        """Return draws of what one client sends, turned likewise, and the events: each row is a client."""
        total, events = np.zeros(self.draws), []
        for t in range(self.rounds):
            up = -1.0 if t % 2 else 1.0
            value = (1.0 if world == "with" else -1.0) * up * _TOO_LONG * self.clip_norm
            ids = torch.arange(self.draws)
            wishes = Updates(torch.full((self.draws, 1), value), ids, torch.ones_like(ids))
            sent = self.mechanism.privatize(wishes, self._streams(world, t))
            total += up * sent.vectors[:, 0].double().numpy()
            events.append(self.mechanism.event(None, 1.0, self.mechanism.init()))
        return total / sqrt(self.rounds), events

    def _streams(self, world: str, t: int) -> Callable[[int], np.random.Generator]:
        return lambda client_id: generator(self.seed, f"audit {world}", t, client_id)

    def _cohort(self, world: str, up: float) -> Updates:
        """Return everybody else, and the canary or what its neighbour world holds in its place."""
        relation = declared(self.mechanism, Mechanisms.relation)
        instead = {"zero_out": [0.0], "replace_one": [-up]}.get(relation, [])
        canary = [up] if world == "with" else instead
        rows = torch.tensor([*[-up] * _OTHERS, *canary])[:, None] * _TOO_LONG * self.clip_norm
        examples = [1] * _OTHERS + [_CLAIMED_EXAMPLES] * len(canary)
        return Updates(rows, torch.arange(len(rows)), torch.tensor(examples), float(_OTHERS + 1))

    def _average(self, updates: Updates, memory: State) -> tuple[Tensor, State]:
        if self.defense is None:
            return updates.vectors.double().sum(dim=0).float() / updates.expected_size, memory
        verdict, memory = self.defense.aggregate(updates, memory)
        return verdict.aggregate, memory

    def _sensitivity(self) -> float | None:
        size = float(_OTHERS + 1)
        if self.defense is None:
            return self.clip_norm / size
        sensitivity = declared(self.defense, Defenses.sensitivity)
        moved: float | None = None if sensitivity is None else sensitivity(self.clip_norm, size)
        return moved
