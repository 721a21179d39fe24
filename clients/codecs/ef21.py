"""EF21: the codec inside says what changed of a client's update since what the server knows of it.

Source: Richtárik, Sokolov, Fatkhullin. EF21: A New, Simpler, Theoretically Better, and Practically Faster
Error Feedback. NeurIPS 2021. arXiv:2106.05203 (unverified; confirmed on a quadratic, where it is linear).
Cohorts: Fatkhullin, Sokolov, Gorbunov, Li, Richtárik. EF21 with Bells & Whistles. arXiv:2110.03294
(unverified).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ...core.client_rows import ids_where, rows_of, with_rows, without
from ...core.contracts import Codec, CodecContext, CodecStreams, Mismatch
from ...core.declarations import Codecs, declared
from ...core.errors import FrameError
from ...core.frames import Record
from ...core.layout import Layout
from ...core.trees import State
from ...core.updates import Updates
from .parts import inside


@dataclass(frozen=True)
class EF21:
    """Send c = C(u - h), h the sum of a client's counted c; it is read as H + c, H the mean of all h.

    The server alone needs H, and steps along it once a round's messages are counted. A client that was not
    drawn, or whose message was lost, keeps its h and stays in H: where every message is counted H is the mean
    of what is read, and of a cohort H plus K / N times the mean c of those that came. N are the clients that
    ever began: the paper's, from a first round with all of them. The defense must be a plain mean with these
    weights, without a privacy mechanism, which would change what came and not H. Updates must be
    gradient-like: one local step, or few. An update that is not finite enters no h.

    Attributes:
        codec: The codec inside, by name or as a table of ``name`` and its options. It must be contractive,
            keep no memory and share nothing.
        weighting: What a client counts in H: its examples, as it first claimed them, or the same as any
            other. It must be what the mean of the defense goes by.
    """

    codec: str | dict[str, Any] = "topk"
    weighting: Literal["num_examples", "uniform"] = "num_examples"

    share_stays: ClassVar[bool] = True

    codec_id = inside.codec_id
    records = inside.records
    max_body = inside.max_body
    ideal_bits = inside.ideal_bits
    reads_params = inside.handed_on(Codecs.reads_params)

    def __post_init__(self) -> None:
        if self.weighting not in ("num_examples", "uniform"):
            raise ValueError(f"weighting must be num_examples or uniform, got '{self.weighting}'")
        name = self.codec if isinstance(self.codec, str) else self.codec.get("name")
        if self._inner.init() is not None or declared(self._inner, Codecs.share) is not None:
            raise ValueError(
                f"codec '{name}' keeps a memory of its own or shares something: use one that does not, "
                "such as topk"
            )
        if not declared(self._inner, Codecs.contractive):
            raise ValueError(
                f"codec '{name}' does not say that it is contractive, and h need not come nearer to the "
                "updates: use topk"
            )

    @cached_property
    def _inner(self) -> Codec:
        return inside.make_codec(self.codec)

    @property
    def decode_cohort(self) -> Callable[[Any, Layout, Any], Tensor] | None:
        inner = declared(self._inner, Codecs.decode_cohort)
        if inner is None:
            return None
        return lambda cohort, layout, contexts: _added(
            contexts[0].shared, inner(cohort, layout, [replace(c, shared=None) for c in contexts])
        )

    def counts(self, num_examples: Tensor) -> Tensor:
        """Return what each client counts in H, float64.  # [K]"""
        counts = num_examples.to(torch.float64).clamp(min=0)
        return counts if self.weighting == "num_examples" else torch.ones_like(counts)

    def init(self) -> State:
        """Return no h, no c under way and no weights, by client id, and no sum of weighted h yet."""
        return {"references": {}, "sent": {}, "weights": {}, "total": None}

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        """Return what the codec inside makes of u - h, and the state of messages of which none is counted."""
        ids, zeros = updates.client_ids.tolist(), torch.zeros(layout.num_parameters)
        wanted = updates.with_vectors(updates.vectors - rows_of(state["references"], ids, zeros))
        streams = replace(streams, shared=None)
        rows, _ = self._inner.encode(wanted, layout, None, streams)
        _, good, decoded = inside.read_back(self._inner, rows, wanted, layout, streams)
        weights = dict(zip(ids, self.counts(updates.num_examples).tolist(), strict=True))
        return rows, {
            **state,
            "sent": with_rows(without(state["sent"], ids), ids_where(ids, good), decoded),
            "weights": {
                **state["weights"],
                **{i: w for i, w in weights.items() if i not in state["weights"]},
            },
            "total": zeros.double() if state["total"] is None else state["total"],
        }

    def settle(self, state: State, counted_ids: Sequence[int]) -> State:
        """Return the state in which the counted messages' c is part of h, and of the sum of all."""
        references, total = dict(state["references"]), state["total"]
        counted = [client for client in counted_ids if client in state["sent"]]
        for client in counted:
            sent = state["sent"][client]
            before = references.get(client, torch.zeros_like(sent))
            after = before + sent
            if bool(after.isfinite().all()):
                references[client] = after
                total = total + state["weights"][client] * (after.double() - before.double())
        return {**state, "references": references, "sent": without(state["sent"], counted), "total": total}

    def kept_mean(self, state: State) -> Tensor | None:
        """Return H [M], float32; None before the first message."""
        if state["total"] is None:
            return None
        found: Tensor = (state["total"] / (sum(state["weights"].values()) or 1.0)).float()
        return found

    def share(self, params: Tensor, aggregate: Tensor, state: State) -> State:
        """Return H [M]: zeros before the first message."""
        mean = self.kept_mean(state)
        return {"mean": torch.zeros(len(aggregate)) if mean is None else mean}

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return H + c [M].

        Raises:
            FrameError: The codec inside refuses the records, or the sum is not finite.
        """
        return _added(context.shared, self._inner.decode(records, layout, replace(context, shared=None)))

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Mismatch | None:
        """Return that of the codec inside while H is 0; later messages say how an unknown u - h looks."""
        inner = declared(self._inner, Codecs.mismatch)
        if inner is None or (context.shared is not None and bool(context.shared["mean"].any())):
            return None
        return inner(records, layout, replace(context, shared=None))


def _added(shared: State, changes: Tensor) -> Tensor:
    """Return H plus each c [..., M]; H is 0 where nothing is shared."""
    found: Tensor = changes if shared is None else shared["mean"] + changes
    if not bool(found.isfinite().all()):
        raise FrameError("what a message adds to the shared mean is not finite")
    return found
