"""Scales that a cohort agrees on: what clients stated in the last round that counted, in one number a tensor.

Wen et al. (TernGrad, Section 3.3) exchange scales before they code, which is one more trip a round. Here
clients state theirs in their frames, and the next round codes with what was agreed: a round late, and clipped
there.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ....core.trees import State

CAP = 3.0
"""How many medians of the clients' scales the agreed one is at most, if it is capped."""


def nothing_stated() -> State:
    """Return the state before the first round: of each client its scales, not yet counted, and counted."""
    return {"stated": {}, "counted": {}}


def stated(state: State, client_ids: Sequence[int], scales: Tensor) -> State:
    """Return the state after messages in which clients state these scales [K, T]."""
    rows = {client: row.clone() for client, row in zip(client_ids, scales, strict=True)}
    return {**state, "stated": {**state["stated"], **rows}}


def counted(state: State, counted_ids: Sequence[int]) -> State:
    """Return the state after a round: its counted messages' scales take the place of the last round's."""
    known = [client for client in counted_ids if client in state["stated"]]
    rest = {client: row for client, row in state["stated"].items() if client not in set(known)}
    rows = {client: state["stated"][client] for client in known}
    return {"stated": rest, "counted": rows or state["counted"]}


def agreed(state: State, capped: bool) -> Tensor | None:
    """Return the largest counted scale of each tensor [T], at most 3 medians if ``capped``; None before any.

    Clients with fewer tensors than others have no say.
    """
    rows = list(state["counted"].values())
    if not rows:
        return None
    most = max(map(len, rows))
    scales = torch.stack([row for row in rows if len(row) == most])
    largest = scales.amax(dim=0)
    return torch.minimum(largest, CAP * scales.quantile(0.5, dim=0)) if capped else largest
