"""What a codec is, and what both sides of a frame know."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from torch import Tensor

from ..frames import Record, RecordShape
from ..layout import Layout
from ..seeds import generator
from ..trees import State
from ..updates import Updates


@dataclass(frozen=True)
class CodecContext:
    """What both sides know of one frame besides its bytes.

    Attributes:
        seed: The run's seed.
        round: The round in which the sender started, from 0.
        client_id: The sender.
        shared: What the server broadcast before the round: what ``share`` returned, or None.
        purpose: What the streams are for, so that two directions of a run draw other numbers.
    """

    seed: int
    round: int
    client_id: int
    shared: State = None
    purpose: str = "codec"

    def stream(self, name: str) -> np.random.Generator:
        """Return the stream of this frame that both sides draw from, such as the signs of a rotation."""
        return generator(self.seed, f"{self.purpose} {name}", self.round, self.client_id)

    def common_stream(self, name: str) -> np.random.Generator:
        """Return the stream that all frames of the round share, such as a support or hashes."""
        return generator(self.seed, f"{self.purpose} {name} in common", self.round)


@dataclass(frozen=True)
class CodecStreams:
    """What the frames of one round are written with: ``streams(client_id)`` is that client's private stream.

    Attributes:
        seed, round, shared, purpose: As in ``CodecContext``.
    """

    seed: int
    round: int
    shared: State = None
    purpose: str = "codec"

    def __call__(self, client_id: int) -> np.random.Generator:
        """Return the stream that only this client draws from: no decoder is handed it."""
        return generator(self.seed, self.purpose, self.round, client_id)

    def context(self, client_id: int) -> CodecContext:
        """Return what the server will know when it reads this client's frame."""
        return CodecContext(self.seed, self.round, client_id, self.shared, self.purpose)


class Codec(Protocol):
    """Turn updates into bytes and back. ``decode`` uses nothing but its arguments.

    Declares:
        ``unbiased`` [False]: E decode(encode(x)) = x.
        ``contractive`` [False]: what is lost is never longer than what came, |x - decode(encode(x))| <= |x|
            in the L2 norm, whatever is drawn: then error feedback may be wrapped around it.
        ``lossless`` [False]: decode(encode(x)) = x, so that it may decode to NaN or infinity.
        ``additive`` [False]: payloads can be summed under secure aggregation.
        ``verbatim`` [False]: lossless, without state or randomness, every body ``max_body`` long: then a
            frame is written only when somebody looks at it.
        ``share(params, aggregate, state) -> State`` [none]: what the server sends to every client before a
            round, so that both sides know it: from the parameters [P] that it will send, the aggregate [P] of
            the round before (zeros before the first), and the codec's state. It counts as bytes down.
        ``settle(state, counted_ids) -> State`` [none]: the state after a round whose messages of these
            clients, ascending, were counted: they came in time, decoded and were finite. What the defense
            thinks of them is no part of it. A client whose message was not counted may take part again.
        ``decode_cohort(cohort, layout, contexts) -> Tensor`` [none]: ``decode`` of several frames at once, to
            the same bits; where any of them is bad it raises ``FrameError``.  # [K, P]

    A codec with a state keeps it by stable client id; a round's messages then follow from earlier rounds,
    which leaves no central epsilon where rounds are amplified by sampling.
    """

    codec_id: ClassVar[int]

    def init(self) -> State: ...

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        """Return one list of records a client, as ``records`` declares them, and the state."""

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return a finite vector [P], or raise ``FrameError``."""

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        """Return the records that a frame of this layout holds, in ascending tensor id."""

    def max_body(self, shape: tuple[int, ...]) -> int:
        """Return the longest legal body of a record of this shape, in bytes."""

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the bits that an ideal coder without context needs for a legal frame's records."""
