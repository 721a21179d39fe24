"""Multi-objective adaptive clipping: C where what clipping loses balances what noise costs.

Source: the idea of Ranaweera, Smith, Pathirana, Ding, Rakotoarivelo, Seneviratne. Multi-Objective
Optimization for Privacy-Utility Balance in Differentially Private Federated Learning. 2025,
arXiv:2503.21159. **A reconstruction**: Gauntlet's reading of the idea, not the authors' algorithm. Known
from the abstract: the clip norm is adapted by multi-objective optimisation. Unknown: the paper's clipping
loss, its weights and step sizes. None of its figures is claimed here.
"""

from dataclasses import dataclass
from math import exp, hypot, isfinite, sqrt
from typing import ClassVar

from torch import Tensor

from ...core.contracts import PublicFacts
from ...core.updates import Updates
from .parts import scale_rows
from .steps import check_step, within

_LONGEST = 0.5  # of a step, in log C
_MOST, _LEAST = 1 / 4, 1 / 20  # the mean share at which C rests
_WIDEST = 2.0  # cap where the shares are known exactly


@dataclass(frozen=True)
class Moo:
    """Clip to C, then take a gradient step on log C of J(C) = bias(C) + kappa * noise(C).

    With norms g_i, an expected cohort of m and P parameters, bias(C) = (1/m) sum max(g_i - C, 0)^2 is what
    clipping cuts off, noise(C) = z^2 C^2 P / m^2 the variance of the noise on the mean. J is least where the
    mean of max(g_i / C - 1, 0) is r = kappa z^2 P / m^2, the public ``ratio``. That mean depends on private
    norms: it enters as shares of a public cap S, min(1, max(g_i / C - 1, 0) / S), whose sum is noised and
    charged. C <- C exp(4 lr (s - r / S)), s being the shares' noised mean; one step is at most a factor of
    sqrt(e).

    The cap is S = r / b, where b, the mean share at which C rests, is 1/4 from r = 1/2 on. Below, a cap of 2
    would do, and b = r / 2, if the shares were known exactly. They are not: b is no less than the standard
    deviation of their mean (its noise and a Poisson cohort's size), and no less than 1/20. So the noise
    cannot drown what brings C down, and C falls by exp(-4 lr b) a round from far above. The price is paid
    where r is small and norms are spread out: C rests below the minimum of J, towards the norm that a share
    b of the updates exceeds.

    C starts at the mechanism's ``clip_norm`` and is public. A large r drives it far below the norms: then
    updates are tiny, and the server's learning rate has to make up for it.

    Attributes:
        kappa: Weight of the noise against the bias, at least 0. 1 is the mean squared error. At 0 nothing
            brings C down, and noise on the shares lets it wander upwards.
        clip_lr: Step size in log C, above 0.
        count_noise_std: Standard deviation of the noise on the sum of the clients' shares, in clients. By
            default the larger of m / 20 and z. 0 adds none, and proves nothing.
        clip_min: Least C, above 0.
        clip_max: Greatest C.
    """

    kappa: float = 0.1
    clip_lr: float = 0.2
    count_noise_std: float | None = None
    clip_min: float = 1e-9
    clip_max: float = 1e9

    adaptive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (isfinite(self.kappa) and self.kappa >= 0):
            raise ValueError(f"kappa must be finite and at least 0, got {self.kappa}")
        check_step(self.clip_lr, self.count_noise_std, self.clip_min, self.clip_max)

    def shorten(self, updates: Updates, norms: Tensor, clip_norm: float) -> Tensor:
        return scale_rows(updates.vectors, norms, clip_norm / norms, clip_norm)

    def ratio(self, facts: PublicFacts) -> float:
        """Return r = kappa z^2 P / m^2, by which noise outweighs bias."""
        return self.kappa * facts.noise_multiplier**2 * facts.num_parameters / facts.expected_size**2

    def cap(self, facts: PublicFacts) -> float:
        """Return S, the excess over C, in units of C, from which on every client counts the same."""
        r, m = self.ratio(facts), facts.expected_size
        told = hypot(facts.count_noise_std, sqrt(m) / 2) / m  # a Poisson cohort's size varies by sqrt(m)
        return r / min(_MOST, max(_LEAST, r / _WIDEST, told)) if r > 0 else _WIDEST

    def statistic(self, norms: Tensor, facts: PublicFacts) -> Tensor:
        """Return each client's excess over C as a share of the cap.  # [K]"""
        return ((norms / facts.clip_norm - 1) / self.cap(facts)).clamp(0.0, 1.0)

    def move(self, mean: float, facts: PublicFacts) -> float:
        r, cap = self.ratio(facts), self.cap(facts)
        step = self.clip_lr * (cap * mean - r) / (cap / 4)
        return within(facts.clip_norm * exp(within(step, -_LONGEST, _LONGEST)), self.clip_min, self.clip_max)
