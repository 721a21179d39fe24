"""What every codec owes."""

import copy
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ....core.contracts import Codec, CodecStreams
from ....core.declarations import Codecs, declared
from ....core.errors import FrameError
from ....core.frames import Record
from ....core.registry import require
from ....core.seeds import generator
from ....core.updates import Updates
from ..parts.sizes import max_frame
from ..parts.wire import encode_cohort
from .fitting import (
    fits_what_was_sent_best,
    judges_by_whatever_decodes,
    judges_updates_one_by_one,
    says_how_to_fit_better,
)
from .memory import (
    encodes_each_client_as_if_alone,
    has_a_state_that_packs,
    leaves_its_inputs_as_they_were,
    remembers_by_client_id,
    shares_what_packs,
)
from .specimens import LAYOUT, LONG, P, cohort_of, decoded, mixed, normal, read, sent, streams_of

DRAWS = 1600


def decodes_its_own_frames(codec: Codec) -> None:
    """Every update gives a frame, and every frame a finite float32 [P]: huge, tiny, one element, none."""
    vectors = decoded(codec, mixed())
    require(bool(vectors.isfinite().all()), "finite updates decoded to a vector that is not finite")


def gives_the_records_that_it_declares(codec: Codec) -> None:
    """Every frame holds what ``records`` says of the layout: ids and numbers of elements, in order."""
    rows, _ = codec.encode(mixed(), LAYOUT, codec.init(), streams_of(codec))
    declared_ones = codec.records(LAYOUT)
    require(list(codec.records(LAYOUT)) == list(declared_ones), "records are not the same when asked again")
    expected = [(r.tensor_id, r.numel) for r in declared_ones]
    ids = [tensor_id for tensor_id, _ in expected]
    require(ids == sorted(set(ids)), f"the records' ids are {ids}, expected ascending ones")
    for records in rows:
        found = [(r.tensor_id, r.numel) for r in records]
        require(found == expected, f"records (tensor, elements) are {found}, declared {expected}")


def decodes_from_the_frame_alone(codec: Codec) -> None:
    """A server that never saw the client's codec decodes the same, and draws from no global generator."""
    server = copy.deepcopy(codec)
    frames, ids = sent(codec, mixed())[0], mixed().client_ids.tolist()
    here, _ = read(codec, frames, ids)
    before = _global_generators()
    try:
        there, rejected = read(server, frames, ids)
    except Exception as error:
        require(False, f"a codec that did not encode the frames cannot decode them: {error!r}")
    require(_global_generators() == before, "decode drew from a global generator")
    same = not rejected and torch.equal(here, there)
    require(same, "a codec that did not encode the frames decodes them otherwise")


def decodes_a_cohort_as_its_clients(codec: Codec) -> None:
    """``decode_cohort`` gives the bits of ``decode``, and ``FrameError`` where one record is bad."""
    together = declared(codec, Codecs.decode_cohort)
    if together is None:
        return
    streams = streams_of(codec)
    rows, _ = codec.encode(mixed(), LAYOUT, codec.init(), streams)
    contexts = [streams.context(i) for i in mixed().client_ids.tolist()]
    alone = torch.stack([codec.decode(r, LAYOUT, c) for r, c in zip(rows, contexts, strict=True)])
    same = torch.equal(alone, together(rows, LAYOUT, contexts))
    require(same, "decode_cohort gives other vectors than decode")
    bad = [replace(rows[1][0], tag=0xFF), *rows[1][1:]]
    try:
        together([rows[0], bad, *rows[2:]], LAYOUT, contexts)
    except FrameError:
        return
    except Exception as error:
        require(False, f"decode_cohort raised {error!r} for a bad record, allowed: FrameError")
    require(False, "decode_cohort took a record with a tag that no options give")


def keeps_zeros(codec: Codec) -> None:
    """An update of zeros decodes to exact zeros."""
    vectors = decoded(codec, cohort_of([torch.zeros(P), normal(1)]))
    require(not bool(vectors[0].any()), "an update of zeros came back with other values")


def draws_from_its_streams_only(codec: Codec) -> None:
    """Equal streams give equal frames, and no global generator moves."""
    before = _global_generators()
    first, second = (sent(codec, mixed())[0] for _ in range(2))
    require(_global_generators() == before, "encode drew from a global generator")
    require(first == second, "equal updates and streams gave other frames")


def _global_generators() -> list[object]:
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - read, to see that nobody draws from it
    return [repr(legacy), random.getstate(), torch.random.get_rng_state().tolist()]


def is_unbiased_if_it_says_so(codec: Codec) -> None:
    """The mean of 1600 draws, of 8 clients in 200 rounds, is the update within 5 standard errors.

    Rounds are independent; clients of one round need not be.
    """
    if not declared(codec, Codecs.unbiased):
        return
    update = normal(7).clamp(-2, 2)
    cohort = cohort_of([update] * 8)
    vectors = torch.stack([decoded(codec, cohort, t).double().mean(dim=0) for t in range(DRAWS // 8)])
    errors = vectors.std(dim=0) / len(vectors) ** 0.5
    off = (vectors.mean(dim=0) - update.double()).abs()
    worst = int((off - 5 * errors).argmax())
    fits = bool((off <= 5 * errors + 1e-6 * update.abs()).all())
    require(fits, f"the mean of {DRAWS} draws is off by {off[worst]:.3g}, standard error {errors[worst]:.3g}")


def is_contractive_if_it_says_so(codec: Codec) -> None:
    """What is lost of an update is never longer than the update."""
    if not declared(codec, Codecs.contractive):
        return
    updates = mixed()
    lost = (updates.vectors.double() - decoded(codec, updates).double()).norm(dim=1)
    length = updates.vectors.double().norm(dim=1)
    worst = int((lost / length.clamp(min=1e-300)).argmax())
    fits = bool((lost <= length * (1 + 1e-6)).all())
    require(fits, f"of an update of length {length[worst]:.3g} a part of length {lost[worst]:.3g} is lost")


def decodes_to_zero_outside_its_support(codec: Codec) -> None:
    """``support`` is bool [P], and says of the frame alone where values may stand."""
    support = declared(codec, Codecs.support)
    if support is None:
        return
    for vector in (normal(1), torch.zeros(P), torch.ones(P)):
        records = codec.encode(cohort_of([vector]), LAYOUT, codec.init(), streams_of(codec))[0][0]
        named: Tensor = support(records, LAYOUT)
        require(
            named.shape == (P,) and named.dtype == torch.bool,
            f"support gave {named.dtype} {list(named.shape)}, expected bool [{P}]",
        )
        beyond = decoded(codec, cohort_of([vector]))[0][~named]
        require(not beyond.any(), "values stand where its support says that there are none")


def counts_ideal_bits(codec: Codec) -> None:
    """``ideal_bits`` is finite, at least 0, and no more than what independent values were sent in."""
    rows, _ = codec.encode(mixed(), LAYOUT, codec.init(), streams_of(codec))
    for records in rows:
        bits = codec.ideal_bits(records, LAYOUT)
        fits = isinstance(bits, int | float) and 0 <= bits < float("inf")
        require(fits, f"ideal_bits gave {bits!r}, expected a finite number of at least 0")
    normal = generator(0, "codec-contract-bits").standard_normal(LONG.num_parameters).astype(np.float32)
    one = Updates(torch.from_numpy(normal)[None], torch.tensor([1]), torch.tensor([1]))
    records = codec.encode(one, LONG, codec.init(), streams_of(codec))[0][0]
    bits, payload = codec.ideal_bits(records, LONG), 8 * sum(len(r.body) for r in records)
    require(
        bits <= 1.001 * payload + 8 * len(records),
        f"ideal_bits gave {bits:.0f} for normal values that were sent in {payload} bits",
    )


def is_lossless_if_it_says_so(codec: Codec) -> None:
    """What comes out is what went in to the last bit, NaN and infinities included."""
    if not declared(codec, Codecs.lossless):
        return
    updates = cohort_of([normal(1), torch.full((P,), torch.inf), torch.full((P,), torch.nan)])
    same = torch.equal(decoded(codec, updates).view(torch.int32), updates.vectors.view(torch.int32))
    require(same, "a lossless codec gave back another vector")


class _NoStreams(CodecStreams):
    def __call__(self, client_id: int) -> np.random.Generator:
        raise ValueError(f"client {client_id} has no stream")


def is_verbatim_if_it_says_so(codec: Codec) -> None:
    """Frames are all the longest legal one, nothing is drawn or remembered, and nothing is lost."""
    if not declared(codec, Codecs.verbatim):
        require(not declared(codec, Codecs.replays), "a codec that declares replays must declare verbatim")
        return
    require(declared(codec, Codecs.lossless), "a codec that declares verbatim must declare lossless")

    updates = cohort_of([normal(1), torch.zeros(P)])
    require(codec.init() is None, "a codec that declares verbatim keeps a state")
    try:
        frames, _ = encode_cohort(codec, updates, LAYOUT, 9, None, _NoStreams(0, 2))
    except ValueError:
        require(False, "a codec that declares verbatim draws random numbers")
    longest = max_frame(codec, LAYOUT)
    require(all(len(f) == longest for f in frames), f"a verbatim frame is not {longest} bytes long")


def survives_updates_that_are_not_finite(codec: Codec) -> None:
    """One client's NaN neither stops the cohort nor reaches the others' vectors.

    Its own frame is rejected, or decodes; what is left is the round's finite check.
    """
    bad = normal(1).index_fill(0, torch.tensor([0, 40]), torch.nan)
    worse = normal(2).index_fill(0, torch.tensor([35]), -torch.inf)
    updates = cohort_of([normal(0), bad, worse, normal(3)])
    frames, ids = sent(codec, updates)[0], updates.client_ids.tolist()
    good, rejected = read(codec, [frames[0], frames[3]], [ids[0], ids[3]])
    require(not rejected and bool(good.isfinite().all()), "another client's NaN spoiled a good frame")
    read(codec, frames, ids)


def stays_within_its_longest_body(codec: Codec) -> None:
    """No body is longer than ``max_body`` says."""
    rows, _ = codec.encode(mixed(), LAYOUT, codec.init(), streams_of(codec))
    shapes = [r.shape for r in codec.records(LAYOUT)]
    for record, shape in ((r, s) for records in rows for r, s in zip(records, shapes, strict=True)):
        length, allowed = len(record.body), codec.max_body(shape)
        require(length <= allowed, f"a body of {length} bytes, max_body({shape}) is {allowed}")


def refuses_hostile_bytes(codec: Codec) -> None:
    """Records of random or damaged bytes give a ``FrameError`` or a vector, and never another exception.

    The vector is finite, unless the codec is lossless and carries whatever float32 comes.
    """
    rows, _ = codec.encode(mixed(), LAYOUT, codec.init(), streams_of(codec))
    lengths = [codec.max_body(r.shape) for r in codec.records(LAYOUT)]
    contexts = [streams_of(codec).context(client) for client in mixed().client_ids.tolist()]
    stream = generator(0, "hostile")
    for trial in range(600):
        row, kind = trial % len(rows), trial % 3
        records = [_damaged(r, n, stream, kind) for r, n in zip(rows[row], lengths, strict=True)]
        try:
            vector = codec.decode(records, LAYOUT, contexts[row])
        except FrameError:
            continue
        except Exception as error:
            require(False, f"hostile bytes raised {error!r}, allowed: FrameError")
        require(vector.shape == (P,), f"hostile bytes gave a vector of shape {tuple(vector.shape)}")
        fits = declared(codec, Codecs.lossless) or bool(vector.isfinite().all())
        require(fits, "hostile bytes gave a vector that is not finite")


def _damaged(record: Record, longest: int, stream: np.random.Generator, kind: int) -> Record:
    """Return a damaged record: 0 one bit flipped, 1 random bytes of a random length, 2 a random tag too."""
    body = bytearray(record.body)
    if kind == 0:
        if body:
            body[int(stream.integers(len(body)))] ^= 1 << int(stream.integers(8))
        return replace(record, body=bytes(body))
    length = len(body) if stream.random() < 0.5 else int(stream.integers(longest + 1))
    tag = record.tag if kind == 1 else int(stream.integers(256))
    return replace(record, body=stream.bytes(length), tag=tag)


CHECKS: tuple[Callable[[Codec], None], ...] = (
    decodes_its_own_frames,
    gives_the_records_that_it_declares,
    decodes_from_the_frame_alone,
    decodes_a_cohort_as_its_clients,
    keeps_zeros,
    decodes_to_zero_outside_its_support,
    leaves_its_inputs_as_they_were,
    encodes_each_client_as_if_alone,
    remembers_by_client_id,
    draws_from_its_streams_only,
    has_a_state_that_packs,
    shares_what_packs,
    is_unbiased_if_it_says_so,
    is_contractive_if_it_says_so,
    is_lossless_if_it_says_so,
    is_verbatim_if_it_says_so,
    survives_updates_that_are_not_finite,
    stays_within_its_longest_body,
    counts_ideal_bits,
    refuses_hostile_bytes,
    fits_what_was_sent_best,
    judges_updates_one_by_one,
    says_how_to_fit_better,
    judges_by_whatever_decodes,
)
