"""What Flower's nodes would send for a cohort of updates, without a run of Flower."""

from typing import Any

import numpy as np
import torch
from flwr.app import (
    DEFAULT_TTL,
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    Metadata,
    MetricRecord,
    RecordDict,
)

from gauntlet.core.layout import Layout, Slot
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Context, Updates
from gauntlet.server.flower import GauntletStrategy

LAYOUT = Layout((Slot("weight", (3, 4), 0), Slot("bias", (4,), 12), Slot("scale", (), 16)))
SIZE = LAYOUT.num_parameters


def updates_of(cohort_size: int = 11, round_: int = 0) -> Updates:
    """Return a cohort in a round, with parameters that are not 0 and unequal numbers of examples."""
    stream = generator(3, "flower test", round_)
    vectors = torch.from_numpy(stream.standard_normal((cohort_size, SIZE))).float()
    params = torch.from_numpy(stream.standard_normal(SIZE)).float()
    ids, counts = torch.arange(cohort_size) * 7 + 2, torch.arange(cohort_size) % 4 + 1
    return Updates(vectors, ids, counts, context=Context(round_, params, LAYOUT, seed=0))


def message(content: RecordDict, node_id: int) -> Message:
    metadata = Metadata(0, "", node_id, 0, "", "", 0.0, DEFAULT_TTL, MessageType.TRAIN)
    return Message(content=content, metadata=metadata)


def record(vector: torch.Tensor) -> ArrayRecord:
    return ArrayRecord({k: Array(v.numpy().copy()) for k, v in LAYOUT.views(vector).items()})


def replies_of(updates: Updates) -> list[Message]:
    rows = zip(updates.vectors, updates.client_ids.tolist(), updates.num_examples.tolist(), strict=True)
    return [
        message(
            RecordDict(
                {
                    "a": record(updates.context.params + row),
                    "m": MetricRecord({"num-examples": n, "loss": 2.0}),
                }
            ),
            node_id,
        )
        for row, node_id, n in rows
    ]


def flat(arrays: ArrayRecord) -> torch.Tensor:
    return LAYOUT.flatten({k: torch.from_numpy(np.asarray(a.numpy())) for k, a in arrays.items()})


def started(defense: Any, params: torch.Tensor, round_: int = 1, **options: Any) -> GauntletStrategy:
    """Return a strategy that has sent ``params`` out to nobody: with fraction 0 no grid is asked."""
    strategy = GauntletStrategy(defense, fraction_train=0.0, **options)
    strategy.configure_train(round_, record(params), ConfigRecord(), None)
    return strategy
