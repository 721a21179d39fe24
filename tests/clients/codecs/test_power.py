"""Oracles: levels by hand, the formula in numpy, and the closed form of the bit plan."""

import codec_trips
import numpy as np
import pytest
import torch
from codec_trips import flat

from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.clients.codecs.power import Power
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record, payload_bytes
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Updates

STREAMS = CodecStreams(seed=0, round=7)


def sent(codec, rows):
    return codec_trips.sent(codec, rows, STREAMS)


def test_levels_are_squares_where_the_exponent_is_a_half():
    """3 bits, n = 3, m = 9: codes round(sqrt(x / 9) 3) are 3, 2, 1, -1, 0; values 9, 4, 1, -1, 0."""
    decoded, (frame,), _ = sent(Power(bits=3, exponent=0.5), [[9.0, 4.5, 1.2, -1.0, 0.2]])
    assert decoded[0].tolist() == pytest.approx([9, 4, 1, -1, 0])
    assert frame[-4 - 8 : -4].hex() == "00001041" + "0203" + "d626"  # 110 101 100 010 011: 3 stands for 0


@pytest.mark.parametrize("exponent", [1.0, 0.75, 0.5, 0.35])
@pytest.mark.parametrize("law", ["standard_normal", "laplace"])
def test_it_errs_as_the_formula_says(exponent, law):
    """round(sign(x) |x / m|^a n) and back, n = 7, in float64."""
    x = getattr(np.random.default_rng(0), law)(size=100_000).astype(np.float32).astype(np.float64)
    m = np.abs(x).max()
    codes = np.rint(np.abs(x / m) ** exponent * 7)
    expected = np.square(np.sign(x) * (codes / 7) ** (1 / exponent) * m - x).sum()
    decoded, _, _ = sent(Power(exponent=exponent), [x])
    lost = np.square(decoded[0].double().numpy() - x).sum()
    assert lost == pytest.approx(expected, rel=1e-4)


def test_the_search_takes_the_exponent_that_errs_least_for_each_client():
    stream = np.random.default_rng(0)
    rows = np.stack([stream.uniform(-1, 1, 20_000), stream.laplace(size=20_000)])
    for row, found in zip(rows, sent(Power(), rows)[0], strict=True):
        tried = [sent(Power(exponent=a), [row])[0][0] for a in (1.0, 0.75, 0.5, 0.35)]
        best = min(tried, key=lambda one: np.square(one.numpy() - row.astype(np.float32)).sum())
        assert found.tolist() == best.tolist()


def planned(codec, scales, sizes):
    """Return (bits of each tensor, payload bits an element, NMSE) of normal tensors of these deviations."""
    starts = np.cumsum([0, *sizes])
    slots = tuple(Slot(f"t{i}", (n,), int(starts[i])) for i, n in enumerate(sizes))
    stream = np.random.default_rng(0)
    row = np.concatenate([s * stream.standard_normal(n) for s, n in zip(scales, sizes, strict=True)])
    vectors = torch.from_numpy(row.astype(np.float32))[None]
    layout, one = Layout(slots), torch.tensor([1])
    updates = Updates(vectors, one, one)
    records = codec.encode(updates, layout, None, STREAMS)[0][0]
    frames, _ = encode_cohort(codec, updates, layout, 5, None, STREAMS)
    decoded, rejected = decode_cohort(codec, frames, [1], layout, 5, STREAMS)
    assert not rejected
    lost = float((decoded - vectors).square().sum() / vectors.square().sum())
    return [r.body[5] for r in records], 8 * payload_bytes(frames[0]) / len(row), lost


def test_a_plan_gives_large_tensors_more_bits_at_the_same_mean():
    """Deviations 1, 2, 1/2, 4: the closed form's bits differ by log2 of them; never more than the mean."""
    bits, spent, lost = planned(Power(bits=4, plan=True), [1, 2, 0.5, 4], [10_000] * 4)
    assert sum(bits) == 16
    assert set(np.array(bits) - [0, 1, -1, 2]) <= {3, 4}
    even, spent_evenly, lost_evenly = planned(Power(bits=4), [1, 2, 0.5, 4], [10_000] * 4)
    assert even == [4, 4, 4, 4]
    assert spent == pytest.approx(spent_evenly)
    assert lost < 0.7 * lost_evenly


def test_a_tensor_of_no_bits_comes_back_as_zeros():
    bits, _, _ = planned(Power(bits=2, plan=True), [1, 1e-6], [1000, 1000])
    assert bits == [4, 0]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("0000803f" + "0203" + "e0", "code 7, allowed 0 to 6"),
        ("0000803f" + "0203" + "01", "padding bits are not zero"),
        ("0000803f" + "0004" + "00", "exponent and bits 0004, not of these options"),
        ("0000803f" + "0403" + "00", "exponent and bits 0403"),
        ("0000803f" + "02", "exponent and bits 02"),
        ("0000803f" + "0203", "0 bytes, expected 1"),
        ("000080bf" + "0203" + "00", "not finite and at least 0"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(body, complaint):
    with pytest.raises(FrameError, match=complaint):
        Power(bits=3).decode([Record(0, 0x03, 2, bytes.fromhex(body))], flat(2), STREAMS.context(0))


def test_bytes_behind_a_tensor_of_no_bits_are_refused():
    body = bytes.fromhex("0000803f" + "0000" + "00")
    with pytest.raises(FrameError, match="7 bytes of 0 bits, expected 6"):
        Power(plan=True).decode([Record(0, 0x03, 2, body)], flat(2), STREAMS.context(0))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"bits": 1}, "bits must be between 2 and 8, got 1"),
        ({"exponent": 0.6}, "exponent must be one of 1.0, 0.75, 0.5, 0.35, got 0.6"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        Power(**options)
