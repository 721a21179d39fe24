"""Oracles: steepest descent on a quadratic with a few steep directions, and singular vectors by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gauntlet.clients.codecs.contract import CHECKS
from gauntlet.clients.codecs.contract.specimens import P as LENGTH
from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.clients.codecs.subspace import Subspace
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.updates import Updates


def flat(numel):
    return Layout((Slot("t", (numel,), 0),))


def sent(codec, rows, shared, round_=0, state=None, params=None):
    vectors = torch.as_tensor(np.asarray(rows), dtype=torch.float32)
    ids, layout = torch.arange(len(vectors)), flat(vectors.shape[1])
    streams = CodecStreams(0, round_, shared, params=params)
    state = codec.init() if state is None else state
    frames, state = encode_cohort(codec, Updates(vectors, ids, ids + 1), layout, 0xBEEF, state, streams)
    decoded, rejected = decode_cohort(codec, frames, ids.tolist(), layout, 0xBEEF, streams)
    assert not rejected
    return decoded, frames, state


@pytest.mark.parametrize("complement", [False, True])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_promise_is_kept_inside_a_subspace(complement, check):
    codec = Subspace(rank=3, complement=complement)
    basis = torch.linalg.qr(torch.from_numpy(np.random.default_rng(0).standard_normal((LENGTH, 3))))[
        0
    ].float()
    own = {name: getattr(codec, name) for name in dir(codec) if not name.startswith("_")}
    check(SimpleNamespace(**own | {"share": lambda params, aggregate, state: basis}))


@pytest.mark.parametrize(
    ("complement", "loss", "bulk"), [(None, 2.6, None), (False, 6.8, 5.0), (True, 50.8, 0.79)],
    ids=["whole", "inside", "outside"],
)  # fmt: skip
def test_descent_inside_the_steep_directions_leaves_the_others_untouched(complement, loss, bulk):
    """The specification's: 10 eigenvalues of 10, 200 of 0.05, x = 1, noise sqrt(lambda), step 0.05."""
    eigenvalues = np.repeat([10.0, 0.05], [10, 200])
    basis = None if complement is None else torch.eye(210)[:, :10].contiguous()
    codec, stream, x = Subspace(complement=bool(complement)), np.random.default_rng(0), np.ones(210)
    for t in range(400):
        gradient = eigenvalues * x + np.sqrt(eigenvalues) * stream.standard_normal(210)
        x = x - 0.05 * sent(codec, [gradient], basis, t)[0][0].double().numpy()
    found = eigenvalues * np.square(x) / 2
    assert found.sum() == pytest.approx(loss, rel=0.1)
    if complement is False:
        assert found[10:].sum() == pytest.approx(5.0, abs=1e-12)
    elif bulk is not None:
        assert found[10:].sum() == pytest.approx(bulk, rel=0.1)


def test_the_basis_is_of_the_servers_steps_and_whole_rounds_renew_it():
    """Two warm-up rounds whose steps are (3, 0, 0, 0) and (0, 4, 0, 0): of rank 1, the longer one."""
    codec = Subspace(rank=1, warmup=2, refresh=3)
    params = torch.tensor(
        [[0.0, 0, 0, 0], [3, 0, 0, 0], [3, 4, 0, 0], [3, 4, 0, 9], [3, 4, 0, 9], [3, 4, 50, 9]]
    )
    state, shared, seen = codec.init(), None, []
    for t in range(5):
        _, (frame,), state = sent(codec, [[1.0, 2, 3, 4]], shared, t, state, params[t])
        seen.append((len(frame), shared))
        shared = codec.share(params[t + 1], torch.zeros(4), state)
    whole, projected = 20 + 4 + 16, 20 + 4 + 4
    assert [length for length, _ in seen] == [whole, whole, projected, projected, whole]
    for _, basis in seen[2:4]:
        assert basis.abs().flatten().tolist() == [0, 1, 0, 0]
    assert shared.abs().flatten().tolist() == [0, 0, 1, 0]


def test_messages_begun_in_one_round_leave_one_state():
    """As where clients begin one after the other: a step is remembered once."""
    codec, params = Subspace(), torch.arange(4.0)
    _, _, first = sent(codec, [[1.0] * 4], None, 0, None, params)
    _, _, again = sent(codec, [[2.0] * 4], None, 0, first, params)
    _, _, second = sent(codec, [[1.0] * 4], None, 1, again, params + 1)
    assert again["steps"] == []
    assert [step.tolist() for step in second["steps"]] == [[1.0] * 4]


def test_a_frame_to_the_byte():
    """By hand: of (3, 4) the coordinate along (0.6, 0.8) is 5."""
    decoded, (frame,), _ = sent(Subspace(rank=1), [[3.0, 4.0]], torch.tensor([[0.6], [0.8]]), 7)
    assert frame[:-4].hex() == "474e01100700000000000000" + "0100efbe" + "00400204" + "0000a040"
    torch.testing.assert_close(decoded[0], torch.tensor([3.0, 4.0]))


def test_bodies_that_no_encoder_makes_are_refused():
    context = CodecStreams(0, 7, torch.tensor([[0.6], [0.8]])).context(0)
    for tag, body, complaint in (
        (0x00, bytes(8), "tag 0x00, allowed 0x40"),
        (0x40, bytes(8), "8 bytes, expected 4"),
        (0x40, bytes.fromhex("0000c07f"), "not finite"),
    ):
        with pytest.raises(FrameError, match=complaint):
            Subspace(rank=1).decode([Record(0, tag, 2, body)], flat(2), context)


@pytest.mark.parametrize(("option", "value", "least"), [("rank", 0, 1), ("refresh", 1, 2), ("warmup", 0, 1)])
def test_options_out_of_range_are_refused(option, value, least):
    with pytest.raises(ValueError, match=f"{option} must be at least {least}, got {value}"):
        Subspace(**{option: value})
