"""Differences on the way down: the server sends what changed since what clients hold, by the codec inside.

Source: Sattler, Wiedemann, Müller, Samek. Robust and Communication-Efficient Federated Learning from Non-IID
Data. 2019, Section V.C. arXiv:1903.02891; Tang, Lian, Yu, Zhang, Liu. DoubleSqueeze: Parallel Stochastic
Gradient Descent with Double-pass Error-Compensated Compression. ICML 2019. arXiv:1905.05957
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from ...core.contracts import Codec, CodecContext, CodecStreams, Mismatch
from ...core.declarations import Codecs, declared
from ...core.frames import Record, RecordShape
from ...core.layout import Layout
from ...core.trees import State
from ...core.updates import Updates
from .error_feedback import make_codec


@dataclass(frozen=True)
class Difference:
    """Encode what it is given by the codec inside; as ``codec_down`` that is w - h, the server's difference.

    The server keeps h, what a client holds that received every frame so far, and what a frame leaves out
    stays in the next difference. A client that was away receives what it missed, which is counted
    (``server.mail.catching_up``). On the way up it is the codec inside.

    Attributes:
        codec: The codec inside, by name or as a table of ``name`` and its options. It keeps no memory, shares
            nothing and is contractive.
        allow_unbiased: Whether the codec inside may lose more than it is given, as unbiased ones do; what
            stays in the next difference may then grow without bound.
    """

    codec: str | dict[str, Any] = "stc"
    allow_unbiased: bool = False

    differences: ClassVar[bool] = True

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
        return make_codec(self.codec)

    @property
    def codec_id(self) -> int:
        return self._inner.codec_id

    @property
    def unbiased(self) -> bool:
        return declared(self._inner, Codecs.unbiased)

    @property
    def contractive(self) -> bool:
        return declared(self._inner, Codecs.contractive)

    @property
    def reads_params(self) -> bool:
        return declared(self._inner, Codecs.reads_params)

    @property
    def support(self) -> Callable[[Sequence[Record], Layout], Tensor] | None:
        return declared(self._inner, Codecs.support)

    @property
    def mismatch(self) -> Callable[[Sequence[Record], Layout, CodecContext], Mismatch | None] | None:
        """That of the codec inside, where it goes up."""
        return declared(self._inner, Codecs.mismatch)

    @property
    def decode_cohort(self) -> Callable[[Any, Layout, Any], Tensor] | None:
        return declared(self._inner, Codecs.decode_cohort)

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        return self._inner.encode(updates, layout, None, streams)

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        return self._inner.decode(records, layout, context)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return self._inner.records(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return self._inner.max_body(shape)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        return self._inner.ideal_bits(records, layout)
