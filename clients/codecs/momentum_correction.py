"""Deep Gradient Compression's momentum correction: momentum and error feedback at the client.

Source: Lin, Han, Mao, Wang, Dally. Deep Gradient Compression: Reducing the Communication Bandwidth for
Distributed Training. ICLR 2018, Section 3.1 (momentum correction) and 3.2 (momentum factor masking).
arXiv:1712.01887
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ...core.client_rows import ids_where, rows_of, with_rows, without
from ...core.contracts import Codec, CodecContext, CodecStreams
from ...core.declarations import Codecs, declared
from ...core.frames import Record
from ...core.layout import Layout
from ...core.trees import State
from ...core.updates import Updates
from .parts import inside


@dataclass(frozen=True)
class MomentumCorrection:
    """Encode v + m, where m = momentum m + u is the client's momentum and v what earlier messages left out.

    With d, what the message decodes to, v becomes v + m - d once the message was counted, and v + m where it
    was not. It takes the place of error feedback and of the server's momentum. Updates must be gradient-like:
    one local step, or few. An update that is not finite enters neither m nor v.

    Attributes:
        codec: The codec inside, by name or as a table of ``name`` and its options. It must be contractive and
            keep no memory of its own.
        momentum: mu, between 0 (error feedback) and 1, exclusive.
        masking: Whether m is cleared where d is not 0, so that stale momentum does not carry a coordinate on.
            Around a codec that sends every coordinate (``sign``, ``powersgd``) that clears all of m, and what
            is left is error feedback: use False there.
    """

    codec: str | dict[str, Any] = "topk"
    momentum: float = 0.9
    masking: bool = True

    codec_id = inside.codec_id
    records = inside.records
    max_body = inside.max_body
    ideal_bits = inside.ideal_bits
    reads_params = inside.handed_on(Codecs.reads_params)
    support = inside.handed_on(Codecs.support)
    choices = inside.handed_on(Codecs.choices)
    decode_cohort = inside.handed_on(Codecs.decode_cohort)
    mismatch = inside.handed_on(Codecs.mismatch)  # of v + m: of u in a client's first message

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {self.momentum}")
        name = self.codec if isinstance(self.codec, str) else self.codec.get("name")
        if self._inner.init() is not None:
            raise ValueError(f"codec '{name}' keeps a memory of its own: use one without, such as topk")
        if not declared(self._inner, Codecs.contractive):
            raise ValueError(
                f"codec '{name}' does not say that it is contractive, and what it leaves out may add up "
                "without bound: use topk"
            )

    @cached_property
    def _inner(self) -> Codec:
        return inside.make_codec(self.codec)

    @property
    def share(self) -> Callable[[Tensor, Tensor, State], State] | None:
        inner = declared(self._inner, Codecs.share)
        return None if inner is None else lambda params, aggregate, _: inner(params, aggregate, None)

    @property
    def carries(self) -> float:
        """1 without a momentum; else 0: what is carried then follows from no message and update alone."""
        return 1.0 if self.momentum == 0 else 0.0

    def init(self) -> State:
        return {
            "momenta": {},
            "left": {},
            "sent": {},
        }  # from client id to m, v (v + m until counted), d  # [P]

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        """Return what the codec inside makes of v + m, and the state of messages of which none is counted."""
        ids, zeros = updates.client_ids.tolist(), torch.zeros(layout.num_parameters)
        momenta = self.momentum * rows_of(state["momenta"], ids, zeros) + updates.vectors  # m  # [K, P]
        wanted = updates.with_vectors(rows_of(state["left"], ids, zeros) + momenta)
        rows, _ = self._inner.encode(wanted, layout, None, streams)
        finite, good, decoded = inside.read_back(self._inner, rows, wanted, layout, streams)
        there, sent = ids_where(ids, finite), ids_where(ids, good)
        return rows, {
            "momenta": with_rows(state["momenta"], there, momenta[finite]),
            "left": with_rows(state["left"], there, wanted.vectors[finite]),
            "sent": with_rows(without(state["sent"], ids), sent, decoded),
        }

    def settle(self, state: State, counted_ids: Sequence[int]) -> State:
        """Return the state in which the counted messages' d is taken out, of v and, masked, of m."""
        momenta, left, sent = state["momenta"], state["left"], state["sent"]
        counted = [client for client in counted_ids if client in sent]
        settled = {i: left[i] - sent[i] for i in counted}
        masked = {i: momenta[i].where(sent[i] == 0, 0.0) for i in counted} if self.masking else {}
        return {
            "momenta": {**momenta, **masked},
            "left": {**left, **settled},
            "sent": without(sent, counted),
        }

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return d [P], as the codec inside decodes it."""
        return self._inner.decode(records, layout, context)
