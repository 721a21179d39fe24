"""What every codec and packing makes of updates: bits, the bound, what is lost, and how fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

from ..clients.codecs import CODECS
from ..clients.codecs.parts.accounts import nmse
from ..clients.codecs.parts.between_rounds import shared_by
from ..clients.codecs.parts.wire import decode_cohort, encode_cohort
from ..core.contracts import Codec, CodecStreams
from ..core.errors import DataError, ScenarioError
from ..core.frames import Envelope, payload_bytes, read_frame
from ..core.layout import Layout, Slot
from ..core.outside import only_our_own
from ..core.seeds import generator
from ..core.updates import Updates
from .naming import class_name, plugin_label
from .terminal import cell_text, wide_console

if TYPE_CHECKING:
    import pandas as pd

LAWS = ("gauss", "laplace", "uniform")
MOST = 10**8
_SPEC = 0


@dataclass(frozen=True)
class Material:
    """Updates that codecs are tried on.

    Attributes:
        title: Where they come from.
        layout: Their tensors.
        vectors: One a message, finite.  # [K, P]
    """

    title: str
    layout: Layout
    vectors: Tensor


def drawn(numel: int, law: str, seed: int = 0) -> Material:
    """Return one update of independent values of a law, as a matrix as nearly square as it can be."""
    if not 1 <= numel <= MOST:
        raise ScenarioError(f"--numel must be from 1 to {MOST:g}, got {numel:g}")
    stream = generator(seed, "codec-table")
    draws: dict[str, Callable[[int], Any]] = {
        "gauss": stream.standard_normal,
        "laplace": lambda size: stream.laplace(size=size),
        "uniform": lambda size: stream.uniform(-1, 1, size),
    }
    values = torch.from_numpy(draws[law](numel).astype(np.float32))
    rows = next(n for n in range(isqrt(numel), 0, -1) if numel % n == 0)
    layout = Layout((Slot("values", (rows, numel // rows), 0),))
    return Material(f"{numel:,} values, {law}, seed {seed}", layout, values[None])


def recorded_material(folder: str) -> Material:
    """Return the messages that a finished run's probes recorded, as the server decoded them.

    Raises:
        ResultsError: There are none.
        DataError: One cannot be read, or messages have several layouts.
    """
    from ..server.recording.replays import load_observation
    from .recorded import recorded

    seen, codecs = [], dict[str, None]()
    for run in recorded([folder]):
        codecs[plugin_label(run.manifest["scenario"].get("codec", "identity"), [])] = None
        with only_our_own(run.distrust):
            seen += [load_observation(places[0]) for places in run.groups(1)]
    layout = seen[0].layout
    if any(one.layout != layout for one in seen):
        raise DataError(f"{folder}: its messages have several layouts; name one recording")
    once = {(one.round, one.client_id): one.update for one in seen}
    vectors = torch.stack(list(once.values()))
    if not bool(vectors.isfinite().all()):
        raise DataError(f"{folder}: a recorded message is not finite")
    title = f"{len(vectors)} recorded messages of {Path(folder).name}"
    title += (
        f", as the server decoded them from codec {', '.join(codecs)}" if [*codecs] != ["identity"] else ""
    )
    return Material(title, layout, vectors)


def variants(name: str) -> list[dict[str, Any]]:
    """Return the options to try of a codec: its defaults, once with each way to pack that it has."""
    kind = type(CODECS.build(name, {}))
    pack = get_type_hints(kind).get("pack")
    return [{"pack": one} for one in get_args(pack)] if get_origin(pack) is Literal else [{}]


def codec_table(material: Material, names: Sequence[str] | None = None, seconds: float = 0.2) -> pd.DataFrame:
    """Return one row a codec and packing.

    Columns: ``codec``, ``pack``; ``bits`` of whole frames a coordinate; ``bound``: bodies over
    ``ideal_bits``; ``nmse``, the mean over messages; ``encode_mb`` and ``decode_mb``: megabytes of float32
    that one thread turns into frames, and back, in a second of CPU time; ``break_even``: the megabits a
    second of a link below which it saves time to encode (empty where a frame is no smaller than float32).

    Args:
        material: What is encoded, all of it in one call.
        names: Codecs, as a scenario names them; None: all that need no colon.
        seconds: How long each speed is measured at least; the fastest call counts.
    """
    import pandas as pd

    names = CODECS.names() if names is None else names
    return pd.DataFrame([measured(name, o, material, seconds) for name in names for o in variants(name)])


def measured(name: str, options: dict[str, Any], material: Material, seconds: float) -> dict[str, Any]:
    """Return a codec's row of ``codec_table``."""
    codec, layout = CODECS.build(name, options), material.layout
    updates = _updates(material.vectors)
    shared = shared_by(codec, updates.vectors[0], updates.vectors[0], codec.init())
    streams = CodecStreams(0, 0, shared, params=updates.vectors[0])
    ids = updates.client_ids.tolist()
    state, how = codec.init(), (layout, _SPEC, streams)
    frames, encoding = timed(lambda: encode_cohort(codec, updates, layout, _SPEC, state, streams)[0], seconds)
    (vectors, rejected), decoding = timed(lambda: decode_cohort(codec, frames, ids, *how), seconds)
    if rejected:
        raise DataError(
            f"codec {name}: its own frame of message {rejected[0][0]} is refused: {rejected[0][1]}"
        )
    raw, sent = 4 * updates.vectors.numel(), sum(map(len, frames))
    ideal = sum(_ideal(codec, frame, i, layout) for frame, i in zip(frames, ids, strict=True))
    lost = [nmse(a, b) for a, b in zip(updates.vectors, vectors, strict=True)]
    known = [one for one in lost if one is not None]
    return {
        "codec": class_name(name),
        "pack": options.get("pack", ""),
        "bits": 32 * sent / raw,
        "bound": 8 * sum(map(payload_bytes, frames)) / ideal if ideal else float("nan"),
        "nmse": float(np.mean(known)) if known else float("nan"),
        "encode_mb": raw / 1e6 / encoding,
        "decode_mb": raw / 1e6 / decoding,
        "break_even": 8 * (raw - sent) / 1e6 / (encoding + decoding) if sent < raw else float("nan"),
    }


def _updates(vectors: Tensor) -> Updates:
    ids = torch.arange(len(vectors))
    return Updates(vectors, ids, torch.ones_like(ids))


def _ideal(codec: Codec, frame: bytes, client: int, layout: Layout) -> float:
    envelope = Envelope(codec.codec_id, 0, client, _SPEC)
    return codec.ideal_bits(read_frame(frame, envelope, codec.records(layout), len(frame)), layout)


def timed(work: Callable[[], Any], seconds: float) -> tuple[Any, float]:
    """Return (what ``work`` returns, the least CPU seconds that it took), after a call to warm up."""
    work()
    least, total = float("inf"), 0.0
    while True:
        begin = process_time()
        found = work()
        spent = max(process_time() - begin, 1e-9)
        least, total = min(least, spent), total + spent
        if total >= seconds:
            return found, least


def print_codecs(material: Material, names: Sequence[str] | None = None) -> None:
    """Print ``codec_table``, measured with one thread."""
    from rich.table import Table

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = codec_table(material, names)
    finally:
        torch.set_num_threads(threads)
    titles = (
        *("codec", "pack", "bits a value", "x bound", "NMSE"),
        *("encode MB/s", "decode MB/s", "break-even Mbit/s"),
    )
    table = Table(title=f"Codecs: {material.title}")
    for number, title in enumerate(titles):
        table.add_column(title, justify="left" if number < 2 else "right")
    for row in found.itertuples(index=False):
        shown = [f"{row.bits:.3f}", _shown(row.bound, ".3f"), _shown(row.nmse, ".3g")]
        speeds = [f"{row.encode_mb:.0f}", f"{row.decode_mb:.0f}", _shown(row.break_even, ".0f")]
        table.add_row(cell_text(row.codec), row.pack, *shown, *speeds)
    wide_console().print(table)


def _shown(value: float, form: str) -> str:
    return "-" if np.isnan(value) else format(value, form)
