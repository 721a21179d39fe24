"""TernGrad against its formulas, a slow restatement, golden statistics and golden bytes."""

import zlib

import numpy as np
import pytest
import torch

from gauntlet.clients.codecs.parts import packing
from gauntlet.clients.codecs.parts.huffman import ZLIB, pack_huffman
from gauntlet.clients.codecs.parts.rice import RICE_SIGNS, pack_rice
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.clients.codecs.terngrad import TernGrad
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record, payload_bytes
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Updates

STREAMS = CodecStreams(seed=5, round=0)
CONTEXT = STREAMS.context(0)


def flat(*sizes):
    starts = np.cumsum([0, *sizes])
    return Layout(tuple(Slot(f"t{i}", (n,), int(starts[i])) for i, n in enumerate(sizes)))


def cohort(rows):
    vectors = torch.as_tensor(np.asarray(rows, dtype=np.float32))
    ids = torch.arange(len(vectors))
    return Updates(vectors, ids, ids + 1)


def sent(codec, rows, layout=None):
    """Return what the server decodes [K, P], and the frames."""
    updates = cohort(rows)
    layout = layout or flat(updates.vectors.shape[1])
    frames, _ = encode_cohort(codec, updates, layout, 1, codec.init(), STREAMS)
    vectors, rejected = decode_cohort(codec, frames, range(len(frames)), layout, 1, STREAMS)
    assert not rejected
    return vectors.double().numpy(), frames


def restated(row, uniforms, clip, sd, scale):
    """Section 3 of the paper, one coordinate after the other, in Python floats."""
    n = len(row)
    mean = sum(row) / n if sd == "std" else 0.0
    spread = (sum((g - mean) ** 2 for g in row) / n) ** 0.5
    bound = clip * spread if clip else float("inf")
    clipped = [max(-bound, min(bound, g)) for g in row]
    s = bound if scale == "cstd" else max(abs(g) for g in clipped)
    return [s * np.sign(g) * (u < abs(g) / s) for g, u in zip(clipped, uniforms, strict=True)]


@pytest.mark.parametrize("sd", ["rms", "std"])
@pytest.mark.parametrize(("clip", "scale"), [(0.0, "max"), (1.5, "max"), (2.5, "cstd"), (0.5, "cstd")])
def test_each_tensor_is_what_the_paper_says_coordinate_by_coordinate(clip, sd, scale):
    """A restatement of the paper's section 3 without arrays, on the same uniforms."""
    layout = flat(30, 50)
    rows = generator(1, "rows").standard_normal((4, 80)) + 0.3
    decoded, _ = sent(TernGrad(clip=clip, sd=sd, scale=scale), rows, layout)
    for client, row in enumerate(rows.astype(np.float32).astype(float)):
        uniforms = STREAMS(client).random(80, dtype=np.float32).astype(float)
        expected = [
            *restated(row[:30], uniforms[:30], clip, sd, scale),
            *restated(row[30:], uniforms[30:], clip, sd, scale),
        ]
        np.testing.assert_allclose(decoded[client], expected, rtol=1e-6)


def entropy(codes):
    shares = np.unique(codes, return_counts=True)[1] / codes.size
    return float(-(shares * np.log2(shares)).sum())


@pytest.mark.parametrize(
    ("draw", "variance", "nonzero", "bits"),
    [("standard_normal", 1.030, 0.3174, 1.219), ("laplace", 0.977, 0.2749, 1.123)],
)
def test_a_million_draws_give_the_golden_statistics(draw, variance, nonzero, bits):
    """Clip 2.5: relative variance, share of nonzeros and entropy of the specification, within 1 %."""
    x = getattr(generator(0, draw), draw)(size=1_000_000).astype(np.float32)
    decoded, frames = sent(TernGrad(pack="rice"), x[None])
    bound = 2.5 * np.sqrt(np.square(x.astype(float)).mean())
    clipped = np.clip(x.astype(float), -bound, bound)
    error = np.square(decoded[0] - clipped).sum() / np.square(clipped).sum()
    assert error == pytest.approx(variance, rel=0.01)
    assert (decoded != 0).mean() == pytest.approx(nonzero, rel=0.01)
    assert entropy(np.sign(decoded)) == pytest.approx(bits, rel=0.01)
    rice_bits = 8 * payload_bytes(frames[0]) / 1_000_000
    assert 0.999 * entropy(np.sign(decoded)) <= rice_bits <= 1.015 * bits  # 0.8 % above the entropy


@pytest.mark.parametrize(("pack", "bits"), [("base3", 1.6), ("two_bit", 2.0)])
def test_fixed_packings_cost_their_bits(pack, bits):
    _, frames = sent(TernGrad(pack=pack), generator(0, "rows").standard_normal((1, 100_000)))
    assert 8 * (payload_bytes(frames[0]) - 4) / 100_000 == bits


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_the_error_is_scale_times_l1_minus_l2_squared(clip):
    """E ||s code - g_c||^2 = s ||g_c||_1 - ||g_c||_2^2, within 5 standard errors of 3000 draws."""
    g = generator(2, "rows").standard_normal(20).astype(np.float32).astype(float)
    bound = clip * np.sqrt(np.square(g).mean()) if clip else np.inf
    clipped = np.clip(g, -bound, bound)
    decoded, _ = sent(TernGrad(clip=clip), np.tile(g, (3000, 1)))
    errors = np.square(decoded - clipped).sum(axis=1)
    expected = np.abs(clipped).max() * np.abs(clipped).sum() - np.square(clipped).sum()
    assert abs(errors.mean() - expected) < 5 * errors.std() / 3000**0.5


def test_decoding_is_unbiased_for_the_clipped_tensor_and_not_for_the_tensor():
    g = np.array([4.0, 1.0, -1.0, 0.5, -0.25, 0.0])
    bound = np.sqrt(np.square(g).mean())
    decoded, _ = sent(TernGrad(clip=1.0), np.tile(g, (3000, 1)))
    errors = decoded.std(axis=0) / 3000**0.5
    assert (np.abs(decoded.mean(axis=0) - np.clip(g, -bound, bound)) <= 5 * errors + 1e-6).all()
    assert abs(decoded[:, 0].mean() - 4.0) > 1
    assert not TernGrad(clip=1.0).unbiased
    assert TernGrad(clip=0.0).unbiased


def test_a_constant_tensor_survives_under_rms_and_vanishes_under_std():
    """The paper's sigma is about the mean: 0 for a constant."""
    rows = np.full((1, 9), 0.7)
    np.testing.assert_array_equal(sent(TernGrad(sd="rms"), rows)[0], np.float32(0.7))
    assert not sent(TernGrad(sd="std"), rows)[0].any()


@pytest.mark.parametrize("numel", range(12))
def test_the_payload_has_the_length_of_the_formula(numel):
    """4 bytes of scale and ceil(n / 5), ceil(n / 4)."""
    rows = np.ones((1, numel))
    for pack, group in (("base3", 5), ("two_bit", 4)):
        codec = TernGrad(pack=pack)
        _, frames = sent(codec, rows)
        assert payload_bytes(frames[0]) == 4 + -(-numel // group) == codec.max_body((numel,))


def test_auto_takes_the_smallest_form_of_each_tensor():
    """Of 35 values Huffman's table is longer than what it saves; of one among 1000 Rice needs 4 bytes."""
    draws = generator(7, "rows").standard_normal((1, 1000))
    cases = {0x05: np.ones((1, 35)), 0x32: np.eye(1, 1000), 0x07: np.ones((1, 1000)), None: draws}
    for tag, rows in cases.items():
        frames = {
            pack: sent(TernGrad(clip=0, pack=pack), rows)[1][0]
            for pack in ("base3", "rice", "huffman", "auto")
        }
        assert len(frames["auto"]) == min(map(len, frames.values()))
        assert tag is None or frames["auto"][17] == tag


def test_huffman_decodes_golden_bytes_whatever_zlib_wrote_them():
    """Base 3's golden bytes 71 02 stored in a zlib stream without any code (RFC 1951, type 00)."""
    stored = "7801" + "01" + "0200" + "fdff" + "7102" + "00e60074"
    body = bytes.fromhex("0000003f" + "05" + stored)
    decoded = TernGrad(pack="huffman").decode([Record(0, 0x07, 7, body)], flat(7), CONTEXT)
    assert decoded.tolist() == [0.5, 0, -0.5, 0, 0, 0.5, -0.5]


@pytest.mark.parametrize(
    ("rest", "complaint"),
    [
        ("", "inner code missing, allowed 05"),
        ("09" + "7801010200fdff710200e60074", "inner code 09, allowed 05"),
        ("05" + "7801010200fdff710200e60075", "incorrect data check"),
        ("05" + "7801010200fdff710200e6007400", "no whole stream of 2 bytes"),
        ("05" + "7801010300fcff710200015a0074", "no whole stream of 2 bytes"),
        ("05" + "7801010200fdfff30201ea00f6", "above 242"),
    ],
)
def test_huffman_bodies_that_no_encoder_makes_are_refused(rest, complaint):
    with pytest.raises(FrameError, match=complaint):
        TernGrad(pack="huffman").decode(
            [Record(0, 0x07, 7, bytes.fromhex("0000003f" + rest))], flat(7), CONTEXT
        )


def test_a_stream_that_would_unpack_to_megabytes_is_cut_off():
    bomb = bytes.fromhex("0000003f05") + zlib.compress(bytes(50_000_000))
    with pytest.raises(FrameError, match="no whole stream of 2 bytes"):
        TernGrad(pack="huffman").decode([Record(0, 0x07, 7, bomb)], flat(7), CONTEXT)


def test_small_tensors_are_sent_as_they_are():
    rows = generator(3, "rows").standard_normal((2, 25)).astype(np.float32)
    decoded, frames = sent(TernGrad(size_to_binarize=6), rows, flat(5, 20))
    np.testing.assert_array_equal(decoded[:, :5], rows[:, :5])
    assert len(np.unique(np.abs(decoded[0, 5:]))) <= 2
    assert payload_bytes(frames[0]) == 20 + 4 + 4


GOLDEN = Record(0, 0x05, 7, bytes.fromhex("0000003f7102"))


def test_the_golden_body_decodes_to_half_the_codes():
    """The specification's frame: scale 0.5, codes 1, 0, -1, 0, 0, 1, -1."""
    assert TernGrad().decode([GOLDEN], flat(7), CONTEXT).tolist() == [0.5, 0, -0.5, 0, 0, 0.5, -0.5]


@pytest.mark.parametrize("scale", ["0000c07f", "0000807f", "000080ff", "000000bf", "00000080"])
def test_a_scale_that_is_not_finite_or_below_zero_is_refused(scale):
    """NaN, both infinities, -0.5 and -0."""
    body = bytes.fromhex(scale + "7102")
    with pytest.raises(FrameError, match=r"scale .* is not finite and at least 0"):
        TernGrad().decode([Record(0, 0x05, 7, body)], flat(7), CONTEXT)


@pytest.mark.parametrize("tag", [0x00, 0x04, 0x32, 0x15, 0xFF])
def test_a_tag_that_the_options_do_not_give_is_refused(tag):
    with pytest.raises(FrameError, match=r"tensor 0: tag .* allowed 0x05"):
        TernGrad().decode([Record(0, tag, 7, GOLDEN.body)], flat(7), CONTEXT)


def test_a_plain_tensor_that_is_not_finite_is_refused():
    body = np.array([1, np.nan], dtype="<f4").tobytes()
    with pytest.raises(FrameError, match="a value is not finite"):
        TernGrad(size_to_binarize=3).decode([Record(0, 0, 2, body)], flat(2), CONTEXT)


def test_an_update_that_is_not_finite_is_rejected_and_the_others_are_not():
    rows = generator(4, "rows").standard_normal((3, 10))
    rows[1, 4] = np.inf
    codec, layout = TernGrad(), flat(10)
    frames, _ = encode_cohort(codec, cohort(rows), layout, 1, None, STREAMS)
    vectors, rejected = decode_cohort(codec, frames, [0, 1, 2], layout, 1, STREAMS)
    assert [row for row, _ in rejected] == [1]
    assert "scale nan is not finite" in rejected[0][1]
    assert len(vectors) == 2


@pytest.mark.parametrize("factor", [1e30, 3e38, 1e-30, 1e-44])
def test_huge_and_tiny_updates_keep_their_scale(factor):
    row = np.array([1, -1, 1, 1, -1]) * factor
    decoded, _ = sent(TernGrad(), row[None])
    np.testing.assert_array_equal(decoded[0], row.astype(np.float32))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"clip": -1.0}, "clip must be at least 0 and finite, got -1.0"),
        ({"size_to_binarize": -1}, "size_to_binarize must be at least 0 and finite, got -1"),
        ({"clip": 0.0, "scale": "cstd"}, "needs clip above 0"),
        ({"scale": "fixed"}, "theta belongs to scale 'fixed', and it needs one; got theta None"),
        ({"theta": 1.0}, "theta belongs to scale 'fixed'"),
        ({"scale": "fixed", "theta": -1.0}, "theta must be above 0"),
        ({"scale": "fixed", "theta": float("nan")}, "theta must be above 0"),
        ({"scale": "fixed", "theta": 1.0, "share_scales": True}, "leave out share_scales"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        TernGrad(**options)


@pytest.mark.parametrize("numel", [1, 4, 5, 6, 640, 1003])
@pytest.mark.parametrize("pack", ["base3", "huffman", "rice", "two_bit"])
def test_ideal_bits_are_the_entropy_of_the_unpacked_codes(numel, pack):
    """To the last bit: codes that fill no whole byte of five are not counted with its padding."""
    rng = np.random.default_rng(numel)
    codes = rng.choice(np.array([-1, 0, 1], dtype=np.int8), size=(1, numel), p=[0.1, 0.7, 0.2])
    tag, make = {
        "base3": (packing.BASE3, packing.pack_base3),
        "huffman": (ZLIB, lambda c: pack_huffman(packing.pack_base3(c), packing.BASE3)),
        "rice": (RICE_SIGNS, lambda c: [pack_rice(row) for row in c]),
        "two_bit": (packing.TWO_BIT, packing.pack_two_bit),
    }[pack]
    record = Record(0, tag, numel, b"\0\0\x80\x3f" + bytes(next(iter(make(codes)))))
    codec = TernGrad(pack=pack, size_to_binarize=0)
    assert codec.ideal_bits([record], flat(numel)) == packing.entropy(codes[0]) + 32
