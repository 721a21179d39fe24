"""What a codec owes that says how badly updates fit its frames."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ....core.contracts import Codec, Mismatch
from ....core.declarations import Codecs, declared
from ....core.errors import FrameError
from ....core.frames import Record
from ....core.layout import Layout
from ....core.registry import require
from ....core.seeds import generator
from ....core.updates import Updates
from .specimens import LAYOUT, LONG, mixed, normal, streams_of

_CLIENT = 1


def fits_what_was_sent_best(codec: Codec) -> None:
    """Its mismatch is lower of what was encoded than of updates far from it, in a client's first message.

    Tried are other values, the same ones on other places, the opposite, and half as much noise again. Where
    it is ``scale_free`` the size of an update does not matter.
    """
    draws = generator(0, "codec-contract-fitting").standard_normal((3, LONG.num_parameters))
    update, other, noise = (torch.from_numpy(row).float() * 0.01 for row in draws)
    mismatch = _mismatch(codec, update, LONG)
    if mismatch is None:
        return
    least = float(mismatch(update))
    others = {
        "other values": other,
        "the same values on other places": update.roll(1),
        "its opposite": -update,
        "it with noise of half its size": update + 0.5 * noise,
    }
    for what, candidate in others.items():
        found = float(mismatch(candidate))
        require(least < found, f"the mismatch of what was encoded is {least:.4g}, and of {what} {found:.4g}")
    if mismatch.scale_free:
        for factor in (1e-20, 3.0, 1e20):
            found = float(mismatch(update * factor))
            same = abs(found - least) <= 1e-3 * max(abs(least), 1e-3)
            require(same, f"it is scale_free, and of {factor:g} times an update {found:.6g}, not {least:.6g}")


def judges_updates_one_by_one(codec: Codec) -> None:
    """A mismatch of updates [..., P] is float32 [...], of each as if alone, and writes to none of them."""
    mismatch = _mismatch(codec, normal(1), LAYOUT)
    if mismatch is None:
        return
    batch = torch.stack([torch.stack([normal(2 * i + j) for j in range(2)]) for i in range(3)])  # [3, 2, P]
    before, found = batch.clone(), mismatch(batch)
    fits = found.shape == (3, 2) and found.dtype == torch.float32
    require(fits, f"the mismatch of updates [3, 2, P] is {found.dtype} {list(found.shape)}, expected [3, 2]")
    require(torch.equal(before, batch), "the mismatch wrote to the updates")
    alone = torch.stack([mismatch(row) for row in batch.flatten(0, 1)]).view(3, 2)
    close = torch.allclose(found, alone, rtol=1e-4, atol=1e-6)
    require(close, "the mismatch of an update depends on the others that it is asked of together")


def says_how_to_fit_better(codec: Codec) -> None:
    """The gradient of a mismatch is finite, not zero, and a small step against it is no worse.

    Finite it is too of updates that are 0, huge or tiny, and of frames of such updates.
    """
    for sent in (normal(1), *mixed().vectors):
        mismatch = _mismatch(codec, sent, LAYOUT)
        if mismatch is None:
            return
        for candidate in (normal(2), sent, torch.zeros_like(sent), normal(3) * 1e30, normal(3) * 1e-30):
            value, gradient = _slope(mismatch, candidate)
            finite = bool(value.isfinite()) and bool(gradient.isfinite().all())
            require(finite, "the mismatch of a finite update, or its gradient, is not finite")
    mismatch = _mismatch(codec, normal(1), LAYOUT)
    assert mismatch is not None
    start = normal(2)
    value, gradient = _slope(mismatch, start)
    require(bool(gradient.any()), "the gradient of the mismatch is zero, far from what was encoded")
    step = start - 1e-3 * gradient * (start.norm() / gradient.norm())
    after = mismatch(step)
    require(
        float(after) <= float(value), f"against its gradient the mismatch grows, {value:.6g} to {after:.6g}"
    )


def judges_by_whatever_decodes(codec: Codec) -> None:
    """Of damaged records that decode all the same the mismatch is finite."""
    if declared(codec, Codecs.mismatch) is None:
        return
    streams, stream = streams_of(codec), generator(0, "codec-contract-judges")
    rows, _ = codec.encode(mixed(), LAYOUT, codec.init(), streams)
    contexts = [streams.context(client) for client in mixed().client_ids.tolist()]
    for trial in range(60):
        row = trial % len(rows)
        records = [_flipped(record, stream) for record in rows[row]]
        try:
            codec.decode(records, LAYOUT, contexts[row])
        except FrameError:
            continue
        mismatch = codec.mismatch(records, LAYOUT, contexts[row])  # type: ignore[attr-defined]
        if mismatch is not None:
            require(
                bool(mismatch(normal(1)).isfinite()), "the mismatch of a frame that decodes is not finite"
            )


def _flipped(record: Record, stream: np.random.Generator) -> Record:
    """Return a record with one bit flipped."""
    body = bytearray(record.body)
    if body:
        body[int(stream.integers(len(body)))] ^= 1 << int(stream.integers(8))
    return replace(record, body=bytes(body))


def _slope(mismatch: Mismatch, update: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mismatch of one update, and its gradient [P]."""
    update = update.clone().requires_grad_()
    with torch.enable_grad():
        value = mismatch(update)
        (gradient,) = torch.autograd.grad(value, update)
    return value.detach(), gradient


def _mismatch(codec: Codec, update: Tensor, layout: Layout) -> Mismatch | None:
    """Return a codec's mismatch of the first message of one client; None where it says nothing."""
    found = declared(codec, Codecs.mismatch)
    if found is None:
        return None
    one, streams = torch.tensor([_CLIENT]), streams_of(codec)
    rows: Sequence[Sequence[Record]]
    rows, _ = codec.encode(Updates(update[None], one, one), layout, codec.init(), streams)
    return found(rows[0], layout, streams.context(_CLIENT))
