"""Replay: a client that was away is sent the messages that it missed, and works out the parameters itself.

Source: Zelikman, Huang, Liang, Haber, Goodman. Just One Byte (per gradient). 2023. arXiv:2306.10015. There
weights are put back from a backup every 16 steps, against float drift; here every machine adds up in the same
order, and there is none. What a log looks like and who is sent one is decided in ``server.mail.replay``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.frames import Record, RecordShape
from ...core.layout import Layout
from ...core.updates import Updates
from .identity import Identity

_WHOLE = Identity()


@dataclass(frozen=True)
class Replay:
    """Send down whichever is shorter: the parameters in float32, or what was counted since a client's own.

    A client holds the parameters of the last round in which its message was counted; from these and the
    messages that were counted since it works out the newest, to the last bit. So it goes with short messages,
    such as those of ``one_byte``, and with servers that do nothing but apply a mean: what else cannot be
    worked out from messages is refused. On the way up it is ``identity``.

    Attributes:
        start_known: Whether clients hold the run's first parameters, of a public checkpoint, before it
            begins; else a client that was never counted is sent the parameters.
    """

    codec_id: ClassVar[int] = Identity.codec_id
    unbiased: ClassVar[bool] = True
    contractive: ClassVar[bool] = True
    additive: ClassVar[bool] = True
    lossless: ClassVar[bool] = True
    verbatim: ClassVar[bool] = True
    replays: ClassVar[bool] = True

    start_known: bool = True

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return 4 bytes an element."""
        return _WHOLE.encode(updates, layout, state, streams)

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return the vector [P] that was sent, to the last bit."""
        return _WHOLE.decode(records, layout, context)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return _WHOLE.records(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return _WHOLE.max_body(shape)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return 32 bits an element."""
        return _WHOLE.ideal_bits(records, layout)
