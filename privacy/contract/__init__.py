"""What every privacy mechanism owes, as checks that raise ``PluginError`` when it is broken."""

from collections.abc import Callable

import torch

from ...core.contracts import Privacy, Release
from ...core.declarations import Mechanisms, declared, declares
from ...core.registry import require
from ...core.seeds import generator
from ...core.trees import equal, pack, unpack
from ..clippings.parts import row_norms
from .audit import AUDIT_CHECKS as AUDIT_CHECKS
from .clipping import CLIPPING_CHECKS as CLIPPING_CHECKS  # its family's, found here by name
from .cohort import COHORT_CHECKS
from .example import EXAMPLE_CHECKS, protects_examples
from .noise import NOISE_CHECKS
from .trials import EXPECTED, cohort_of, event_of, some_updates, streams, trust


def declares_what_it_protects_from_whom(mechanism: Privacy) -> None:
    """The unit and the trust model are known words, and a release names a known relation."""
    for word in (Mechanisms.unit, Mechanisms.trust_model):
        require(declares(mechanism, word), f"{word.name} must be {word.kind.words}, got none")
        declared(mechanism, word)
    event = event_of(mechanism)
    if isinstance(event, Release):
        known = ("add_remove", "zero_out", "replace_one")
        require(
            event.relation in known, f"relation must be one of {', '.join(known)}, got {event.relation!r}"
        )
        require(event.noise_multiplier > 0, f"a release needs noise, got multiplier {event.noise_multiplier}")
        clip_norm = declared(mechanism, Mechanisms.clip_norm) or 0.0
        require(
            clip_norm > 0 or event.once,
            f"a mechanism that claims a release declares clip_norm above 0, got {clip_norm}",
        )
        require(
            trust(mechanism) != "none",
            "a mechanism that claims a release must say whom it trusts, got trust_model 'none'",
        )


def the_server_lets_in_no_row_above_the_clip_norm(mechanism: Privacy) -> None:
    """After ``clip`` no flat update is longer than ``clip_norm``, up to values of 1e30 (central trust)."""
    clip_norm = declared(mechanism, Mechanisms.clip_norm) or 0.0
    if clip_norm <= 0 or trust(mechanism) != "central":
        return
    for scale in (clip_norm, 1e22):
        clipped, _ = mechanism.clip(some_updates(scale), mechanism.init())
        longest = float(row_norms(clipped.vectors).max())
        require(
            longest <= clip_norm * (1 + 1e-6), f"clip let a norm of {longest} through clip_norm {clip_norm}"
        )


def clipping_twice_is_clipping_once(mechanism: Privacy) -> None:
    """A clipped cohort passes ``clip`` again with the same bits."""
    once, _ = mechanism.clip(some_updates(), mechanism.init())
    twice, _ = mechanism.clip(once, mechanism.init())
    require(torch.equal(once.vectors, twice.vectors), "clip changes updates that it has clipped already")


def what_workers_may_sum_passes_clip_unchanged(mechanism: Privacy) -> None:
    """Where ``settled`` is declared, ``clip`` changes neither honest messages nor the state."""
    if not declared(mechanism, Mechanisms.settled):
        return
    sent = mechanism.privatize(some_updates(), streams)
    before = mechanism.init()
    received, after = mechanism.clip(sent, before)
    require(torch.equal(received.vectors, sent.vectors), "declared settled, but clip changes honest messages")
    require(equal(after, before), "declared settled, but clip changes the state")


def a_server_that_sees_a_sum_alone_cannot_clip(mechanism: Privacy) -> None:
    """Where ``sum_only`` is declared, ``clip`` lets every message in as it is, and no other sum is made."""
    if not declared(mechanism, Mechanisms.sum_only):
        return
    sent, before = some_updates(), mechanism.init()
    received, after = mechanism.clip(sent, before)
    same = torch.equal(received.vectors, sent.vectors) and equal(after, before)
    require(same, "declared sum_only, but clip changes single messages, or remembers them")
    other = declared(mechanism, Mechanisms.secure_sum)
    require(other is None, "declared sum_only, and secure_sum makes another sum; allowed: one of the two")


def a_zero_update_stays_zero_and_an_empty_cohort_empty(mechanism: Privacy) -> None:
    """``clip`` neither divides by a norm of zero nor needs a client."""
    clipped, _ = mechanism.clip(some_updates(), mechanism.init())
    require(bool((clipped.vectors[0] == 0).all()), "clip turns a zero update into something else")
    empty, _ = mechanism.clip(cohort_of(torch.zeros(0, 301)), mechanism.init())
    require(empty.vectors.shape == (0, 301), f"clip turns an empty cohort into {tuple(empty.vectors.shape)}")


def an_honest_message_moves_by_at_most_the_clip_norm(mechanism: Privacy) -> None:
    """With the same noise, any update and the zero update give messages at most ``clip_norm`` apart."""
    event = event_of(mechanism)
    if not isinstance(event, Release) or event.once or declared(mechanism, Mechanisms.server_clips_alone):
        return
    if protects_examples(mechanism):
        return  # it is an example that is bounded, and within a step
    clip_norm = declared(mechanism, Mechanisms.clip_norm) or 0.0
    updates = some_updates(clip_norm)
    sent = mechanism.privatize(updates, streams).vectors.double()
    silent = mechanism.privatize(cohort_of(torch.zeros_like(updates.vectors)), streams).vectors.double()
    furthest = float(row_norms(sent - silent).max())
    rounding = 1e-5 * (1 + event.noise_multiplier)
    require(
        furthest <= clip_norm * (1 + rounding),
        f"privatize moves a message by {furthest}, clip_norm is {clip_norm}",
    )


def a_message_depends_on_its_own_client_only(mechanism: Privacy) -> None:
    """``privatize`` works row by row: blocks of clients may be cut anywhere."""
    updates = some_updates()
    together = mechanism.privatize(updates, streams).vectors
    for row in range(len(updates)):
        alone = mechanism.privatize(updates.rows(torch.tensor([row])), streams).vectors[0]
        require(torch.equal(alone, together[row]), f"privatize gives row {row} other bits in another cohort")


def inputs_are_left_as_they_were(mechanism: Privacy) -> None:
    """No verb writes into the tensors that it is given."""
    updates, aggregate = some_updates(), torch.linspace(-1, 1, 301)
    vectors, before = updates.vectors.clone(), aggregate.clone()
    mechanism.privatize(updates, streams)
    mechanism.clip(updates, mechanism.init())
    mechanism.noise(aggregate, EXPECTED, mechanism.init(), generator(2, "noise"))
    require(torch.equal(updates.vectors, vectors), "privatize or clip writes into the updates it is given")
    require(torch.equal(aggregate, before), "noise writes into the aggregate it is given")


def its_memory_survives_a_checkpoint(mechanism: Privacy) -> None:
    """Every state that a verb returns can be packed, and comes back equal."""
    first = mechanism.init()
    _, second = mechanism.clip(some_updates(), first)
    _, third = mechanism.noise(torch.zeros(301), EXPECTED, second, generator(7, "noise"))
    for state in (first, second, third):
        try:
            packed = pack(state)
        except TypeError as error:
            require(False, f"its memory cannot be checkpointed: {error}")
        require(equal(unpack(*packed), state), "its memory does not survive a checkpoint")


CHECKS: tuple[Callable[[Privacy], None], ...] = (
    declares_what_it_protects_from_whom,
    the_server_lets_in_no_row_above_the_clip_norm,
    clipping_twice_is_clipping_once,
    what_workers_may_sum_passes_clip_unchanged,
    a_server_that_sees_a_sum_alone_cannot_clip,
    a_zero_update_stays_zero_and_an_empty_cohort_empty,
    an_honest_message_moves_by_at_most_the_clip_norm,
    a_message_depends_on_its_own_client_only,
    inputs_are_left_as_they_were,
    its_memory_survives_a_checkpoint,
    *NOISE_CHECKS,
    *EXAMPLE_CHECKS,
    *COHORT_CHECKS,
)
