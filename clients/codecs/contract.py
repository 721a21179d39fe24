"""What every codec owes."""

import copy
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ...core import trees
from ...core.contracts import Codec
from ...core.declarations import Codecs, declared
from ...core.errors import FrameError
from ...core.frames import Record
from ...core.layout import Layout, Slot
from ...core.registry import require
from ...core.seeds import Streams, generator
from ...core.updates import Updates
from .wire import decode_cohort, encode_cohort, max_frame

LAYOUT = Layout(
    (Slot("matrix", (5, 7), 0), Slot("one", (1,), 35), Slot("empty", (0, 4), 36), Slot("vector", (12,), 36))
)
P = LAYOUT.num_parameters
DRAWS = 2000


def _streams(client: int) -> np.random.Generator:
    return generator(0, "codec-contract", client)


def _cohort(rows: list[Tensor]) -> Updates:
    vectors = torch.stack(rows)
    ids = torch.arange(len(rows)) * 3 + 1
    return Updates(vectors, ids, torch.full_like(ids, 10))


def _normal(client: int) -> Tensor:
    return torch.from_numpy(generator(0, "codec-contract-rows", client).standard_normal(P).astype(np.float32))


def _mixed() -> Updates:
    """Return updates of every size: normal, zero, all equal, huge, tiny, denormal, with one spike."""
    spike = torch.zeros(P).index_fill(0, torch.tensor([3]), -2.0)
    scaled = [_normal(i) * factor for i, factor in enumerate((1.0, 0.01, 1e30, 1e-30, 1e-42))]
    return _cohort([*scaled, torch.zeros(P), torch.full((P,), 0.7), spike])


def _decoded(codec: Codec, updates: Updates, streams: Streams = _streams) -> Tensor:
    frames, _ = encode_cohort(codec, updates, LAYOUT, 2, 9, codec.init(), streams)
    vectors, rejected = decode_cohort(codec, frames, updates.client_ids.tolist(), LAYOUT, 2, 9)
    require(not rejected, f"its own frame was rejected: {rejected[:1]}")
    return vectors


def decodes_its_own_frames(codec: Codec) -> None:
    """Every update gives a frame, and every frame a finite float32 [P]: huge, tiny, one element, none."""
    vectors = _decoded(codec, _mixed())
    require(bool(vectors.isfinite().all()), "finite updates decoded to a vector that is not finite")


def gives_one_record_a_tensor(codec: Codec) -> None:
    """Records stand in the layout's order and say the tensors' own sizes."""
    rows, _ = codec.encode(_mixed(), LAYOUT, codec.init(), _streams)
    expected = [(i, slot.size) for i, slot in enumerate(LAYOUT.parameters)]
    for records in rows:
        found = [(r.tensor_id, r.numel) for r in records]
        require(found == expected, f"records (tensor, elements) are {found}, expected {expected}")


def decodes_from_the_frame_alone(codec: Codec) -> None:
    """A server that never saw the client's codec decodes the same."""
    server = copy.deepcopy(codec)
    frames, _ = encode_cohort(codec, _mixed(), LAYOUT, 2, 9, codec.init(), _streams)
    ids = _mixed().client_ids.tolist()
    here, _ = decode_cohort(codec, frames, ids, LAYOUT, 2, 9)
    try:
        there, rejected = decode_cohort(server, frames, ids, LAYOUT, 2, 9)
    except Exception as error:
        require(False, f"a codec that did not encode the frames cannot decode them: {error!r}")
    same = not rejected and torch.equal(here, there)
    require(same, "a codec that did not encode the frames decodes them otherwise")


def keeps_zeros(codec: Codec) -> None:
    """An update of zeros decodes to exact zeros."""
    vectors = _decoded(codec, _cohort([torch.zeros(P), _normal(1)]))
    require(not bool(vectors[0].any()), "an update of zeros came back with other values")


def leaves_its_inputs_as_they_were(codec: Codec) -> None:
    """Neither the updates nor the state handed in are written to."""
    updates, state = _mixed(), codec.init()
    before, packed = updates.vectors.clone(), trees.pack(state)
    codec.encode(updates, LAYOUT, state, _streams)
    require(torch.equal(before, updates.vectors), "encode wrote to the updates")
    require(trees.equal(trees.unpack(*packed), state), "encode wrote to the state")


def encodes_each_client_as_if_alone(codec: Codec) -> None:
    """A client's frame does not depend on who else is in the batch."""
    updates = _mixed()
    together, _ = encode_cohort(codec, updates, LAYOUT, 2, 9, codec.init(), _streams)
    for k in range(len(updates)):
        one = updates.rows(torch.tensor([k]))
        alone, _ = encode_cohort(codec, one, LAYOUT, 2, 9, codec.init(), _streams)
        require(alone[0] == together[k], "a client encoded alone sends another frame than in a batch")


def draws_from_its_streams_only(codec: Codec) -> None:
    """Equal streams give equal frames, and no global generator moves."""
    before = _global_generators()
    first, second = (
        encode_cohort(codec, _mixed(), LAYOUT, 2, 9, codec.init(), _streams)[0] for _ in range(2)
    )
    require(_global_generators() == before, "encode drew from a global generator")
    require(first == second, "equal updates and streams gave other frames")


def _global_generators() -> list[object]:
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - read, to see that nobody draws from it
    return [repr(legacy), random.getstate(), torch.random.get_rng_state().tolist()]


def has_a_state_that_packs(codec: Codec) -> None:
    """The state survives a checkpoint, and the frames after it are the same."""
    _, state = encode_cohort(codec, _mixed(), LAYOUT, 2, 9, codec.init(), _streams)
    try:
        restored = trees.unpack(*trees.pack(state))
    except TypeError as error:
        require(False, str(error))
    one, _ = encode_cohort(codec, _mixed(), LAYOUT, 3, 9, state, _streams)
    two, _ = encode_cohort(codec, _mixed(), LAYOUT, 3, 9, restored, _streams)
    require(one == two, "a restored state gives other frames")


def is_unbiased_if_it_says_so(codec: Codec) -> None:
    """The mean of 2000 draws is the update, each coordinate within 5 standard errors."""
    if not declared(codec, Codecs.unbiased):
        return
    update = _normal(7).clamp(-2, 2)
    vectors = _decoded(codec, _cohort([update] * DRAWS)).double()
    errors = vectors.std(dim=0) / DRAWS**0.5
    off = (vectors.mean(dim=0) - update.double()).abs()
    worst = int((off - 5 * errors).argmax())
    fits = bool((off <= 5 * errors + 1e-6 * update.abs()).all())
    require(fits, f"the mean of {DRAWS} draws is off by {off[worst]:.3g}, standard error {errors[worst]:.3g}")


def is_lossless_if_it_says_so(codec: Codec) -> None:
    """What comes out is what went in to the last bit, NaN and infinities included."""
    if not declared(codec, Codecs.lossless):
        return
    updates = _cohort([_normal(1), torch.full((P,), torch.inf), torch.full((P,), torch.nan)])
    same = torch.equal(_decoded(codec, updates).view(torch.int32), updates.vectors.view(torch.int32))
    require(same, "a lossless codec gave back another vector")


def is_verbatim_if_it_says_so(codec: Codec) -> None:
    """Frames are all the longest legal one, nothing is drawn or remembered, and nothing is lost."""
    if not declared(codec, Codecs.verbatim):
        return
    require(declared(codec, Codecs.lossless), "a codec that declares verbatim must declare lossless")

    def none(client_id: int) -> np.random.Generator:
        raise ValueError(f"client {client_id} has no stream")

    updates = _cohort([_normal(1), torch.zeros(P)])
    require(codec.init() is None, "a codec that declares verbatim keeps a state")
    try:
        frames, _ = encode_cohort(codec, updates, LAYOUT, 2, 9, None, none)
    except ValueError:
        require(False, "a codec that declares verbatim draws random numbers")
    longest = max_frame(codec, LAYOUT)
    require(all(len(f) == longest for f in frames), f"a verbatim frame is not {longest} bytes long")


def survives_updates_that_are_not_finite(codec: Codec) -> None:
    """One client's NaN neither stops the cohort nor reaches the others' vectors.

    Its own frame is rejected, or decodes; what is left is the round's finite check.
    """
    bad = _normal(1).index_fill(0, torch.tensor([0, 40]), torch.nan)
    worse = _normal(2).index_fill(0, torch.tensor([35]), -torch.inf)
    updates = _cohort([_normal(0), bad, worse, _normal(3)])
    frames, _ = encode_cohort(codec, updates, LAYOUT, 2, 9, codec.init(), _streams)
    ids = updates.client_ids.tolist()
    good, rejected = decode_cohort(codec, [frames[0], frames[3]], [ids[0], ids[3]], LAYOUT, 2, 9)
    require(not rejected and bool(good.isfinite().all()), "another client's NaN spoiled a good frame")
    decode_cohort(codec, frames, ids, LAYOUT, 2, 9)


def stays_within_its_longest_body(codec: Codec) -> None:
    """No body is longer than ``max_body`` says."""
    rows, _ = codec.encode(_mixed(), LAYOUT, codec.init(), _streams)
    for record in (r for records in rows for r in records):
        length, allowed = len(record.body), codec.max_body(record.numel)
        require(length <= allowed, f"a body of {length} bytes, max_body({record.numel}) is {allowed}")


def refuses_hostile_bytes(codec: Codec) -> None:
    """Records of random or damaged bytes give a ``FrameError`` or a vector, and never another exception.

    The vector is finite, unless the codec is lossless and carries whatever float32 comes.
    """
    rows, _ = codec.encode(_mixed(), LAYOUT, codec.init(), _streams)
    stream = generator(0, "hostile")
    for trial in range(600):
        records = [_damaged(r, codec, stream, trial % 3) for r in rows[trial % len(rows)]]
        try:
            vector = codec.decode(records, LAYOUT)
        except FrameError:
            continue
        except Exception as error:
            require(False, f"hostile bytes raised {error!r}, allowed: FrameError")
        require(vector.shape == (P,), f"hostile bytes gave a vector of shape {tuple(vector.shape)}")
        fits = declared(codec, Codecs.lossless) or bool(vector.isfinite().all())
        require(fits, "hostile bytes gave a vector that is not finite")


def _damaged(record: Record, codec: Codec, stream: np.random.Generator, kind: int) -> Record:
    """Return a damaged record: 0 one bit flipped, 1 random bytes of a random length, 2 a random tag too."""
    body = bytearray(record.body)
    if kind == 0:
        if body:
            body[int(stream.integers(len(body)))] ^= 1 << int(stream.integers(8))
        return replace(record, body=bytes(body))
    length = len(body) if stream.random() < 0.5 else int(stream.integers(codec.max_body(record.numel) + 1))
    tag = record.tag if kind == 1 else int(stream.integers(256))
    return replace(record, body=stream.bytes(length), tag=tag)


CHECKS: tuple[Callable[[Codec], None], ...] = (
    decodes_its_own_frames,
    gives_one_record_a_tensor,
    decodes_from_the_frame_alone,
    keeps_zeros,
    leaves_its_inputs_as_they_were,
    encodes_each_client_as_if_alone,
    draws_from_its_streams_only,
    has_a_state_that_packs,
    is_unbiased_if_it_says_so,
    is_lossless_if_it_says_so,
    is_verbatim_if_it_says_so,
    survives_updates_that_are_not_finite,
    stays_within_its_longest_body,
    refuses_hostile_bytes,
)
