"""Oracles: Eckart and Young's bound, and the projection onto the span that was sent."""

import numpy as np
import pytest
import torch

from gauntlet.clients.codecs.parts.spans import SpanMismatch
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort, mismatch_of
from gauntlet.clients.codecs.powersgd import PowerSGD
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Envelope, Record
from gauntlet.core.layout import Layout
from gauntlet.core.updates import Updates

STREAMS = CodecStreams(seed=0, round=7)


def layout_of(*shapes):
    layout = Layout(())
    for number, shape in enumerate(shapes):
        layout = layout.followed_by(**{f"t{number}": torch.Size(shape)})
    return layout


def sent(codec, layout, *rows):
    """Return (decoded rows [K, P], frames)."""
    vectors = torch.as_tensor(np.stack(rows), dtype=torch.float32)
    ids = torch.arange(len(rows))
    frames, _ = encode_cohort(codec, Updates(vectors, ids, ids + 1), layout, 9, None, STREAMS)
    decoded, rejected = decode_cohort(codec, frames, ids.tolist(), layout, 9, STREAMS)
    assert not rejected
    return decoded, frames


def with_spectrum(values, n=128, m=64, seed=0):
    stream = np.random.default_rng(seed)
    left, right = (np.linalg.qr(stream.standard_normal((side, len(values))))[0] for side in (n, m))
    return ((left * values) @ right.T).reshape(-1)


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("spectrum", ["harmonic", "geometric"])
def test_five_iterations_come_close_to_the_best_projection(rank, spectrum):
    """Eckart and Young 1936: no matrix of this rank is closer than the root of the squared rest."""
    j = np.arange(1, 65)
    values = 1.0 / j if spectrum == "harmonic" else 0.8**j
    matrix, best = with_spectrum(values), np.sqrt(np.square(values[rank:]).sum())
    errors = []
    for iterations in (1, 5):
        decoded, _ = sent(PowerSGD(rank=rank, iterations=iterations), layout_of((128, 64)), matrix)
        errors.append(np.linalg.norm(decoded[0].double().numpy() - matrix))
    assert best * (1 - 1e-5) <= errors[1] <= 1.1 * best
    assert errors[1] < errors[0]


def two_trips(matrices, q, iterations):
    """Algorithm 1 of the paper: P is the orthonormal mean of M_k Q, and Q the mean of M_k^T P."""
    for _ in range(iterations):
        p = np.linalg.qr((matrices @ q).mean(axis=0))[0]
        q = (np.swapaxes(matrices, 1, 2) @ p).mean(axis=0)
    return p @ q.T


@pytest.mark.parametrize(("spectrum", "own", "nearer"), [("geometric", 0.3, True), ("harmonic", 0.7, False)])
def test_one_trip_comes_nearer_to_the_mean_than_the_papers_two_where_clients_are_alike(spectrum, own, nearer):
    """The mean of ten clients' products has rank 10 r; two trips give rank r, and Eckart and Young bound it.

    Where most of a client is its own, its r columns say little of the mean, and two trips come nearer.
    """
    j = np.arange(1, 33)
    values = 1.0 / j if spectrum == "harmonic" else 0.8**j
    common = with_spectrum(values, 48, 32)
    rows = [common + with_spectrum(own * values, 48, 32, seed) for seed in range(1, 11)]
    matrices = np.stack(rows).reshape(10, 48, 32)
    mean = matrices.mean(axis=0)
    best = np.linalg.norm(np.linalg.svd(mean, compute_uv=False)[2:])
    decoded, _ = sent(PowerSGD(rank=2, iterations=3), layout_of((48, 32)), *rows)

    start = np.random.default_rng(0).standard_normal((32, 2))
    paper = [np.linalg.norm(two_trips(matrices, start, iterations) - mean) for iterations in (1, 3)]
    ours = np.linalg.norm(decoded.double().numpy().mean(axis=0).reshape(48, 32) - mean)
    assert best <= paper[1] < paper[0]
    assert ours < 0.97 * best if nearer else ours > 1.02 * paper[1]


def test_a_matrix_of_the_rank_comes_back_and_takes_the_factors_bytes():
    matrix = with_spectrum(np.array([3.0, 1.0]), 20, 30)
    decoded, (frame,) = sent(PowerSGD(rank=2), layout_of((20, 5, 6)), matrix)
    np.testing.assert_allclose(decoded[0].numpy(), matrix, atol=1e-5)
    assert len(frame) == 20 + 6 + 4 * 2 * (20 + 30)


def test_vectors_and_small_matrices_are_sent_as_they_are():
    row = np.random.default_rng(0).standard_normal(50 + 12)
    decoded, _ = sent(PowerSGD(rank=2), layout_of((50,), (3, 4)), row)
    np.testing.assert_array_equal(decoded[0].numpy(), row.astype(np.float32))


@pytest.mark.parametrize(("min_ratio", "numbers"), [(3.0, 200), (3.1, 600)])
def test_matrices_that_would_not_be_so_many_times_smaller_are_sent_as_they_are(min_ratio, numbers):
    """By hand: 4 (20 + 30) numbers in the place of 600 are a third."""
    row = np.random.default_rng(0).standard_normal(600)
    _, (frame,) = sent(PowerSGD(rank=4, min_ratio=min_ratio), layout_of((20, 30)), row)
    assert len(frame) == 20 + 6 + 4 * numbers


def test_of_an_updates_frame_the_mismatch_sees_the_span_of_p_alone():
    """M = 3 u v^T + w z^T of rank 2 fits; what stands at right angles to both columns changes nothing."""
    values = with_spectrum(np.array([3.0, 1.0]), 20, 30)
    codec, layout, one = PowerSGD(rank=2), layout_of((20, 30)), torch.tensor([0])
    update = torch.as_tensor(values, dtype=torch.float32)
    (frame,), _ = encode_cohort(codec, Updates(update[None], one, one + 1), layout, 9, None, STREAMS)
    fits = mismatch_of(codec, frame, Envelope(11, 7, 0, 9), layout, STREAMS.context(0))
    columns = np.linalg.svd(values.reshape(20, 30))[0]
    beside = update + 5 * torch.from_numpy(np.outer(columns[:, 5], np.ones(30)).reshape(-1)).float()
    inside = update + 5 * torch.from_numpy(np.outer(columns[:, 0], np.ones(30)).reshape(-1)).float()
    assert float(fits(update)) == pytest.approx(0, abs=1e-5)
    assert float(fits(beside)) == pytest.approx(0, abs=1e-5)
    assert float(fits(inside)) > 0.1


def test_a_body_is_both_factors_or_the_tensor_in_float32():
    """By hand: 2 (20 + 30) numbers and 50."""
    codec, layout = PowerSGD(rank=2), layout_of((20, 30), (50,))
    one = torch.tensor([0])
    updates = Updates(torch.ones(1, 650), one, one + 1)
    (records,), _ = codec.encode(updates, layout, None, STREAMS)
    assert [codec.max_body(slot.shape) for slot in layout.parameters] == [400, 200]
    assert [len(record.body) for record in records] == [400, 200]
    assert codec.ideal_bits(records, layout) == 8 * 600


def test_another_tag_or_length_is_refused():
    codec, layout, context = PowerSGD(rank=2), layout_of((20, 30)), STREAMS.context(0)
    with pytest.raises(FrameError, match="tag 0x01, allowed 0x00"):
        codec.decode([Record(0, 0x01, 600, bytes(400))], layout, context)
    with pytest.raises(FrameError, match="396 bytes, expected 400"):
        codec.decode([Record(0, 0x00, 600, bytes(396))], layout, context)


def test_an_update_that_is_not_finite_is_rejected_alone():
    rows = torch.ones(2, 600)
    rows[0, 7] = torch.nan
    ids = torch.arange(2)
    layout = layout_of((20, 30))
    frames, _ = encode_cohort(PowerSGD(), Updates(rows, ids, ids + 1), layout, 9, None, STREAMS)
    decoded, rejected = decode_cohort(PowerSGD(), frames, [0, 1], layout, 9, STREAMS)
    assert [row for row, _ in rejected] == [0]
    torch.testing.assert_close(decoded, rows[1:])


def test_tensors_without_elements_are_sent_as_they_are():
    decoded, _ = sent(PowerSGD(rank=1), layout_of((0, 0), (0, 5), (2,)), [3.0, 4.0])
    assert decoded[0].tolist() == [3, 4]


@pytest.mark.parametrize("factor", [1e-38, 1e-30, 1e30])
def test_sizes_at_the_ends_of_float32_come_back(factor):
    matrix = with_spectrum(np.array([3.0, 1.0]), 20, 30) * factor
    decoded, _ = sent(PowerSGD(rank=2), layout_of((20, 30)), matrix)
    np.testing.assert_allclose(decoded[0].double().numpy() / factor, matrix / factor, atol=1e-4)


def test_the_mismatch_does_not_look_outside_the_span():
    """By hand: the span is the first axis; of (3, 4)^T times a row only the first row was sent."""
    layout = layout_of((2, 2))
    span = torch.tensor([[1.0], [0.0]])
    mismatch = SpanMismatch.of(torch.tensor([3.0, 6.0, 0.0, 0.0]), {layout.parameters[0]: span})

    assert float(mismatch(torch.tensor([1.0, 2.0, 9.0, -9.0]))) == pytest.approx(0, abs=1e-6)
    assert float(mismatch(torch.tensor([2.0, -1.0, 9.0, 9.0]))) == pytest.approx(1, abs=1e-6)
    assert float(mismatch(torch.tensor([-1.0, -2.0, 0.0, 0.0]))) == pytest.approx(2, abs=1e-6)


def test_factors_of_which_the_product_overflows_are_refused():
    codec, layout = PowerSGD(rank=1, min_ratio=1.0), layout_of((4, 4))
    body = np.full(8, 3e38, "<f4").tobytes()
    with pytest.raises(FrameError, match="a product is not finite"):
        codec.decode([Record(0, 0x00, 16, body)], layout, STREAMS.context(0))


@pytest.mark.parametrize("option", ["rank", "iterations", "min_ratio"])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be at least 1 and finite, got 0"):
        PowerSGD(**{option: 0})
