"""Skew the sizes and leave the labels IID.

Source: Li, Diao, Chen, He. Federated Learning on Non-IID Data Silos: An Experimental Study. ICDE 2022,
Section IV-C ("quantity skew", the law ``dirichlet``). arXiv:2102.02079. The laws by client number are
flwr-datasets' ``LinearPartitioner``, ``SquarePartitioner`` and ``ExponentialPartitioner``.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ...core.seeds import generator
from .assignment import check_enough
from .base import Array
from .flower import flower_rows

_PARTITIONERS = {
    "linear": "LinearPartitioner",
    "square": "SquarePartitioner",
    "exponential": "ExponentialPartitioner",
}


@dataclass(frozen=True)
class Quantity:
    """Shuffle all examples and cut them into parts of unequal sizes, at least one example each.

    Attributes:
        law: Sizes in proportion to i, i^2 or e^i for client i = 1 ... N (rounded down, the rest to the last),
            or ``"dirichlet"``: one example each and the others in proportion to a draw of Dir(alpha).
        alpha: Concentration of the drawn sizes, at least 0.001. The other laws do not use it.
    """

    law: Literal["linear", "square", "exponential", "dirichlet"] = "dirichlet"
    alpha: float = 0.5

    complete: ClassVar[bool] = True
    label_free: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.law not in (*_PARTITIONERS, "dirichlet"):
            raise ValueError(f"law must be one of {', '.join(_PARTITIONERS)}, dirichlet; got '{self.law}'")
        if not 0.001 <= self.alpha < np.inf:
            raise ValueError(f"alpha must be at least 0.001 and finite, got {self.alpha}")

    def split(self, y: Array, groups: Array | None, num_clients: int, seed: int) -> list[Array]:
        check_enough(len(y), num_clients)
        if self.law == "dirichlet":
            return self._drawn(len(y), num_clients, generator(seed, "partition"))
        try:
            return flower_rows(lambda flower: getattr(flower, _PARTITIONERS[self.law])(num_clients), y, seed)
        except ValueError as error:
            raise ValueError(
                f"sizes by the {self.law} law leave some of {num_clients} clients without any of {len(y)} "
                "examples; take fewer clients or a milder law"
            ) from error

    def _drawn(self, num_examples: int, num_clients: int, rng: np.random.Generator) -> list[Array]:
        p = rng.dirichlet(np.full(num_clients, self.alpha))  # [N]
        cuts = (np.cumsum(p) * (num_examples - num_clients)).astype(np.int64) + np.arange(1, num_clients + 1)
        return [np.sort(rows) for rows in np.split(rng.permutation(num_examples), cuts[:-1])]
