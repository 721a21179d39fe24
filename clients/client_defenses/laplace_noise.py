"""Laplace noise on an update, without a bound on what one client can change: no differential privacy.

Source: Zhu, Liu, Han. Deep Leakage from Gradients. NeurIPS 2019, Section 5.1 (noisy gradients, standard
deviation 1e-4 to 1e-1), arXiv:1906.08935. The attacker: Balunovic, Dimitrov, Staab, Vechev. Bayesian
Framework for Gradient Leakage. ICLR 2022 (Laplace noise: the sum of magnitudes is the likelihood),
arXiv:2111.04706
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from torch import Tensor

from ...core.contracts import BlockVisit
from .parts.noise import drawn, laplace


@dataclass(frozen=True)
class LaplaceNoise:
    """Add Laplace noise of standard deviation ``noise_std`` to every entry of an update.

    This is **not** differential privacy: nothing bounds how far one example or one client moves the update,
    so no epsilon follows from it, and none is printed. Beside a mechanism that clips it is post-processing,
    and takes nothing from what that one promises.

    Attributes:
        noise_std: The standard deviation, sqrt(2) times the distribution's scale, in the update's units, at
            least 0. The paper's is of gradients: of an update of one step of SGD, lr times that.
    """

    noise_std: float = 1e-2

    looks_at_examples: ClassVar[bool] = False
    adaptive: ClassVar[Mapping[str, object]] = {"name": "bayes", "likelihood": "laplace"}

    def __post_init__(self) -> None:
        if not (self.noise_std >= 0 and isfinite(self.noise_std)):
            raise ValueError(f"noise_std must be at least 0 and finite, got {self.noise_std}")

    @property
    def passive(self) -> bool:
        """Whether no noise is added."""
        return self.noise_std == 0

    def change(self, update: Tensor, visit: BlockVisit) -> Tensor:
        return update + drawn(visit, update, laplace, self.noise_std)
