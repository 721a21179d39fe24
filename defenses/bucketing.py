"""Bucketing: average random small groups of clients, so that what is left differs less.

Source: Karimireddy, He, Jaggi. Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing.
ICLR 2022, Algorithm 1. arXiv:2006.09365
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..core.updates import Updates
from .parts.draws import stream
from .parts.means import group_means


@dataclass(frozen=True)
class Bucketing:
    """Shuffle the clients and replace each ``bucket_size`` in a row by their mean; the last may be fewer.

    A bucket bears its lowest client id and the sum of its clients' examples. The defense behind it sees
    K / ``bucket_size`` rows (rounded up), of which as many may be spoilt as there are malicious clients. No
    row is any single client's: in a run, a defense that remembers clients is refused behind it, and of what
    the defense says of single clients nothing is recorded.

    Attributes:
        bucket_size: Clients in a bucket (the paper's s), at least 1.
    """

    bucket_size: int = 2

    mixes_clients: ClassVar[bool] = True
    stale: ClassVar[bool] = True  # it remembers the number of rounds alone

    def __post_init__(self) -> None:
        if self.bucket_size < 1:
            raise ValueError(f"bucket_size must be at least 1, got {self.bucket_size}")

    def rows_after(self, rows: int) -> int:
        """Return the number of buckets of so many clients."""
        return -(-rows // self.bucket_size)

    def init(self) -> int:
        """Return the number of rounds so far."""
        return 0

    def transform(self, updates: Updates, state: int) -> tuple[Updates, int]:
        if len(updates) == 0:
            return updates, state + 1
        order = torch.from_numpy(stream(updates, "bucketing", state).permutation(len(updates)))
        return bucket_means(updates, order, self.bucket_size), state + 1


def bucket_means(updates: Updates, order: Tensor, bucket_size: int) -> Updates:
    """Return one row a bucket, where buckets are cut from the rows in ``order`` [K]."""
    cohort_size = len(updates)
    bucket_of = torch.empty_like(order)  # [K]
    bucket_of[order] = torch.arange(cohort_size) // bucket_size
    count = -(-cohort_size // bucket_size)
    member = bucket_of[None] == torch.arange(count)[:, None]  # [B, K]
    first = member.to(torch.uint8).argmax(dim=1)  # the first row of each bucket
    by_id = first.argsort()
    member, first = member[by_id], first[by_id]
    members = member.to(torch.uint8).argsort(
        dim=1, descending=True, stable=True
    )  # its own rows first, [B, K]
    sizes = member.sum(dim=1)
    return replace(
        updates,
        vectors=group_means(updates.vectors, members, sizes),
        client_ids=updates.client_ids[first],
        num_examples=(member * updates.num_examples).sum(dim=1),
        buffers=group_means(updates.buffers, members, sizes),
    )
