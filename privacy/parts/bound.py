"""A clipping and its bound as a mechanism composes them: who clips, what C is, and what moving it costs.

Source: Andrew, Thakkar, McMahan, Ramaswamy. Differentially Private Learning with Adaptive Clipping. NeurIPS
2021, Theorem 1: noise of z_delta on the updates and of sigma_b on a count of sensitivity 1/2 together are
one Gaussian of multiplier z, z^-2 = z_delta^-2 + (2 sigma_b)^-2. arXiv:1905.03871

An adaptive bound's memory is ``clip_norm``, the C of the next round, and ``clipped_at``, the C that clipped
the last one and scaled its noise. Between ``clip`` and ``noise`` it also holds the round's norms: they are
private, and ``noise`` lets go of them before anybody can save them.
"""

from dataclasses import dataclass
from math import floor
from typing import Any, cast

import numpy as np
from torch import Tensor

from ...core.contracts import AdaptiveClipping, Clipping, PublicFacts
from ...core.declarations import Clippings, declared
from ...core.errors import PluginError
from ...core.trees import State
from ...core.updates import Updates
from ..clippings.parts import clip_rows, finite_norms, row_norms

Choice = str | dict[str, Any]
"""A clipping as a scenario names it: by its name, or as a table of ``name`` and options."""

_COHORT_SHARE = 1 / 20  # Andrew et al.: noise on the count, over the expected cohort size
_ROUNDING = 1e-5  # what float32 may add to a norm, relatively
_GRAIN = 1e9  # ratios are rounded down to a multiple of 1 over this: equal rounds are charged equally


@dataclass(frozen=True)
class Bound:
    """A clipping, where its bound starts, and the relation under which a statistic is charged.

    Attributes:
        clipping: The plug-in.
        clip_norm: C in the first round.
        relation: As the mechanism has it. A share, less 1/2, is at most 1/2 away from nobody's; under
            ``zero_out`` the client stays and its zero update counts like any other, at a distance of 1.
    """

    clipping: Clipping
    clip_norm: float
    relation: str

    @property
    def on_clients(self) -> bool:
        """Whether honest clients clip before they send."""
        return declared(self.clipping, Clippings.on_clients)

    @property
    def _sensitivity(self) -> float:
        """By how much one client moves the statistic's sum, each share being counted less 1/2."""
        return 1.0 if self.relation == "zero_out" else 0.5

    @property
    def _adaptive(self) -> AdaptiveClipping | None:
        return cast(AdaptiveClipping, self.clipping) if declared(self.clipping, Clippings.adaptive) else None

    def init(self) -> State:
        if self._adaptive is None:
            return None
        return {"clip_norm": self.clip_norm, "clipped_at": self.clip_norm, "norms": None}

    def clipped_at(self, state: State) -> float:
        """Return the C of the round that led to ``state``; before the first one, the C that it will have."""
        return self.clip_norm if state is None else float(state["clipped_at"])

    def row_factors(self, norms: Tensor) -> Tensor | None:
        """Return what ``leave`` multiplies each row by, from its norm; None where it does more.  # [K]"""
        factors = declared(self.clipping, Clippings.factors)
        if not self.on_clients or factors is None:
            return None
        found: Tensor = factors(norms.square()[None], [1], self.clip_norm)  # [1 or L, K]
        if len(found) != 1:
            return None
        self._check_lengths(found[0] * norms, self.clip_norm)
        return found[0]

    def leave(self, updates: Updates) -> Updates:
        """Return what leaves the clients; rows with NaN or infinity stay, for the server's finite check."""
        if not self.on_clients:
            return updates
        norms = row_norms(updates.vectors)  # [K]
        vectors = self.clipping.shorten(updates, norms, self.clip_norm)
        if declared(self.clipping, Clippings.factors) is None:  # else ``row_factors`` has it checked
            self._check_lengths(row_norms(vectors), self.clip_norm)
        return updates.with_vectors(vectors)

    def enter(self, updates: Updates, state: State) -> tuple[Updates, State]:
        """Return what the server lets in. Raises ``ValueError`` on rows that are not finite."""
        if self.on_clients:
            return updates.with_vectors(clip_rows(updates.vectors, self.clip_norm)), state
        norms = finite_norms(updates.vectors)  # [K]
        c = self.clip_norm if self._adaptive is None else float(state["clip_norm"])
        vectors = self.clipping.shorten(updates, norms, c)
        self._check_lengths(row_norms(vectors), c)
        if self._adaptive is None:
            return updates.with_vectors(vectors), state
        return updates.with_vectors(vectors), {"clip_norm": c, "clipped_at": c, "norms": norms}

    def send(self, updates: Updates) -> Updates:
        """Return what leaves clients whom no server clips again.

        Raises:
            PluginError: The clipping, one from outside the tree, leaves an update longer than C.
        """
        sent = self.leave(updates)
        self._check_lengths(row_norms(sent.vectors), self.clip_norm)
        return sent

    def _check_lengths(self, norms: Tensor, clip_norm: float) -> None:
        """Refuse norms [K] above C: noise and epsilon are made for C. Broken rows are others' business."""
        longest = float(norms[norms.isfinite()].max()) if bool(norms.isfinite().any()) else 0.0
        if longest > clip_norm * (1 + _ROUNDING):
            name = type(self.clipping).__name__
            raise PluginError(
                f"clipping {name} leaves an update of norm {longest:.6g}, above C = {clip_norm:.6g}"
            )

    def check(self, noise_multiplier: float) -> None:
        """Raise ``ValueError`` if the noise asked for on the statistic alone costs more than z allows."""
        if self._adaptive is not None and self._adaptive.count_noise_std is not None:
            self.model_multiplier(noise_multiplier, 1.0)

    def count_noise_std(self, noise_multiplier: float, expected_size: float) -> float:
        """Return the standard deviation of the noise on the statistic's sum; 0 where there is none."""
        if self._adaptive is None:
            return 0.0
        std = self._adaptive.count_noise_std
        if std is None:
            std = max(expected_size * _COHORT_SHARE, 2 * self._sensitivity * noise_multiplier)
            return std if noise_multiplier > 0 else 0.0
        return std

    def statistic_multiplier(self, noise_multiplier: float, expected_size: float) -> float | None:
        """Return the noise on the statistic over its sensitivity; None where there is no statistic."""
        if self._adaptive is None:
            return None
        return self.count_noise_std(noise_multiplier, expected_size) / self._sensitivity

    def model_multiplier(self, noise_multiplier: float, expected_size: float) -> float:
        """Return z_delta, what is left for the model's noise of a joint multiplier z; z without statistic.

        Raises:
            ValueError: The noise on the statistic alone costs more than z allows.
        """
        statistic = self.statistic_multiplier(noise_multiplier, expected_size)
        if not statistic or noise_multiplier == 0:
            return noise_multiplier
        if statistic <= noise_multiplier:
            raise ValueError(
                f"count_noise_std must be above {noise_multiplier * self._sensitivity:.6g} for "
                f"noise_multiplier {noise_multiplier:.6g}, or 0 (which proves nothing), "
                f"got {statistic * self._sensitivity:.6g}"
            )
        return joint(noise_multiplier, statistic, sign=-1)

    def charged(self, noise_multiplier: float, expected_size: float, ratio: float) -> float | None:
        """Return the multiplier of the whole release; None where the statistic went out bare.

        Args:
            noise_multiplier: z, joint, at the sensitivity of a mean with fixed denominator.
            expected_size: m.
            ratio: That sensitivity over the one that the defense really has.
        """
        statistic = self.statistic_multiplier(noise_multiplier, expected_size)
        if statistic is None:
            return noise_multiplier * ratio
        if statistic == 0:
            return None
        ratio = floor(ratio * _GRAIN) / _GRAIN
        model = self.model_multiplier(noise_multiplier, expected_size) * ratio
        if ratio == 1 or model == 0:
            return noise_multiplier * ratio
        return joint(model, statistic)

    def move(
        self,
        noise_multiplier: float,
        expected_size: float,
        num_parameters: int,
        state: State,
        generator: np.random.Generator,
    ) -> State:
        """Return the memory with the next C, and without the norms."""
        if self._adaptive is None or state["norms"] is None:
            return state
        z = self.model_multiplier(noise_multiplier, expected_size)
        std = self.count_noise_std(noise_multiplier, expected_size)
        facts = PublicFacts(self.clipped_at(state), z, num_parameters, expected_size, std)
        shares = self._adaptive.statistic(state["norms"], facts)  # [K]
        if not bool(((shares >= 0) & (shares <= 1)).all()):
            name = type(self.clipping).__name__
            raise PluginError(f"clipping {name}: statistic must lie between 0 and 1, got {shares.tolist()}")
        total = float((shares - 0.5).sum())
        if std:
            total += std * float(generator.standard_normal())
        mean = total / expected_size + 0.5  # without limits, which would leave the noise a mean of its own
        return {**state, "clip_norm": float(self._adaptive.move(mean, facts)), "norms": None}


def joint(one: float, other: float, sign: int = 1) -> float:
    """Return the multiplier of two Gaussian releases together; with ``sign = -1``, of what one leaves."""
    return float((one**-2 + sign * other**-2) ** -0.5)


def make_bound(choice: Choice, clip_norm: float, relation: str) -> Bound:
    """Return the bound that a mechanism's options describe.

    Raises:
        PluginError: No such clipping, or options that it does not take.
    """
    return Bound(make_clipping(choice), clip_norm, relation)


def make_clipping(choice: Choice) -> Clipping:
    """Return the clipping that a mechanism's option names.

    Raises:
        PluginError: No such clipping, or options that it does not take.
    """
    from .. import CLIPPINGS

    return CLIPPINGS.chosen(choice)
