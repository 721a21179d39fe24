"""Error feedback: what a codec left out of a message is added to the next one.

Source: Seide, Fu, Droppo, Li, Yu. 1-Bit Stochastic Gradient Descent. Interspeech 2014; Karimireddy, Rebjock,
Stich, Jaggi. Error Feedback Fixes SignSGD and other Gradient Compression Schemes. ICML 2019, Algorithm 2.
arXiv:1901.09847
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
class ErrorFeedback:
    """Encode p = e + u, where u is the update and e what the client's earlier messages left out.

    With d, what the message decodes to: after a round in which the message was counted e is p - d, and p
    where it was not (late, lost, undecodable). What a client sent and what it still holds back add up to its
    updates. An update that is not finite never enters e. The frames are those of the codec inside. The
    residual of a client that stays away waits for it.

    Attributes:
        codec: The codec inside, by name or as a table of ``name`` and its options. It must be contractive, be
            told of no counted messages itself (``settle``), and carry nothing over to a client's next message
            (``carries``), which would be sent twice. It may keep anything else, such as a plan.
        decay: What e is multiplied by before it is added, between 0 (no feedback) and 1 (the paper).
        allow_unbiased: Whether the codec inside may lose more than it is given, as unbiased ones do; error
            feedback may then diverge.
    """

    codec: str | dict[str, Any] = "topk"
    decay: float = 1.0
    allow_unbiased: bool = False

    codec_id = inside.codec_id
    records = inside.records
    max_body = inside.max_body
    ideal_bits = inside.ideal_bits
    reads_params = inside.handed_on(Codecs.reads_params)
    of_one_round = inside.handed_on(Codecs.of_one_round)
    support = inside.handed_on(Codecs.support)
    choices = inside.handed_on(Codecs.choices)
    decode_cohort = inside.handed_on(Codecs.decode_cohort)
    mismatch = inside.handed_on(Codecs.mismatch)  # of p: of u in a client's first message

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must be between 0 and 1, got {self.decay}")
        name = self.codec if isinstance(self.codec, str) else self.codec.get("name")
        if declared(self._inner, Codecs.settle) is not None or declared(self._inner, Codecs.carries) > 0:
            raise ValueError(f"codec '{name}' keeps a memory of its own: use one without, such as topk")
        if not (declared(self._inner, Codecs.contractive) or self.allow_unbiased):
            raise ValueError(
                f"codec '{name}' does not say that it is contractive, and what it leaves out may add up "
                "without bound: use topk, or allow_unbiased = true; into a codec of yours whose x - "
                "decode(encode(x)) is never longer than x write contractive: ClassVar[bool] = True, which "
                "check-plugin looks at"
            )

    @cached_property
    def _inner(self) -> Codec:
        return inside.make_codec(self.codec)

    @property
    def share(self) -> Callable[[Tensor, Tensor, State], State] | None:
        inner = declared(self._inner, Codecs.share)
        if inner is None:
            return None
        return lambda params, aggregate, state: inner(params, aggregate, state.get("inner"))

    @property
    def carries(self) -> float:
        return self.decay

    def init(self) -> State:
        """Return no residuals: from client id to e, or p until it is counted, and to d.  # [P] each"""
        inner = self._inner.init()
        return {"residuals": {}, "sent": {}, **({} if inner is None else {"inner": inner})}

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        """Return what the codec inside makes of p, and the state of messages of which none is counted yet."""
        ids = updates.client_ids.tolist()
        before = rows_of(state["residuals"], ids, torch.zeros(layout.num_parameters))  # e  # [K, P]
        wanted = updates.with_vectors(updates.vectors + self.decay * before)  # p
        rows, inner = self._inner.encode(wanted, layout, state.get("inner"), streams)
        finite, good, decoded = inside.read_back(self._inner, rows, wanted, layout, streams)
        return rows, {
            **({} if inner is None else {"inner": inner}),
            "residuals": with_rows(state["residuals"], ids_where(ids, finite), wanted.vectors[finite]),
            "sent": with_rows(without(state["sent"], ids), ids_where(ids, good), decoded),
        }

    def settle(self, state: State, counted_ids: Sequence[int]) -> State:
        """Return the state in which the counted messages' d is taken out of what is still to be sent."""
        residuals, sent = state["residuals"], state["sent"]
        settled = {i: residuals[i] - sent[i] for i in counted_ids if i in sent}  # p - d
        return {**state, "residuals": {**residuals, **settled}, "sent": without(sent, list(settled))}

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return d [P], as the codec inside decodes it."""
        return self._inner.decode(records, layout, context)
