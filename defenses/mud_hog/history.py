"""What a server remembers of each client's updates: a short window and a long sum.

Source: Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting Malicious and
Unreliable Clients in Federated Learning. ESORICS 2022, and the authors' code. arXiv:2208.10273

A memory is a dictionary from client id to that client's record. Memory is bounded by (window + 1) vectors a
client ever seen; the record of a client that is absent stays as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ...core.updates import Updates
from ..parts.memory import remember as recent
from ..parts.memory import stored

HistoryDtype = Literal["float32", "float16"]
DTYPES = {"float32": torch.float32, "float16": torch.float16}

Record = Mapping[str, Any]
"""``window`` (a list of at most L vectors, oldest first), ``long`` (the sum of all) and ``seen`` (how many);
whatever else a defense notes beside them stays."""


def remember(
    memory: Mapping[int, Record],
    updates: Updates,
    window: int,
    frozen: bool,
    dtype: HistoryDtype,
    blank: Record,
    most: int | None = None,
) -> dict[int, Record]:
    """Return the memory after these updates; clients that did not come keep theirs, untouched.

    Args:
        memory: What is remembered so far.
        updates: Who came, with what.
        window: Vectors of the short history, at least 1.
        frozen: Keep each client's first ``window`` updates for ever, instead of its last.
        dtype: How vectors are stored. Half precision saturates at 65504, and a long sum loses what is
            below a thousandth of it.
        blank: What else a new client's record holds.
        most: Clients to remember, at least 1: of more, those seen longest ago are forgotten, but for those
            that have just come. None: all.
    """
    after = dict(memory)
    kind = DTYPES[dtype]
    for client_id, vector in zip(updates.client_ids.tolist(), updates.vectors, strict=True):
        before = memory.get(client_id, {**blank, "window": [], "long": None, "seen": 0})
        short, long = before["window"], before["long"]
        if not frozen or len(short) < window:
            short = [*short, stored(vector, kind)][-window:]
        total = vector if long is None else long.to(torch.float64) + vector
        after[client_id] = {
            **before,
            "window": short,
            "long": stored(total, kind),
            "seen": before["seen"] + 1,
        }
    if most is None:
        return after
    news = {i: after[i] for i in updates.client_ids.tolist()}
    return recent(memory, news, max(most, len(news)))


def short_history(records: Sequence[Record]) -> Tensor:
    """Return the mean of each client's window, summed in float64.  # [n, P]"""
    rows = torch.empty(len(records), len(records[0]["long"]) if records else 0)
    for row, record in zip(rows, records, strict=True):
        window = record["window"]
        total = sum((vector.to(torch.float64) for vector in window[1:]), window[0].to(torch.float64))
        row.copy_(total / len(window))
    return rows


def long_history(records: Sequence[Record], mean: bool) -> Tensor:
    """Return the sum of all updates of each client, or their mean.  # [n, P]"""
    rows = torch.empty(len(records), len(records[0]["long"]) if records else 0)
    for row, record in zip(rows, records, strict=True):
        row.copy_(record["long"].to(torch.float64) / (record["seen"] if mean else 1))
    return rows


def jitters(records: Sequence[Record]) -> Tensor:
    """Return how much the updates in each client's window differ, over the square root of 2, float64.  # [n]

    The distance of the two that are most alike, so that one odd update among three makes no jitter. Noise of
    standard deviation s that is new every time makes s sqrt(P). 0 where there are no two updates.
    """
    values = torch.zeros(len(records), dtype=torch.float64)
    for row, record in enumerate(records):
        window = torch.stack(record["window"]).to(torch.float64)  # [L, P]
        if len(window) > 1:
            values[row] = torch.pdist(window).min() / 2**0.5
    return values
