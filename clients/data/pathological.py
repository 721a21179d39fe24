"""Give each client examples of a fixed number of classes.

Source: Li, Diao, Chen, He. Federated Learning on Non-IID Data Silos: An Experimental Study. ICDE 2022,
Section IV-A ("quantity-based label imbalance", #C = k). arXiv:2102.02079. By flwr-datasets'
``PathologicalPartitioner``, whose "first-deterministic" mode is the authors' rule.
"""

from dataclasses import dataclass

import numpy as np

from .assignment import check_enough
from .base import Array
from .flower import flower_rows, flower_seed


@dataclass(frozen=True)
class Pathological:
    """Client i gets class i modulo C and others at random; a class is cut evenly among those who got it.

    With fewer clients than classes, classes that nobody drew are given to nobody.

    Attributes:
        classes_per_client: Classes each client knows, between 1 and C (the paper's k).
    """

    classes_per_client: int = 2

    def __post_init__(self) -> None:
        if self.classes_per_client < 1:
            raise ValueError(f"classes_per_client must be at least 1, got {self.classes_per_client}")

    def split(self, y: Array, groups: Array | None, num_clients: int, seed: int) -> list[Array]:
        k = self.classes_per_client
        check_enough(len(y), num_clients, k)
        if k > (classes := len(np.unique(y))):
            raise ValueError(f"classes_per_client must be at most {classes}, the number of classes, got {k}")
        try:
            return flower_rows(
                lambda flower: flower.PathologicalPartitioner(
                    num_clients,
                    "label",
                    k,
                    class_assignment_mode="first-deterministic",
                    seed=flower_seed(seed),
                ),
                y,
                seed,
            )
        except ValueError as error:
            raise ValueError(
                f"some class has fewer examples than clients that drew it ({num_clients} clients with {k} "
                f"classes each, smallest class {np.unique(y, return_counts=True)[1].min()}); take fewer"
            ) from error
