"""What a codec is, and what both sides of a frame know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from torch import Tensor

from ..seeds import generator

if TYPE_CHECKING:
    from ..frames import Record, RecordShape
    from ..layout import Layout
    from ..trees import State
    from ..updates import Updates


@dataclass(frozen=True)
class CodecContext:
    """What both sides know of one frame besides its bytes.

    Attributes:
        seed: The public seed of one direction's codec: it tells nothing of the run's other streams.
        round: The round in which the sender started, from 0.
        client_id: The sender.
        shared: What the server broadcast before the round: what ``share`` returned, or None.
        params: The parameters that the sender began from, as clients decoded them; None on the way down.
            # [P]
    """

    seed: int
    round: int
    client_id: int
    shared: State = None
    params: Tensor | None = field(default=None, compare=False, repr=False)

    def stream(self, name: str) -> np.random.Generator:
        """Return the stream of this frame that both sides draw from, such as the signs of a rotation."""
        return generator(self.seed, name, self.round, self.client_id)

    def common_stream(self, name: str) -> np.random.Generator:
        """Return the stream that all frames of the round share, such as a support or hashes."""
        return generator(self.seed, f"{name} in common", self.round)


@dataclass(frozen=True)
class CodecStreams:
    """What the frames of one round are written with: ``streams(client_id)`` is that client's private stream.

    Attributes:
        seed: The run's seed.
        round, shared, params: As in ``CodecContext``.
        purpose: What the streams are for, so that two directions of a run draw other numbers.
    """

    seed: int
    round: int
    shared: State = None
    purpose: str = "codec"
    params: Tensor | None = field(default=None, compare=False, repr=False)

    def __call__(self, client_id: int) -> np.random.Generator:
        """Return the stream that only this client draws from: no decoder is handed it."""
        return generator(self.seed, self.purpose, self.round, client_id)

    @cached_property
    def public_seed(self) -> int:
        """The seed that a frame's reader is told."""
        return int(generator(self.seed, f"{self.purpose} in public").integers(2**63))

    def context(self, client_id: int) -> CodecContext:
        """Return what the server will know when it reads this client's frame."""
        return CodecContext(self.public_seed, self.round, client_id, self.shared, self.params)


class Mismatch(Protocol):
    """How badly updates fit one frame: what a leakage attack that knows of the codec makes small.

    It is finite wherever updates are finite, can be differentiated, and of the update that was encoded it is
    lower than of others far from it. Where it is ``scale_free``, an update times any number above 0 fits as
    well, so that neither step size nor clip norm need be known.
    """

    @property
    def scale_free(self) -> bool: ...

    def __call__(self, updates: Tensor) -> Tensor:
        """Return how badly each of some updates [..., P] fits.  # [...]"""


class Codec(Protocol):
    """Turn updates into bytes and back. ``decode`` uses nothing but its arguments.

    What it may declare: ``core.declarations.Codecs``. Of a verbatim one a frame is written only when somebody
    looks at it. ``share``'s aggregate is the one of the round before, zeros before the first. A client whose
    message ``settle`` was not told of may take part again; what the defense thinks of a message is no part of
    it. Where ``decode_cohort`` meets a bad frame it raises ``FrameError``, and each is decoded alone. A large
    cohort is encoded in several calls, some clients in each, and the state goes from one to the next.

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
