"""Deal out shards of the examples sorted by label.

Source: McMahan, Moore, Ramage, Hampson, Aguera y Arcas. Communication-Efficient Learning of Deep Networks
from Decentralized Data. AISTATS 2017, Section 3 ("pathological non-IID"). arXiv:1602.05629. By flwr-datasets'
``ShardPartitioner``.
"""

from dataclasses import dataclass

from .assignment import check_enough
from .base import Array
from .flower import flower_rows, flower_seed


@dataclass(frozen=True)
class Shards:
    """Sort by label (stable), cut into equal shards, and give each client some at random.

    Shards are ``n // (num_clients * shards_per_client)`` long; the few examples beyond are given to nobody.

    Attributes:
        shards_per_client: Shards each client gets, at least 1. With 2, most clients know two labels.
    """

    shards_per_client: int = 2

    def __post_init__(self) -> None:
        if self.shards_per_client < 1:
            raise ValueError(f"shards_per_client must be at least 1, got {self.shards_per_client}")

    def split(self, y: Array, groups: Array | None, num_clients: int, seed: int) -> list[Array]:
        check_enough(len(y), num_clients, self.shards_per_client)
        size = len(y) // (num_clients * self.shards_per_client)
        return flower_rows(
            lambda flower: flower.ShardPartitioner(
                num_clients, "label", self.shards_per_client, shard_size=size, seed=flower_seed(seed)
            ),
            y,
        )
