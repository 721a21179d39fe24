"""What a defense remembers of single clients: keyed by stable id, finite, and never more than so many."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

M = TypeVar("M")


def remember(memory: Mapping[int, M], news: Mapping[int, M], most: int) -> dict[int, M]:
    """Return ``memory`` after this round's ``news``, in the order in which clients were last seen.

    Beyond ``most`` clients the ones seen longest ago are forgotten: they start again as strangers.
    """
    kept = {client_id: m for client_id, m in memory.items() if client_id not in news} | dict(news)
    return dict(list(kept.items())[max(0, len(kept) - most) :])


def stored(vector: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a copy in ``dtype``, where what is beyond its range becomes its largest number.

    A view would keep the whole cohort's matrix in memory; an infinity would make NaN of all that follows.
    """
    most = torch.finfo(dtype).max
    return vector.clamp(-most, most).to(dtype)


def check_max_clients(max_clients: int) -> None:
    """Raise ``ValueError`` unless somebody can be remembered."""
    if max_clients < 1:
        raise ValueError(f"max_clients must be at least 1, got {max_clients}")
