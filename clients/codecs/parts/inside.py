"""What codecs around another one share: how it is made, what it declares and writes, what it reads back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ....core.declarations import declared
from ....core.updates import finite_rows
from .wire import vectors_of

if TYPE_CHECKING:
    from torch import Tensor

    from ....core.contracts import Codec, CodecStreams
    from ....core.declarations import Declaration
    from ....core.frames import Record, RecordShape
    from ....core.layout import Layout
    from ....core.updates import Updates


class Around(Protocol):
    """A codec around another one."""

    @property
    def _inner(self) -> Codec: ...


def make_codec(choice: str | dict[str, Any]) -> Codec:
    """Return the codec that an option names.

    Raises:
        PluginError: No such codec, or options that it does not take.
    """
    from .. import CODECS

    return CODECS.chosen(choice)


def handed_on(declaration: Declaration[Any]) -> Any:
    """Return a property: what the codec inside declares. What is not handed on has the careful answer."""
    return property(lambda self: declared(self._inner, declaration))


codec_id: Any = property(lambda self: self._inner.codec_id)


def records(self: Around, layout: Layout) -> Sequence[RecordShape]:
    """Return the records of the codec inside."""
    return self._inner.records(layout)


def max_body(self: Around, shape: tuple[int, ...]) -> int:
    """Return the longest legal body of the codec inside, in bytes."""
    return self._inner.max_body(shape)


def ideal_bits(self: Around, records: Sequence[Record], layout: Layout) -> float:
    """Return the bits that an ideal coder needs for records of the codec inside."""
    return self._inner.ideal_bits(records, layout)


def read_back(
    inner: Codec, rows: Sequence[list[Record]], wanted: Updates, layout: Layout, streams: CodecStreams
) -> tuple[Tensor, Tensor, Tensor]:
    """Return which updates are finite [K], which of their records decode [K], and to what [K', P]."""
    finite, ids = finite_rows(wanted), wanted.client_ids.tolist()
    cohort = [(row, rows[row], streams.context(ids[row])) for row in finite.nonzero().flatten().tolist()]
    decoded, bad = vectors_of(inner, cohort, layout)
    good = finite.clone()
    good[[row for row, _ in bad]] = False
    return finite, good, decoded
