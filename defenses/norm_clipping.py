"""Norm clipping and weak noise: the mean of updates that are no longer than a bound.

Source: Sun, Kairouz, Suresh, McMahan. Can You Really Backdoor Federated Learning? 2019 (norm
thresholding, weak differential privacy). arXiv:1911.07963. The median of the round's norms as the bound
is this package's own choice.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.norms import fast_row_norms
from ..core.seeds import normal
from ..core.updates import Updates, weighted_sum
from .clipping import ClipNorm, check_clip_norm, clip_factors
from .mean import check_weighting, client_shares
from .parts.absent import over_owners
from .parts.draws import stream


@dataclass(frozen=True)
class NormClipping:
    """Average the updates, each scaled down to an L2 norm of at most ``clip_norm``, and add noise.

    The weights say what each update was multiplied with; the scores are the norms. The noise blurs
    backdoors; it proves no privacy: see the privacy mechanisms.

    A coordinate that some clients do not have is averaged over those that have it, whose weights then differ
    from one coordinate to the next and are not told. ``"median"`` compares norms for each square root of the
    coordinates that a client has, so that small models do not set the bound of large ones.

    Attributes:
        clip_norm: The bound, in units of the update's L2 norm, above 0; or ``"median"``: the median of the
            cohort's norms, so that half of the updates are clipped.
        noise_std: Standard deviation of the Gaussian noise on each coordinate of the mean, at least 0.
        weighting: ``"uniform"``: each client counts the same; ``"num_examples"``: as its (claimed)
            examples, which a liar may inflate.
    """

    clip_norm: ClipNorm = "median"
    noise_std: float = 0.0
    weighting: Literal["uniform", "num_examples"] = "uniform"

    partial: ClassVar[bool] = True
    stale: ClassVar[bool] = True  # it remembers the number of rounds alone
    exempt: ClassVar[tuple[str, ...]] = (
        "equal_updates_come_back_unchanged",
        "who_lacks_a_coordinate_has_no_say_in_it",
    )

    def __post_init__(self) -> None:
        check_clip_norm(self.clip_norm)
        check_weighting(self.weighting)
        if not 0 <= self.noise_std < inf:
            raise ValueError(f"noise_std must be at least 0 and finite, got {self.noise_std}")

    @property
    def weighs_examples(self) -> bool:
        """Whether clients weigh by the examples that they claim."""
        return self.weighting == "num_examples"

    def init(self) -> int:
        """Return the number of rounds so far."""
        return 0

    def aggregate(self, updates: Updates, state: int) -> tuple[Verdict, int]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state + 1
        norms, shares = fast_row_norms(updates.vectors), client_shares(updates, self.weighting)
        weights = self._factors(updates, norms) * shares
        aggregate: Tensor = weighted_sum(updates.vectors, weights)
        told: Tensor | None = weights
        if updates.presence is not None:
            aggregate, told = over_owners(updates, aggregate, shares), None
        if self.noise_std:
            aggregate += self._noise(updates, state)
        by_client = dict(zip(updates.client_ids.tolist(), norms.tolist(), strict=True))
        return Verdict(aggregate.to(updates.vectors.dtype), told, scores=by_client), state + 1

    def _factors(self, updates: Updates, norms: Tensor) -> Tensor:
        """Return what each update is multiplied with to fit under the bound.  # [K]"""
        if updates.presence is not None and self.clip_norm == "median":
            norms = norms / updates.presence.sizes().clamp(min=1).sqrt()
        return clip_factors(norms, self.clip_norm)

    def _noise(self, updates: Updates, state: int) -> Tensor:
        """Return the noise on the mean; none in a coordinate that nobody has.  # [P]"""
        noise = normal(stream(updates, "norm_clipping", state), updates.vectors.shape[1], self.noise_std)
        if updates.presence is None:
            return noise
        return noise.where(updates.presence.totals(torch.ones(len(updates))) > 0, 0.0)
