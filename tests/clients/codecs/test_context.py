"""Codecs that cannot be read from the frame alone: what both sides know besides, and records of their own."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.contract import CHECKS
from gauntlet.clients.codecs.parts.sizes import max_frame
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.core.contracts import CodecContext, CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import OVERHEAD, Record, RecordShape, payload_bytes
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Updates

LAYOUT = Layout((Slot("w", (4, 5), 0), Slot("b", (10,), 20)))


@dataclass(frozen=True)
class RandomKeep:
    """Send ``k`` coordinates that the round draws, the same for every client: no position is written.

    What is shared is a scale, the largest parameter's size: both sides divide and multiply by it.
    """

    codec_id: ClassVar[int] = 9
    k: int = 6

    def init(self):
        return None

    def share(self, params, aggregate, state):
        return {"scale": params.abs().max()}

    def _support(self, layout, context):
        words = context.common_stream("support").bit_generator.random_raw(layout.num_parameters)
        return torch.from_numpy(np.sort(np.argsort(words, kind="stable")[: self.k]))

    def encode(self, updates, layout, state, streams):
        rows = []
        for client, row in zip(updates.client_ids.tolist(), updates.vectors, strict=True):
            context = streams.context(client)
            values = row[self._support(layout, context)] / context.shared["scale"]
            rows.append([Record(0, 0, self.k, values.numpy().astype("<f4").tobytes())])
        return rows, state

    def decode(self, records, layout, context):
        (record,) = records
        if record.tag != 0 or len(record.body) != 4 * self.k:
            raise FrameError(f"{len(record.body)} bytes, expected {4 * self.k}")
        values = torch.from_numpy(np.frombuffer(record.body, "<f4").copy()) * context.shared["scale"]
        if not values.isfinite().all():
            raise FrameError("a value is not finite")
        vector = torch.zeros(layout.num_parameters)
        vector[self._support(layout, context)] = values
        return vector

    def records(self, layout):
        return [RecordShape(0, (self.k,))]

    def max_body(self, shape):
        return 4 * shape[0]

    def ideal_bits(self, records, layout):
        return 32.0 * self.k


def cohort(rows=3):
    vectors = torch.from_numpy(np.random.default_rng(0).standard_normal((rows, 30)).astype(np.float32))
    return Updates(vectors, torch.arange(rows) * 2, torch.ones(rows, dtype=torch.int64))


def streams(**changes):
    return CodecStreams(**{"seed": 1, "round": 4, "shared": {"scale": torch.tensor(1.0)}, **changes})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_codec_with_a_context_keeps_every_promise(check):
    check(RandomKeep())


def test_a_support_that_the_round_draws_takes_no_bytes():
    """By hand: 20 of overhead, 4 of the record's head, 6 values of 4 bytes; one record for two tensors."""
    frames, _ = encode_cohort(RandomKeep(), cohort(), LAYOUT, 7, None, streams())
    vectors, rejected = decode_cohort(RandomKeep(), frames, [0, 2, 4], LAYOUT, 7, streams())
    assert not rejected
    assert [len(frame) for frame in frames] == [OVERHEAD + 4 + 24] * 3
    assert payload_bytes(frames[0]) == 24
    assert max_frame(RandomKeep(), LAYOUT) == 48
    kept = vectors[0] != 0
    assert int(kept.sum()) == 6
    assert torch.equal(kept.expand(3, -1), vectors != 0)
    assert torch.equal(vectors[:, kept], cohort().vectors[:, kept])


@pytest.mark.parametrize(
    "changes", [{"seed": 2}, {"purpose": "downlink codec"}], ids=["another run", "another direction"]
)
def test_another_context_draws_another_support(changes):
    frames, _ = encode_cohort(RandomKeep(), cohort(), LAYOUT, 7, None, streams())
    here, _ = decode_cohort(RandomKeep(), frames, [0, 2, 4], LAYOUT, 7, streams())
    there, _ = decode_cohort(RandomKeep(), frames, [0, 2, 4], LAYOUT, 7, streams(**changes))
    assert not torch.equal(here != 0, there != 0)


def test_what_the_server_shares_reaches_both_sides():
    """A scale of 2 is divided away before the wire and multiplied back after it."""
    twice = streams(shared={"scale": torch.tensor(2.0)})
    frames, _ = encode_cohort(RandomKeep(), cohort(), LAYOUT, 7, None, twice)
    right, _ = decode_cohort(RandomKeep(), frames, [0, 2, 4], LAYOUT, 7, twice)
    wrong, _ = decode_cohort(RandomKeep(), frames, [0, 2, 4], LAYOUT, 7, streams())
    assert torch.equal(right, 2 * wrong)


def test_a_clients_own_stream_is_not_in_what_the_server_knows():
    one, context = streams(), streams().context(3)
    assert context == CodecContext(one.public_seed, 4, 3, one.shared)
    assert context.seed != one.seed
    own = one(3).random(4).tolist()
    seen = [context.stream(name).random(4).tolist() for name in ("codec", "dither", "")]
    assert own not in seen
    assert context.stream("a").random() != streams().context(5).stream("a").random()
    assert context.common_stream("a").random() == streams().context(5).common_stream("a").random()


def test_a_frame_that_claims_more_than_the_records_declared_is_refused_before_it_is_decoded():
    frames, _ = encode_cohort(RandomKeep(k=7), cohort(), LAYOUT, 7, None, streams())
    vectors, rejected = decode_cohort(RandomKeep(k=6), frames, [0, 2, 4], LAYOUT, 7, streams())
    assert len(vectors) == 0
    assert {reason for _, reason in rejected} == {"frame: 52 bytes, allowed 20 to 48"}


@pytest.mark.parametrize(
    ("name", "bits"),
    [("identity", 32 * 30), ("terngrad", 20 * 1.5 + 32 + 10 * 1.0 + 32)],
)
def test_ideal_bits_of_a_known_frame(name, bits):
    """By hand: 20 codes with shares 1/4, 1/4, 1/2 have H0 = 1.5 bits; 10 codes of two kinds have 1 bit."""
    vectors = torch.tensor([[1.0] * 5 + [-1.0] * 5 + [0.0] * 10 + [1.0, -1.0] * 5])
    updates = Updates(vectors, torch.tensor([0]), torch.tensor([1]))
    codec = CODECS.build(name)
    (records,), _ = codec.encode(updates, LAYOUT, None, streams())
    assert codec.ideal_bits(records, LAYOUT) == pytest.approx(bits)
