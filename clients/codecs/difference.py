"""Differences on the way down: the server sends what changed since what clients hold, by the codec inside.

Source: Sattler, Wiedemann, Müller, Samek. Robust and Communication-Efficient Federated Learning from Non-IID
Data. 2019, Section V.C. arXiv:1903.02891; Tang, Lian, Yu, Zhang, Liu. DoubleSqueeze: Parallel Stochastic
Gradient Descent with Double-pass Error-Compensated Compression. ICML 2019. arXiv:1905.05957
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from ...core.contracts import Codec, CodecContext, CodecStreams
from ...core.declarations import Codecs, declared
from ...core.frames import Record
from ...core.layout import Layout
from ...core.trees import State
from ...core.updates import Updates
from .parts import inside


@dataclass(frozen=True)
class Difference:
    """Encode what it is given by the codec inside; as ``codec_down`` that is w - h, the server's difference.

    The server keeps h, what a client holds that received every frame so far, and what a frame leaves out
    stays in the next difference. A client receives besides what it missed since its last counted message,
    which costs bytes down (``server.mail.catching_up``). On the way up it is the codec inside.

    Attributes:
        codec: The codec inside, by name or as a table of ``name`` and its options. It keeps no memory, shares
            nothing and is contractive.
        allow_unbiased: Whether the codec inside may lose more than it is given, as unbiased ones do; what
            stays in the next difference may then grow without bound.
    """

    codec: str | dict[str, Any] = "stc"
    allow_unbiased: bool = False

    differences: ClassVar[bool] = True

    codec_id = inside.codec_id
    records = inside.records
    max_body = inside.max_body
    ideal_bits = inside.ideal_bits
    unbiased = inside.handed_on(Codecs.unbiased)
    contractive = inside.handed_on(Codecs.contractive)
    reads_params = inside.handed_on(Codecs.reads_params)
    support = inside.handed_on(Codecs.support)
    mismatch = inside.handed_on(Codecs.mismatch)
    decode_cohort = inside.handed_on(Codecs.decode_cohort)

    def __post_init__(self) -> None:
        inner = self._inner
        if inner.init() is not None or declared(inner, Codecs.share) is not None:
            raise ValueError(
                f"codec {self.codec!r} keeps a memory or shares something: use one that does not"
            )
        if not (declared(inner, Codecs.contractive) or self.allow_unbiased):
            raise ValueError(
                f"codec {self.codec!r} does not say that it is contractive, and what it leaves out may add "
                "up without bound: use stc, or allow_unbiased = true"
            )

    @cached_property
    def _inner(self) -> Codec:
        return inside.make_codec(self.codec)

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        return self._inner.encode(updates, layout, None, streams)

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        return self._inner.decode(records, layout, context)
