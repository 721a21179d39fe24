"""Altered examples: rebuild what a client trained on, and then undo what its defense made of its examples.

Source: the adaptive attackers of ATS (Balunovic, Dimitrov, Staab, Vechev. Bayesian Framework for Gradient
Leakage. ICLR 2022, arXiv:2111.04706), and of mixup and InstaHide (Huang, Gupta, Song, Li, Arora. Evaluating
Gradient Inversion Attacks and Defenses in Federated Learning. NeurIPS 2021, Section 3, arXiv:2112.00059), of
which both take the two steps. How examples are undone is said by the defense.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from ...core.contracts import LeakageAttack
from ...core.declarations import LeakageAttacks, declared
from ...core.errors import PluginError
from ...core.guards import guard
from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .parts.requirements import least_levels, refuse_unmet, rounds_of, told

_PROOFS = ("certificate", "certified", "predicted_mse")


@dataclass(frozen=True)
class AlteredExamples:
    """Rebuild each round's altered examples by another attack; return what the defense makes of them.

    For client defenses that alter examples and say how that is undone (``ats``, ``mixup``, ``instahide``).
    Of several rounds all are rebuilt, one after the other: for a client whose step goes over all of its
    examples, since the same ones must be behind each round's. Passive, and needs what the attack inside does,
    and the defense's name. What that attack proves is proved of the altered examples alone: where it
    converges, ``stopped`` is ``not_certified``. Labels are those that the last round's loss had. ``cost`` is
    the attack's, in the last round; ``details``: ``misfit``, how far what the defense would make of the
    result is from what was rebuilt (RMS, in units of the inputs), ``rounds``, and of all rounds together
    ``closures``.

    Attributes:
        attack: The attack inside, by name or as a table of ``name`` and its options; it must take one round.
    """

    attack: str | dict[str, Any] = "inverting_gradients"

    most_rounds: ClassVar[int] = 1000

    def __post_init__(self) -> None:
        if rounds_of(self._inner) != (1, 1):
            raise ValueError(f"attack must be one that takes one round alone, got {self.attack!r}")
        if declared(self._inner, LeakageAttacks.only).get("server") is not None:
            raise ValueError(f"attack must be passive, got {self.attack!r}")

    @cached_property
    def _inner(self) -> LeakageAttack:
        from . import LEAKAGE_ATTACKS

        inner = LEAKAGE_ATTACKS.chosen(self.attack)
        name = self.attack if isinstance(self.attack, str) else self.attack["name"]
        return guard(inner, f"leakage attack '{name}'")

    @property
    def requires(self) -> Mapping[str, Level | str]:
        return {**least_levels(self._inner), "client_defense": Level.EXACT}

    @property
    def only(self) -> Mapping[str, object]:
        return declared(self._inner, LeakageAttacks.only)

    @property
    def assumes(self) -> Mapping[str, object]:
        return declared(self._inner, LeakageAttacks.assumes)

    @property
    def uses(self) -> tuple[str, ...]:
        return declared(self._inner, LeakageAttacks.uses)

    @property
    def lossless(self) -> bool:
        return declared(self._inner, LeakageAttacks.lossless)

    def check(self, observation: Observation) -> None:
        if observation.undo is None:
            named = observation.knowledge.client_defense
            raise PluginError(
                "AlteredExamples works behind a client defense that says how its altered examples are undone "
                f"(ats, mixup, instahide), got client_defense = {named!r}"
                + "; what an earlier version recorded does not say it"
                * (named not in (None, "none"))
            )
        refuse_unmet(self._inner, told(self._inner, observation))

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        found = list[Reconstruction]()
        for observation in observations:
            refuse_unmet(self, observation)
            found.append(self._inner.reconstruct([told(self._inner, observation)], generator))
        last, undo = found[-1], observations[-1].undo
        assert undo is not None, "refuse_unmet saw one"
        closures = sum(one.details.get("closures", 0.0) for one in found)
        details = {**last.details, "closures": closures, "rounds": float(len(found))}
        finite = [one.x for one in found if bool(one.x.isfinite().all())]
        if not bool(last.x.isfinite().all()):
            return Reconstruction(last.x, last.y, last.cost, last.trace, last.stopped, details)
        x, misfit = _undone(undo, finite, observations[-1], generator)
        details = {name: value for name, value in details.items() if name not in _PROOFS} | {"misfit": misfit}
        stopped = "not_certified" if last.stopped == "converged" else last.stopped
        return Reconstruction(x, last.y, last.cost, last.trace, stopped, details)


def _undone(
    undo: Any, seen: Sequence[Tensor], observation: Observation, generator: np.random.Generator
) -> tuple[Tensor, float]:
    """Return what a defense makes of what was rebuilt, whose values are brought into their range before."""
    low, high = observation.value_range
    x, misfit = undo([one.detach().clamp(low, high) for one in seen], observation.value_range, generator)
    return x, misfit
