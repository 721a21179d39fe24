"""What mechanisms are tried on: six clients, and what reaches the server of them."""

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import NoGuarantee, Privacy, Release
from ...core.declarations import Mechanisms, declared
from ...core.seeds import generator
from ...core.updates import Updates

EXPECTED = 10.0  # a public cohort size that no cohort here really has
CLIENTS = (2, 3, 5, 8, 13, 21)


def some_updates(scale: float = 1.0) -> Updates:
    """Return six clients: a zero update, and norms from far below to far above any clip norm."""
    lengths = torch.tensor([0.0, 1e-4, 1e-2, 1.0, 1e3, 1e8], dtype=torch.float64) * scale
    drawn = torch.from_numpy(generator(0, "contract").standard_normal((len(lengths), 301)))
    rows = drawn / drawn.norm(dim=1, keepdim=True) * lengths[:, None]
    return cohort_of(rows.float())


def cohort_of(vectors: Tensor) -> Updates:
    """Return clients with these updates.  # [K <= 6, P]"""
    ids = torch.tensor(CLIENTS[: len(vectors)], dtype=torch.int64)
    return Updates(vectors, ids, torch.arange(1, len(ids) + 1), expected_size=EXPECTED)


def streams(client_id: int) -> np.random.Generator:
    """Return a client's own stream."""
    return generator(1, "privatize", 0, client_id)


def trust(mechanism: Privacy) -> str:
    """Return the mechanism's trust model."""
    return declared(mechanism, Mechanisms.trust_model)


def server_sees(mechanism: Privacy, sent: Updates, seed: int = 0) -> Updates:
    """Return what reaches the server: the updates, or under distributed trust their sum as one row."""
    secure_sum = declared(mechanism, Mechanisms.secure_sum)
    if secure_sum is None:
        return sent
    everybody = torch.ones(len(sent), dtype=torch.bool)
    public = generator(seed, "public")
    total: Updates = secure_sum(
        sent, everybody, mechanism.init(), public, lambda i: generator(seed, "share", i)
    )[0]
    return total


def event_of(mechanism: Privacy, expected_size: float = EXPECTED) -> Release | NoGuarantee:
    """Return what a round with the plain mean of clipped updates releases."""
    clip_norm = declared(mechanism, Mechanisms.clip_norm) or 1.0
    return mechanism.event(clip_norm / expected_size, expected_size, mechanism.init())
