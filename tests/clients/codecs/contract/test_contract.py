"""What every codec owes, and that a codec which owes it still is found out."""

from dataclasses import replace
from math import prod
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from codec_options import OPTIONS

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.contract import CHECKS, is_unbiased_if_it_says_so
from gauntlet.clients.codecs.fp16 import Fp16
from gauntlet.clients.codecs.identity import Identity
from gauntlet.clients.codecs.terngrad import TernGrad
from gauntlet.clients.codecs.topk import TopK
from gauntlet.core.errors import PluginError

CASES = [(name, options) for name in CODECS.table for options in OPTIONS.get(name, [{}])]


ENTROPY_CODED = [case for case in CASES if "qsgd" in str(case) and "fixed" not in str(case)]
"""Cases whose packing is tried client by client, so that a thousand draws take seconds."""


@pytest.mark.parametrize(
    "check", [c for c in CHECKS if c is not is_unbiased_if_it_says_so], ids=lambda c: c.__name__
)
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_codec(name, options, check):
    check(CODECS.build(name, options))


@pytest.mark.parametrize(("name", "options"), [c for c in CASES if c not in ENTROPY_CODED], ids=str)
def test_every_codec_is_unbiased_if_it_says_so(name, options):
    is_unbiased_if_it_says_so(CODECS.build(name, options))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), ENTROPY_CODED, ids=str)
def test_every_entropy_coded_one_is_unbiased_if_it_says_so(name, options):
    is_unbiased_if_it_says_so(CODECS.build(name, options))


def bent(codec, **members):
    """Return a codec like ``codec`` but for ``members``."""
    own = {name: getattr(codec, name) for name in dir(codec) if not name.startswith("_")}
    return SimpleNamespace(**own | members)


def encoding(change):
    """Return an identity that encodes ``change(vectors)``."""

    def encode(updates, layout, state, streams):
        return Identity().encode(updates.with_vectors(change(updates.vectors)), layout, state, streams)

    return bent(Identity(), encode=encode)


def decoding(change):
    """Return an identity that decodes to ``change(vector)``."""
    return bent(Identity(), decode=lambda *handed: change(Identity().decode(*handed)))


class Remembering:
    """Keeps what it encoded, and looks it up to decode."""

    codec_id = 0

    def __init__(self):
        self.memory = {}

    def init(self):
        return None

    def encode(self, updates, layout, state, streams):
        rows, state = Identity().encode(updates, layout, state, streams)
        self.memory |= {row[0].body: vector for row, vector in zip(rows, updates.vectors, strict=True)}
        return rows, state

    def decode(self, records, layout, context):
        return self.memory[records[0].body]

    def records(self, layout):
        return Identity().records(layout)

    def max_body(self, shape):
        return Identity().max_body(shape)


class Residual:
    """An identity that adds what its states say: with a row's place for a client's id, or a shared sum."""

    codec_id = 0

    def __init__(self, place=False, settles=False, writes=False):
        self.place, self.settles, self.writes = place, settles, writes

    def init(self):
        return {}

    def encode(self, updates, layout, state, streams):
        keys = range(len(updates)) if self.place else updates.client_ids.tolist()
        if self.writes and state:
            next(iter(state.values())).zero_()
        vectors = torch.stack(
            [v + state.get(k, torch.zeros(len(v))) for k, v in zip(keys, updates.vectors, strict=True)]
        )
        rows, _ = Identity().encode(updates.with_vectors(vectors), layout, None, streams)
        return rows, {**state, **{k: v.clone() for k, v in zip(keys, vectors, strict=True)}}

    def settle(self, state, counted_ids):
        return {k: v + len(counted_ids) for k, v in state.items()} if self.settles else state

    def __getattr__(self, name):
        return getattr(Identity(), name) if name in ("decode", "records", "max_body") else _none(name)


def _none(name):
    raise AttributeError(name)


def remembering_the_last_batch(updates, layout, state, streams):
    return Identity().encode(updates, layout, None, streams)[0], {"last": len(updates)}


def one_record_short(updates, layout, state, streams):
    rows, state = Identity().encode(updates, layout, state, streams)
    return [row[:-1] for row in rows], state


def with_a_set_as_state(updates, layout, state, streams):
    return Identity().encode(updates, layout, None, streams)[0], {1, 2}


def drawing_globally(vectors):
    torch.rand(1)
    return vectors


def first_half(records, layout):
    return torch.arange(layout.num_parameters) < layout.num_parameters // 2


def unchecked(records, layout, context):
    return torch.from_numpy(np.concatenate([np.frombuffer(r.body, "<f4") for r in records]))


def backwards(layout):
    return Identity().records(layout)[::-1]


def drawing_to_decode(records, layout, context):
    torch.rand(1)
    return Identity().decode(records, layout, context)


def lenient(cohort, layout, contexts):
    rows = [[replace(record, tag=0) for record in records] for records in cohort]
    return torch.stack([Identity().decode(r, layout, c) for r, c in zip(rows, contexts, strict=True)])


def doubled(cohort, layout, contexts):
    return 2 * lenient(cohort, layout, contexts)


def raising(vectors):
    if not vectors.isfinite().all():
        raise ValueError("not finite")
    return vectors


def judging(change, scale_free=True, **members):
    """Return a half precision codec whose mismatch of updates is ``change(mismatch, updates)``."""

    class Changed:
        def __init__(self, own):
            self.own, self.scale_free = own, scale_free

        def __call__(self, updates):
            return change(self.own, updates)

    return bent(Fp16(), mismatch=lambda *handed: Changed(Fp16().mismatch(*handed)), **members)


BROKEN = [
    ("fits_what_was_sent_best", judging(lambda own, u: -own(u)), "the mismatch of what was encoded is"),
    (
        "fits_what_was_sent_best",
        judging(lambda own, u: own(u) + u.abs().mean(-1)),
        "it is scale_free, and of",
    ),
    ("judges_updates_one_by_one", judging(lambda own, u: own(u).sum()), r"is torch.float32 \[\], expected"),
    ("judges_updates_one_by_one", judging(lambda own, u: own(u) - own(u).mean()), "depends on the others"),
    (
        "judges_updates_one_by_one",
        judging(
            lambda own, u: own(u.neg_()),
        ),
        "wrote to the updates",
    ),
    ("says_how_to_fit_better", judging(lambda own, u: own(u.round())), "is zero, far from"),
    ("says_how_to_fit_better", judging(lambda own, u: own(u) + u.square().mean(-1)), "is not finite"),
    ("says_how_to_fit_better", judging(lambda own, u: own(u.detach() * 2 - u)), "the mismatch grows"),
    ("judges_by_whatever_decodes", judging(lambda own, u: own(u) * own.decoded.sum() / 0), "that decodes"),
    ("decodes_its_own_frames", decoding(lambda vector: vector * torch.nan), "not finite"),
    ("gives_the_records_that_it_declares", bent(Identity(), encode=one_record_short), "records"),
    ("gives_the_records_that_it_declares", bent(Identity(), records=backwards), "expected ascending ones"),
    ("decodes_from_the_frame_alone", Remembering(), "did not encode"),
    ("decodes_from_the_frame_alone", bent(Identity(), decode=drawing_to_decode), "decode drew"),
    ("decodes_a_cohort_as_its_clients", bent(Identity(), decode_cohort=doubled), "other vectors"),
    ("decodes_a_cohort_as_its_clients", bent(Identity(), decode_cohort=lenient), "no options give"),
    ("keeps_zeros", decoding(lambda vector: vector + 1e-6), "zeros"),
    ("leaves_its_inputs_as_they_were", encoding(lambda vectors: vectors.mul_(2)), "wrote to the updates"),
    ("leaves_its_inputs_as_they_were", Residual(writes=True), "wrote to the state"),
    ("encodes_each_client_as_if_alone", encoding(lambda v: v - v.mean(dim=0)), "in a batch"),
    (
        "encodes_each_client_as_if_alone",
        bent(Identity(), encode=remembering_the_last_batch),
        "one by one leave another state",
    ),
    ("remembers_by_client_id", Residual(place=True), "other clients of a cohort"),
    ("remembers_by_client_id", Residual(settles=True), "other clients of a cohort"),
    ("draws_from_its_streams_only", encoding(drawing_globally), "global generator"),
    ("has_a_state_that_packs", bent(Identity(), encode=with_a_set_as_state), "state at s is a set"),
    ("shares_what_packs", bent(Identity(), share=lambda params, aggregate, state: {1, 2}), "is a set"),
    ("shares_what_packs", bent(Identity(), share=lambda params, *_: params.mul_(2)), "wrote to its inputs"),
    ("is_unbiased_if_it_says_so", bent(TernGrad(clip=1.0), unbiased=True), "standard error"),
    ("is_contractive_if_it_says_so", bent(TernGrad(clip=0), contractive=True), "is lost"),
    ("is_lossless_if_it_says_so", encoding(lambda vectors: vectors.half().float()), "lossless"),
    ("is_verbatim_if_it_says_so", bent(Identity(), lossless=False), "must declare lossless"),
    ("is_verbatim_if_it_says_so", bent(TernGrad(), verbatim=True, lossless=True), "draws random numbers"),
    ("is_verbatim_if_it_says_so", bent(Identity(), init=dict), "keeps a state"),
    ("is_verbatim_if_it_says_so", bent(Identity(), max_body=lambda shape: 8 * prod(shape)), "bytes long"),
    ("survives_updates_that_are_not_finite", encoding(lambda v: v + 0 * v.sum()), "spoiled a good frame"),
    ("stays_within_its_longest_body", bent(Identity(), max_body=prod), "max_body"),
    ("decodes_to_zero_outside_its_support", bent(TopK(), support=first_half), "values stand where"),
    ("counts_ideal_bits", bent(Identity(), ideal_bits=lambda *_: -1.0), "at least 0"),
    ("counts_ideal_bits", bent(Identity(), ideal_bits=lambda *_: 1e9), "were sent in"),
    ("refuses_hostile_bytes", bent(Identity(), decode=unchecked), "hostile bytes"),
    ("refuses_hostile_bytes", bent(Identity(), lossless=False), "not finite"),
]


@pytest.mark.parametrize(("name", "codec", "complaint"), BROKEN, ids=[case[0] for case in BROKEN])
def test_a_codec_that_breaks_a_check_is_found_out(name, codec, complaint):
    check = {c.__name__: c for c in CHECKS}[name]
    with pytest.raises(PluginError, match=complaint):
        check(codec)


def test_an_exception_for_the_whole_cohort_is_found_out():
    check = {c.__name__: c for c in CHECKS}["survives_updates_that_are_not_finite"]
    with pytest.raises(ValueError, match="not finite"):
        check(encoding(raising))


def test_every_check_has_a_codec_that_breaks_it():
    assert {name for name, _, _ in BROKEN} == {check.__name__ for check in CHECKS}
