"""Norm clipping and weak noise: the mean of updates that are no longer than a bound.

Source: Sun, Kairouz, Suresh, McMahan. Can You Really Backdoor Federated Learning? 2019 (norm
thresholding, weak differential privacy). arXiv:1911.07963. The median of the round's norms as the bound
is this package's own choice.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..core.contracts import Verdict
from ..core.seeds import normal
from ..core.updates import Updates, row_norms, weighted_sum
from .clipping import ClipNorm, check_clip_norm, clip_factors
from .draws import stream
from .mean import check_weighting, client_shares


@dataclass(frozen=True)
class NormClipping:
    """Average the updates, each scaled down to an L2 norm of at most ``clip_norm``, and add noise.

    The weights say what each update was multiplied with; the scores are the norms. The noise blurs
    backdoors; it proves no privacy: see the privacy mechanisms.

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

    exempt: ClassVar[tuple[str, ...]] = ("equal_updates_come_back_unchanged",)

    def __post_init__(self) -> None:
        check_clip_norm(self.clip_norm)
        check_weighting(self.weighting)
        if not self.noise_std >= 0:
            raise ValueError(f"noise_std must be at least 0, got {self.noise_std}")

    def init(self) -> int:
        """Return the number of rounds so far."""
        return 0

    def aggregate(self, updates: Updates, state: int) -> tuple[Verdict, int]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state + 1
        norms = row_norms(updates.vectors)
        weights = clip_factors(norms, self.clip_norm) * client_shares(updates, self.weighting)
        aggregate = weighted_sum(updates.vectors, weights)
        if self.noise_std:
            aggregate += normal(stream(updates, "norm_clipping", state), len(aggregate), self.noise_std)
        by_client = dict(zip(updates.client_ids.tolist(), norms.tolist(), strict=True))
        return Verdict(aggregate.to(updates.vectors.dtype), weights, scores=by_client), state + 1
