"""What the server sees of a round under secure aggregation: one sum, and whose messages are in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from ...clients.codecs import CODECS
from ...clients.codecs.parts.wire import encode_cohort
from ...core.contracts import CodecStreams, LinearDefense
from ...core.declarations import shows_sums_alone
from ...core.frames import public_spec
from ...core.updates import Updates, weighted_sum
from ..guarantee.release import counts_alike
from ..spec import PluginSpec

if TYPE_CHECKING:
    from ...core.layout import Layout
    from ..mail.outcome import Outcome
    from ..plan import Plan

PLAIN = PluginSpec("identity")
"""How a recorded sum is written: numbers as they are, whatever codec the messages had."""


@dataclass(frozen=True, eq=False)
class ObservedSum:
    """The sum of a round's messages.

    Attributes:
        client_ids: Whose messages are in it, ascending: those that came in time, decode and are finite.
        vector: What they add up to, each times what it counts, float32.  # [M]
        weight: The sum of what they count, above 0.
        by_examples: Whether a message counts as the examples that its client claims, so that ``weight`` is
            their number; else each counts 1, and the server is told no numbers of examples.
        buffers: The sum of their buffers, each counting 1, float32.  # [Q]
    """

    client_ids: tuple[int, ...]
    vector: Tensor
    weight: float
    by_examples: bool
    buffers: Tensor

    def frame(self, layout: Layout, round_: int, client_id: int) -> bytes:
        """Return the sum of messages of this layout as one frame, under the name of one of its clients."""
        one = torch.tensor([client_id])
        row = Updates(self.vector[None], one, torch.ones_like(one))
        spec, streams = public_spec(layout, PLAIN.name, PLAIN.options), CodecStreams(0, round_)
        return encode_cohort(CODECS.build(PLAIN.name, PLAIN.options), row, layout, spec, None, streams)[0][0]


def counts_examples(plan: Plan) -> bool:
    """Return whether the server is told how many examples are behind a sum: where they are its weights."""
    return not counts_alike(plan.defense)


def observed_sum(plan: Plan, outcome: Outcome) -> ObservedSum | None:
    """Return what the server saw of a round in the place of messages.

    None where it sees these, and where no message can be counted.
    """
    came = outcome.received
    if not shows_sums_alone(plan.privacy) or not len(came):
        return None
    counts = cast(LinearDefense, plan.defense).counts(came.num_examples)  # [K]
    vector, by_examples = outcome.sum_row, counts_examples(plan)
    if vector is None:
        vector = weighted_sum(came.vectors, counts).float()
    buffers = came.buffers.double().sum(dim=0).float()
    ids = tuple(came.client_ids.tolist())
    return ObservedSum(ids, vector, float(counts.sum()) or 1.0, by_examples, buffers)
