"""DP-SGD: clip every example's gradient and noise every local step, inside the client.

Source: Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang. Deep Learning with Differential Privacy. CCS
2016, Algorithm 1. arXiv:1607.00133
Batches without amplification: each example is in one batch of a pass, so that a pass is one Gaussian release.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from ..core.contracts import NoGuarantee, Release
from ..core.declarations import Clippings, declared
from ..core.seeds import Streams
from ..core.updates import Updates
from .parts.bound import Choice, make_clipping
from .parts.budget import check_budget, known_multiplier

BATCHES = ("poisson", "shuffle")
_ROUNDING = 1 - 2e-6  # what float32 may add to a norm


@dataclass(frozen=True)
class DpSgd:
    """Protect single examples, from the server as well: what leaves a client is already noised.

    In every local step a client draws a batch, brings each example's gradient under C, adds N(0, (z C)^2) to
    every coordinate of their sum and divides by the expected size of a batch. An empty batch is noise alone;
    an example whose gradient is not finite counts as zero. What a client sends follows from its noised steps,
    so that any defense, codec or weight keeps the guarantee.

    Neighbours differ in one example, whose gradients are zero in one of the two (``zero_out``): how many
    examples a client holds is public, and with it the sampling rate and the number of local steps. Clients
    hold different examples, so that epsilon is that of the client which spent most, each with its own rate
    and its own steps.

    Attributes:
        clip_norm: C, in units of one example's gradient, above 0.
        noise_multiplier: Standard deviation of the noise on a step's sum over ``clip_norm`` (z), at least 0.
            0 clips only, and proves nothing. None where it follows from ``epsilon``.
        epsilon: What the whole run may cost an example, above 0, instead of ``noise_multiplier``.
        delta: The probability that epsilon may fail, between 0 and 1; should be below 1 over the number of
            examples.
        clipping: How a gradient is brought under C: ``fixed``, ``autos``, ``autov``, ``psac``, ``per_layer``
            or a plug-in of yours with ``factors``; a table of ``name`` and options, or the name alone.
        batches: ``"poisson"``: each example is in a batch with probability batch_size over the client's
            examples, which amplifies privacy. ``"shuffle"``: passes over shuffled examples, as without
            privacy; charged for one release a pass, without amplification.
    """

    clip_norm: float
    noise_multiplier: float | None = None
    epsilon: float | None = None
    delta: float | None = None
    clipping: Choice = "fixed"
    batches: Literal["poisson", "shuffle"] = "poisson"

    unit: ClassVar[str] = "example"
    trust_model: ClassVar[str] = "local"
    settled: ClassVar[bool] = True
    relation: ClassVar[str] = "zero_out"
    public: ClassVar[tuple[str, ...]] = ("num_examples",)

    def __post_init__(self) -> None:
        check_budget(self.clip_norm, self.noise_multiplier, self.epsilon, self.delta)
        if self.batches not in BATCHES:
            raise ValueError(f"batches must be one of {', '.join(BATCHES)}, got {self.batches!r}")
        if declared(self._clipping, Clippings.factors) is None:
            raise ValueError(
                "clipping must be one for a single gradient (fixed, autos, autov, psac, per_layer), "
                f"got {self.clipping!r}"
            )

    @cached_property
    def _clipping(self) -> Any:
        return make_clipping(self.clipping)

    @property
    def poisson(self) -> bool:
        """Whether batches are Poisson samples."""
        return self.batches == "poisson"

    @property
    def step_noise_std(self) -> float:
        """The standard deviation of the noise on the sum of a step's clipped gradients."""
        return known_multiplier(self.noise_multiplier) * self.clip_norm

    def weigh(self, squares: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return what each example's gradient is multiplied by, [L, ...] or [1, ...] for all tensors alike.

        Args:
            squares: The squared L2 norm of every tensor of every example's gradient, finite.  # [L, ...]
            sizes: How many elements those tensors have.
        """
        factors: Tensor = self._clipping.factors(squares.double(), sizes, self.clip_norm * _ROUNDING)
        return factors.to(squares.dtype)

    def init(self) -> None:
        return None

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        """Nothing is left to do: every step of the training was private."""
        return updates

    def clip(self, updates: Updates, state: None) -> tuple[Updates, None]:
        return updates, state

    def noise(
        self, aggregate: Tensor, expected_size: float, state: None, generator: np.random.Generator
    ) -> tuple[Tensor, None]:
        return aggregate, state

    def event(self, sensitivity: float | None, expected_size: float, state: None) -> Release | NoGuarantee:
        """Return what one local step of one client releases."""
        z = known_multiplier(self.noise_multiplier)
        return Release(z, self.relation, local_steps=True) if z > 0 else NoGuarantee("no_mechanism")
