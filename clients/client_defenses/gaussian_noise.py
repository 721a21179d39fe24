"""Gaussian noise on an update, without a bound on what one client can change: no differential privacy.

Source: Zhu, Liu, Han. Deep Leakage from Gradients. NeurIPS 2019, Section 5.1 (noisy gradients, standard
deviation 1e-4 to 1e-1), arXiv:1906.08935. The attacker: Balunovic, Dimitrov, Staab, Vechev. Bayesian
Framework for Gradient Leakage. ICLR 2022 (Gaussian noise: the squared distance is the likelihood),
arXiv:2111.04706
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from torch import Tensor

from ...core.contracts import BlockVisit
from .parts.noise import drawn, gaussian


@dataclass(frozen=True)
class GaussianNoise:
    """Add N(0, noise_std^2) to every entry of an update.

    This is **not** differential privacy: nothing bounds how far one example or one client moves the update,
    so no epsilon follows from it, and none is printed; ``privacy = "gaussian"`` clips, and ``dp_sgd`` clips
    each example. Beside one of these it is post-processing, and takes nothing from what they promise.

    Attributes:
        noise_std: sigma, in the update's units, at least 0. The paper's is of gradients: of an update of one
            step of SGD, lr times that.
    """

    noise_std: float = 1e-2

    looks_at_examples: ClassVar[bool] = False
    adaptive: ClassVar[Mapping[str, object]] = {"name": "bayes", "likelihood": "gaussian"}

    def __post_init__(self) -> None:
        if not (self.noise_std >= 0 and isfinite(self.noise_std)):
            raise ValueError(f"noise_std must be at least 0 and finite, got {self.noise_std}")

    @property
    def passive(self) -> bool:
        """Whether no noise is added."""
        return self.noise_std == 0

    def change(self, update: Tensor, visit: BlockVisit) -> Tensor:
        return update + drawn(visit, update, gaussian, self.noise_std)
