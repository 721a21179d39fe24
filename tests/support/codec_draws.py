"""Codecs with drawn options, and rounds that they send: for tests of what holds whatever is drawn."""

from math import prod
from typing import NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.parts.between_rounds import settled, shared_by
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.core.contracts import Codec, CodecStreams
from gauntlet.core.frames import Envelope, read_frame
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.trees import State
from gauntlet.core.updates import Updates

SPEC = 9
MATRICES = [(5, 7), (11, 6), (6, 2, 3), (12, 4), (7, 8), (4, 3, 2, 2)]
OTHERS = [(), (1,), (0, 3), (13,), (64,), (3, 3), (2, 16)]


def options(**fields):
    """Return tables in which each option is drawn, or left out."""
    return st.fixed_dictionaries({}, optional=fields)


def one_of(*values):
    return st.sampled_from(values)


density = st.floats(0.001, 1)
bucket = st.none() | st.integers(1, 70)
rank = one_of(1, 2, 3)
topk = options(density=density, values=one_of("f32", "f16"), pack=one_of("rice", "bitmap", "auto"))
bases = st.fixed_dictionaries(
    {"refresh": one_of("full", "server", "random"), "period": one_of(2, 3), "rank": rank}
)
kept = st.fixed_dictionaries(
    {"refresh": one_of("full", "server"), "period": one_of(2, 3), "rank": rank},
    optional={"bits": one_of(None, 2, 4, 8), "lazy": st.booleans()},
)
columns = st.fixed_dictionaries({"space": one_of("columns"), "rank": rank, "period": one_of(2, 3)})
clipped = options(
    clip=st.floats(0.5, 4), scale=one_of("max", "cstd"), share_scales=one_of(False, True, "capped")
)
fixed = st.fixed_dictionaries({"scale": one_of("fixed"), "theta": st.floats(1e-4, 1e4)})


@st.composite
def terngrad(draw):
    packing = one_of("base3", "two_bit", "rice", "huffman", "auto")
    shared = options(pack=packing, sd=one_of("rms", "std"), size_to_binarize=st.integers(0, 20))
    return draw(clipped | fixed | options(clip=one_of(0.0))) | draw(shared)


@st.composite
def dorefa(draw):
    bits = draw(st.integers(1, 8))
    return {"bits": bits, "bucket_size": draw(bucket), "zero_preserving": draw(st.booleans()) and bits > 1}


def few_bit(bits):
    return st.fixed_dictionaries({"bits": one_of(bits), "bins": st.integers(1 << bits, 100)})


def inside(*names):
    """Return codecs to put into another one, as a table."""
    return one_of(*names).flatmap(lambda name: DRAWN[name].map(lambda found: {"name": name, **found}))


CONTRACTIVE = ("topk", "fp16", "stc", "int4", "powersgd", "few_bit", "trit_planes", "nf4")
DRAWN = {
    "count_sketch": options(rows=st.integers(1, 5), ratio=st.floats(0.01, 1), density=density),
    "dorefa": dorefa(),
    "eblc": options(bound=st.floats(0.004, 0.5)),
    "eden": options(
        bits=st.integers(1, 4), scale=one_of("unbiased", "least_error"), chunk=one_of(1, 2, 8, 32, 4096)
    ),
    "few_bit": st.integers(1, 4).flatmap(few_bit),
    "fp16": options(scale=one_of("none", "max")),
    "frugal": bases | columns,
    "gradnorm_lorp": bases,
    "grass": options(density=density, uniform=st.floats(0.05, 1), refresh=st.integers(1, 3))
    | st.fixed_dictionaries({"choice": one_of("top"), "density": density, "refresh": st.integers(2, 3)}),
    "identity": options(),
    "int4": options(bits=st.integers(2, 8), interval=one_of("large", "mse", "minimax", "max")),
    "lift": options(
        density=density,
        rank=st.none() | st.integers(1, 3),
        filter_rank=st.integers(1, 4),
        score=one_of("lift", "magnitude", "random"),
    ),
    "low_rank": bases | kept,
    "natural": options(),
    "nf4": options(block=st.integers(1, 70)),
    "one_byte": options(scalars_per_round=st.integers(1, 12), unit=st.floats(1e-6, 1e3)),
    "power": options(
        bits=st.integers(2, 8), exponent=one_of(None, 1, 0.75, 0.5, 0.35), plan=st.booleans()
    ),
    "powersgd": options(rank=rank, iterations=st.integers(1, 4), min_ratio=st.floats(1, 3)),
    "qsgd": options(
        levels=st.integers(1, 127),
        bucket_size=bucket,
        norm=one_of("l2", "max"),
        pack=one_of("fixed", "huffman", "rans", "auto"),
    ),
    "randk": options(
        density=density, scaled=st.booleans(), shared_support=st.booleans(), values=one_of("f32", "f16")
    ),
    "replay": options(start_known=st.booleans()),
    "sign": options(scale=one_of("l1", "l2", "one", "two_means")),
    "stc": options(density=density),
    "subspace": options(
        rank=rank, window=st.integers(1, 4), warmup=st.integers(1, 2), complement=st.booleans()
    ),
    "terngrad": terngrad(),
    "topk": topk,
    "trit_planes": options(group=st.integers(1, 80), turns=st.integers(1, 8)),
    "zero_rows": options(),
}  # fmt: skip
"""From a codec's name to its options."""
DRAWN |= {
    "difference": st.fixed_dictionaries({"codec": inside(*CONTRACTIVE)}),
    "ef21": st.fixed_dictionaries(
        {"codec": inside(*CONTRACTIVE)}, optional={"weighting": one_of("num_examples", "uniform")}
    ),
    "error_feedback": st.fixed_dictionaries(
        {"codec": inside(*CONTRACTIVE, "low_rank", "frugal", "lift", "l_greco")},
        optional={"decay": st.floats(0, 1)},
    ),
    "l_greco": st.fixed_dictionaries(
        {"menu": st.lists(density, min_size=3, max_size=4), "uniform": st.integers(0, 2)},
        optional={"every": st.integers(1, 3), "alpha": st.floats(0.5, 2), "squared": st.booleans()},
    ),
    "momentum_correction": st.fixed_dictionaries(
        {"codec": inside("topk", "stc")}, optional={"momentum": st.floats(0, 0.99), "masking": st.booleans()}
    ),
}


class Round(NamedTuple):
    """What one round sent, and what was read of it.

    Attributes:
        codec, layout, streams: As it was encoded with.
        updates: What clients wanted to send.
        records: Of each client's frame.
        frames: Their bytes.
        decoded: What they say.  # [K, P]
        counted: The clients whose messages were counted.
        state: The codec's state before the round.
    """

    codec: Codec
    layout: Layout
    streams: CodecStreams
    updates: Updates
    records: list
    frames: list[bytes]
    decoded: np.ndarray
    counted: list[int]
    state: State

    def __repr__(self):
        """What a failed test shows: a line, from which the case can be drawn again with its seed."""
        sizes = [f"{size:.3g}" for size in self.updates.vectors.abs().amax(dim=1).tolist()]
        return (
            f"{self.codec}, round {self.streams.round}: tensors {[s.shape for s in self.layout.parameters]}, "
            f"clients {self.updates.client_ids.tolist()} with sizes up to {', '.join(sizes)}, "
            f"counted {self.counted}"
        )

    def tensors(self, sent=None):
        """Yield each client's values of each tensor, and what came of them, float64: (k, slot, x, d)."""
        sent = self.updates.vectors.numpy() if sent is None else sent
        for k, (x, d) in enumerate(zip(sent, self.decoded, strict=True)):
            for slot in self.layout.parameters:
                where = slice(slot.start, slot.start + slot.size)
                yield k, slot, x[where].astype(float), d[where].astype(float)


def layout_of(shapes):
    slots, at = [], 0
    for number, shape in enumerate(shapes):
        slots.append(Slot(f"tensor {number}", shape, at))
        at += prod(shape)
    return Layout(tuple(slots))


KINDS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "heavy": lambda rng, n: rng.standard_normal(n) ** 5,
    "sparse": lambda rng, n: rng.standard_normal(n) * (rng.random(n) < 0.1),
    "ties": lambda rng, n: rng.integers(-2, 3, n),
    "constant": lambda rng, n: np.full(n, rng.standard_normal()),
    "zero": lambda rng, n: np.zeros(n),
}


def updates_of(layout, ids, rng):
    rows = []
    for _ in ids:
        kinds = [KINDS[rng.choice(list(KINDS))] for _ in layout.parameters]
        rows.append(
            np.concatenate([kind(rng, s.size) for kind, s in zip(kinds, layout.parameters, strict=True)])
        )
    scale = 10.0 ** rng.integers(-6, 7)
    vectors = torch.from_numpy((np.stack(rows) * scale).astype(np.float32))
    return Updates(vectors, torch.tensor(ids), torch.from_numpy(rng.integers(1, 50, len(ids))))


@st.composite
def rounds_of(draw, name):
    """Draw a codec with its options, and one to four rounds in which clients come, stay away and are lost."""
    codec = CODECS.build(name, draw(DRAWN[name]))
    shapes = [draw(one_of(*MATRICES)), *draw(st.lists(one_of(*OTHERS, *MATRICES), max_size=3))]
    layout = layout_of(draw(st.permutations(shapes)))
    return list(play(codec, layout, draw(one_of(4, 3, 2, 1)), draw(st.integers(0, 2**32))))


def play(codec, layout, number, seed):
    """Yield rounds of a run whose clients want to send drawn updates, and whose server applies their mean."""
    rng = np.random.default_rng(seed)
    params = torch.from_numpy(rng.standard_normal(layout.num_parameters)).float()
    aggregate, state = torch.zeros_like(params), codec.init()
    for round_ in range(number):
        ids = sorted(rng.choice(6, size=rng.integers(1, 4), replace=False).tolist())
        shared = shared_by(codec, params, aggregate, state)
        streams = CodecStreams(int(seed), round_, shared, "drawn", params)
        updates = updates_of(layout, ids, rng)
        frames, after = encode_cohort(codec, updates, layout, SPEC, state, streams)
        decoded, rejected = decode_cohort(codec, frames, ids, layout, SPEC, streams)
        assert not rejected, rejected
        counted = [i for i in ids if rng.random() < 0.8]
        records = [
            read_frame(f, Envelope(codec.codec_id, round_, i, SPEC), codec.records(layout), len(f))
            for f, i in zip(frames, ids, strict=True)
        ]
        yield Round(codec, layout, streams, updates, records, frames, decoded.numpy(), counted, state)
        state = settled(codec, after, counted)
        came = decoded[[ids.index(i) for i in counted]]
        aggregate = came.mean(dim=0) if len(came) else torch.zeros_like(params)
        params = params + aggregate
