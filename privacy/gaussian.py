"""Central differential privacy for clients: clip every update, add Gaussian noise to their mean.

Source: McMahan, Ramage, Talwar, Zhang. Learning Differentially Private Recurrent Language Models.
ICLR 2018, Algorithm 1 with the fixed-denominator estimator. arXiv:1710.06963
Clip norms that move: Andrew, Thakkar, McMahan, Ramaswamy. Differentially Private Learning with Adaptive
Clipping. NeurIPS 2021. arXiv:1905.03871
"""

from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from ..core.contracts import NoGuarantee, Release
from ..core.seeds import Streams, normal
from ..core.trees import State
from ..core.updates import Updates
from .parts.bound import Bound, Choice, make_bound
from .parts.budget import check_budget, known_multiplier


@dataclass(frozen=True)
class Gaussian:
    """Clip, and let a trusted server noise the mean of the clipped updates.

    The noise on the sum has standard deviation z * C; on the mean it is divided by the public, expected
    cohort size, never by the number of clients that came. The guarantee holds against whoever sees the
    released models, not against the server.

    With a constant bound clients clip, and the server clips again. Where the bound moves, or needs to know
    the layers, the server clips alone, and an honest-but-curious server sees whole updates: it is trusted
    with them anyway, and what it counts for the next bound is then what it received, not what a client
    claims. The C that clips a round also scales its noise; the noised statistic that moves C is charged with
    it: together they cost what one Gaussian of multiplier z costs, so the model gets a little more noise.

    Attributes:
        clip_norm: C, in units of the update's L2 norm, above 0. Where ``clipping`` moves it, the first C.
        noise_multiplier: Noise standard deviation over ``clip_norm`` (z), at least 0. 0 clips only, and
            proves nothing. None where it follows from ``epsilon``.
        epsilon: What the whole run may cost, above 0, instead of ``noise_multiplier``.
        delta: The probability that epsilon may fail, between 0 and 1; should be below 1 over the number
            of clients.
        relation: What neighbours differ in: a client that is there or not (``add_remove``), whose update
            is zero or not (``zero_out``), or who is exchanged for another (``replace_one``).
        clipping: How updates are brought under C: ``fixed``, ``quantile``, ``moo``, ``autos``, ``autov``,
            ``psac``, ``per_layer`` or a plug-in of yours; a table of ``name`` and options, or the name alone.
    """

    clip_norm: float
    noise_multiplier: float | None = None
    epsilon: float | None = None
    delta: float | None = None
    relation: Literal["add_remove", "zero_out", "replace_one"] = "add_remove"
    clipping: Choice = "fixed"

    unit: ClassVar[str] = "client"
    trust_model: ClassVar[str] = "central"

    @property
    def settled(self) -> bool:
        """Whether ``clip`` changes neither honest messages nor the state, so that workers may sum them."""
        return self._bound.on_clients

    def __post_init__(self) -> None:
        check_budget(self.clip_norm, self.noise_multiplier, self.epsilon, self.delta)
        allowed = ("add_remove", "zero_out", "replace_one")
        if self.relation not in allowed:
            raise ValueError(f"relation must be one of {', '.join(allowed)}, got {self.relation!r}")
        if self.noise_multiplier is not None:
            self._bound.check(self.noise_multiplier)

    @cached_property
    def _bound(self) -> Bound:
        return make_bound(self.clipping, self.clip_norm, self.relation)

    @property
    def server_clips_alone(self) -> bool:
        """Whether honest clients send their updates unclipped."""
        return not self._bound.on_clients

    def init(self) -> State:
        return self._bound.init()

    def clipped_at(self, state: State) -> float:
        """Return the C that clipped the round that led to ``state``, and scaled its noise."""
        return self._bound.clipped_at(state)

    def statistic_multiplier(self, expected_size: float) -> float | None:
        """Return the noise over the sensitivity of what moves C; None where nothing does."""
        return self._bound.statistic_multiplier(known_multiplier(self.noise_multiplier), expected_size)

    def noise_std(self, expected_size: float, state: State = None) -> float:
        """Return the standard deviation of the noise on the mean, in the update's units."""
        z = self._bound.model_multiplier(known_multiplier(self.noise_multiplier), expected_size)
        return z * self.clipped_at(state) / expected_size

    def row_factors(self, norms: Tensor) -> Tensor | None:
        """Return what ``privatize`` multiplies each row by, from its norm; None where it does more.  # [K]"""
        return self._bound.row_factors(norms)

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        """Clip; a row with NaN or infinity stays, so that the server's finite check finds it."""
        return self._bound.leave(updates)

    def clip(self, updates: Updates, state: State) -> tuple[Updates, State]:
        """Clip what came. Raises ``ValueError`` on rows that are not finite."""
        return self._bound.enter(updates, state)

    def noise(
        self, aggregate: Tensor, expected_size: float, state: State, generator: np.random.Generator
    ) -> tuple[Tensor, State]:
        z, std = known_multiplier(self.noise_multiplier), self.noise_std(expected_size, state)
        if std > 0:
            aggregate = aggregate + normal(generator, len(aggregate), std).to(aggregate.device)
        return aggregate, self._bound.move(z, expected_size, len(aggregate), state, generator)

    def event(self, sensitivity: float | None, expected_size: float, state: State) -> Release | NoGuarantee:
        """Charge the noise that was added over the sensitivity that the defense really has."""
        if self.noise_std(expected_size, state) == 0:
            return NoGuarantee("no_mechanism")
        if sensitivity is None or not (isfinite(sensitivity) and sensitivity > 0):
            return NoGuarantee("aggregator")
        ratio = self.clipped_at(state) / expected_size / sensitivity
        charged = self._bound.charged(known_multiplier(self.noise_multiplier), expected_size, ratio)
        return NoGuarantee("private_clip") if charged is None else Release(charged, self.relation)
