"""Sums of clients' messages over some rounds, by client id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping


def with_round(before: Mapping[str, Tensor] | None, ids: Tensor, messages: Tensor) -> dict[str, Tensor]:
    """Return the sums with one more round in them.

    Args:
        before: What this function returned in the rounds before; None at first.
        ids: Whose messages came, int64, each once.  # [K]
        messages: What came, float32.  # [K, P]

    Returns:
        ``ids``, ascending [R]; ``times``, in how many rounds each one came, int64 [R]; ``sums`` [R, P].
    """
    times = torch.ones_like(ids)
    if before is not None:
        ids, times = torch.cat([before["ids"], ids]), torch.cat([before["times"], times])
        messages = torch.cat([before["sums"], messages])
    known, place = torch.unique(ids, return_inverse=True)
    sums = messages.new_zeros(len(known), messages.shape[1]).index_add_(0, place, messages)
    return {"ids": known, "times": torch.zeros_like(known).index_add_(0, place, times), "sums": sums}
