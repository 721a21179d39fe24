"""What every privacy mechanism owes, as checks that raise ``PluginError`` when it is broken.

Source: the release that a mechanism claims is compared with the noise that it adds, by the chi-square
band of Gauntlet's test rules: 1e5 draws, false alarm 1e-9.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.contracts import NoGuarantee, Privacy, Release, declared
from ..core.registry import require
from ..core.seeds import generator
from ..core.trees import equal, pack, unpack
from ..core.updates import Updates
from .audit_contract import AUDIT_CHECKS as AUDIT_CHECKS
from .clipping import row_norms
from .clipping_contract import CLIPPING_CHECKS as CLIPPING_CHECKS  # its family's, found here by name
from .example_contract import EXAMPLE_CHECKS, protects_examples
from .mechanism_audit import audit_mechanism

_DRAWS = 100_000
_BAND = (0.9729, 1.0276)  # quantiles of chi-square / n for n = 1e5 at 1e-9
_EXPECTED = 10.0  # a public cohort size that no cohort here really has
_CLIENTS = (2, 3, 5, 8, 13, 21)


def _updates(scale: float = 1.0) -> Updates:
    """Return six clients: a zero update, and norms from far below to far above any clip norm."""
    lengths = torch.tensor([0.0, 1e-4, 1e-2, 1.0, 1e3, 1e8], dtype=torch.float64) * scale
    drawn = torch.from_numpy(generator(0, "contract").standard_normal((len(lengths), 301)))
    rows = drawn / drawn.norm(dim=1, keepdim=True) * lengths[:, None]
    return _cohort(rows.float())


def _cohort(vectors: Tensor) -> Updates:
    ids = torch.tensor(_CLIENTS[: len(vectors)], dtype=torch.int64)
    return Updates(vectors, ids, torch.arange(1, len(ids) + 1), expected_size=_EXPECTED)


def _streams(client_id: int) -> np.random.Generator:
    return generator(1, "privatize", 0, client_id)


def _trust(mechanism: Privacy) -> str:
    return declared(mechanism, "trust_model", "none")


def _server_sees(mechanism: Privacy, sent: Updates, seed: int = 0) -> Updates:
    """Return what reaches the server: the updates, or under distributed trust their sum as one row."""
    secure_sum = declared(mechanism, "secure_sum", None)
    if secure_sum is None:
        return sent
    everybody = torch.ones(len(sent), dtype=torch.bool)
    public = generator(seed, "public")
    total: Updates = secure_sum(
        sent, everybody, mechanism.init(), public, lambda i: generator(seed, "share", i)
    )[0]
    return total


def _event(mechanism: Privacy, expected_size: float = _EXPECTED) -> Release | NoGuarantee:
    """Return what a round with the plain mean of clipped updates releases."""
    clip_norm = declared(mechanism, "clip_norm", None) or 1.0
    return mechanism.event(clip_norm / expected_size, expected_size, mechanism.init())


def declares_what_it_protects_from_whom(mechanism: Privacy) -> None:
    """The unit and the trust model are known words, and a release names a known relation."""
    for name, allowed in (
        ("unit", ("client", "example", "cell", "none")),
        ("trust_model", ("central", "local", "distributed", "none")),
    ):
        came = declared(mechanism, name, "")
        require(came in allowed, f"{name} must be one of {', '.join(allowed)}, got {came!r}")
    event = _event(mechanism)
    if isinstance(event, Release):
        known = ("add_remove", "zero_out", "replace_one")
        require(
            event.relation in known, f"relation must be one of {', '.join(known)}, got {event.relation!r}"
        )
        require(event.noise_multiplier > 0, f"a release needs noise, got multiplier {event.noise_multiplier}")
        clip_norm = declared(mechanism, "clip_norm", None) or 0.0
        require(
            clip_norm > 0 or event.once,
            f"a mechanism that claims a release declares clip_norm above 0, got {clip_norm}",
        )
        require(
            _trust(mechanism) != "none",
            "a mechanism that claims a release must say whom it trusts, got trust_model 'none'",
        )


def the_server_lets_in_no_row_above_the_clip_norm(mechanism: Privacy) -> None:
    """After ``clip`` no flat update is longer than ``clip_norm``, up to values of 1e30 (central trust)."""
    clip_norm = declared(mechanism, "clip_norm", None) or 0.0
    if clip_norm <= 0 or _trust(mechanism) != "central":
        return
    for scale in (clip_norm, 1e22):
        clipped, _ = mechanism.clip(_updates(scale), mechanism.init())
        longest = float(row_norms(clipped.vectors).max())
        require(
            longest <= clip_norm * (1 + 1e-6), f"clip let a norm of {longest} through clip_norm {clip_norm}"
        )


def clipping_twice_is_clipping_once(mechanism: Privacy) -> None:
    """A clipped cohort passes ``clip`` again with the same bits."""
    once, _ = mechanism.clip(_updates(), mechanism.init())
    twice, _ = mechanism.clip(once, mechanism.init())
    require(torch.equal(once.vectors, twice.vectors), "clip changes updates that it has clipped already")


def what_workers_may_sum_passes_clip_unchanged(mechanism: Privacy) -> None:
    """Where ``settled`` is declared, ``clip`` changes neither honest messages nor the state."""
    if not declared(mechanism, "settled", False):
        return
    sent = mechanism.privatize(_updates(), _streams)
    before = mechanism.init()
    received, after = mechanism.clip(sent, before)
    require(torch.equal(received.vectors, sent.vectors), "declared settled, but clip changes honest messages")
    require(equal(after, before), "declared settled, but clip changes the state")


def a_zero_update_stays_zero_and_an_empty_cohort_empty(mechanism: Privacy) -> None:
    """``clip`` neither divides by a norm of zero nor needs a client."""
    clipped, _ = mechanism.clip(_updates(), mechanism.init())
    require(bool((clipped.vectors[0] == 0).all()), "clip turns a zero update into something else")
    empty, _ = mechanism.clip(_cohort(torch.zeros(0, 301)), mechanism.init())
    require(empty.vectors.shape == (0, 301), f"clip turns an empty cohort into {tuple(empty.vectors.shape)}")


def an_honest_message_moves_by_at_most_the_clip_norm(mechanism: Privacy) -> None:
    """With the same noise, any update and the zero update give messages at most ``clip_norm`` apart."""
    event = _event(mechanism)
    if not isinstance(event, Release) or event.once or declared(mechanism, "server_clips_alone", False):
        return
    if protects_examples(mechanism):
        return  # it is an example that is bounded, and within a step
    clip_norm = declared(mechanism, "clip_norm", None) or 0.0
    updates = _updates(clip_norm)
    sent = mechanism.privatize(updates, _streams).vectors.double()
    silent = mechanism.privatize(_cohort(torch.zeros_like(updates.vectors)), _streams).vectors.double()
    furthest = float(row_norms(sent - silent).max())
    rounding = 1e-5 * (1 + event.noise_multiplier)
    require(
        furthest <= clip_norm * (1 + rounding),
        f"privatize moves a message by {furthest}, clip_norm is {clip_norm}",
    )


def a_message_depends_on_its_own_client_only(mechanism: Privacy) -> None:
    """``privatize`` works row by row: blocks of clients may be cut anywhere."""
    updates = _updates()
    together = mechanism.privatize(updates, _streams).vectors
    for row in range(len(updates)):
        alone = mechanism.privatize(updates.rows(torch.tensor([row])), _streams).vectors[0]
        require(torch.equal(alone, together[row]), f"privatize gives row {row} other bits in another cohort")


def inputs_are_left_as_they_were(mechanism: Privacy) -> None:
    """No verb writes into the tensors that it is given."""
    updates, aggregate = _updates(), torch.linspace(-1, 1, 301)
    vectors, before = updates.vectors.clone(), aggregate.clone()
    mechanism.privatize(updates, _streams)
    mechanism.clip(updates, mechanism.init())
    mechanism.noise(aggregate, _EXPECTED, mechanism.init(), generator(2, "noise"))
    require(torch.equal(updates.vectors, vectors), "privatize or clip writes into the updates it is given")
    require(torch.equal(aggregate, before), "noise writes into the aggregate it is given")


def noise_comes_from_the_given_stream_alone(mechanism: Privacy) -> None:
    """Equal streams give equal bits, other streams other noise, and no mechanism no noise at all."""
    aggregate, updates = torch.linspace(-1, 1, 301), _updates()

    def both(seed: int) -> tuple[Tensor, Tensor, Tensor]:
        noised, _ = mechanism.noise(aggregate, _EXPECTED, mechanism.init(), generator(seed, "noise"))
        sent = mechanism.privatize(updates, lambda i: generator(seed, "privatize", i))
        return noised, sent.vectors, _server_sees(mechanism, sent, seed).vectors

    first, again, other = both(3), both(3), both(4)
    same = all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    require(same, "equal streams give different noise: something else is drawn from")
    event = _event(mechanism)
    if isinstance(event, Release):
        differs = any(not torch.equal(a, b) for a, b in zip(first, other, strict=True))
        silent = event.once or protects_examples(mechanism)  # it noises something else
        require(differs or silent, "another stream gives the same noise")
    elif event.reason == "no_mechanism":
        require(torch.equal(first[0], aggregate), "noise changes the aggregate, yet event says no_mechanism")


def the_noise_is_what_the_event_claims(mechanism: Privacy) -> None:
    """The noise's standard deviation is the charged multiplier times the sensitivity, whoever came."""
    event = _event(mechanism)
    if not isinstance(event, Release) or event.once or protects_examples(mechanism):
        return
    clip_norm = declared(mechanism, "clip_norm", None) or 0.0
    if _trust(mechanism) == "local":
        zeros = _cohort(torch.zeros(2, _DRAWS // 2))
        drawn = mechanism.privatize(zeros, lambda i: generator(5, "privatize", i)).vectors
        _require_std(drawn.flatten(), event.noise_multiplier * clip_norm)
        mixed = float((drawn[0].double() * drawn[1].double()).mean()) / float(drawn.double().var())
        require(
            abs(mixed) < 6.5 / (_DRAWS / 2) ** 0.5,
            "two clients' noise is correlated: it does not average out",
        )
    elif _trust(mechanism) == "distributed":
        silent = Updates(torch.zeros(10, _DRAWS), torch.arange(10), torch.ones(10, dtype=torch.int64))
        total = _server_sees(mechanism, silent).vectors
        require(total.shape == (1, _DRAWS), f"secure_sum returned {tuple(total.shape)}, expected one row")
        _require_std(total[0], event.noise_multiplier * clip_norm)
    elif _trust(mechanism) == "central":
        for expected_size, factor in ((_EXPECTED, 1.0), (250.0, 1.0), (_EXPECTED, 2.0)):
            _require_central_std(mechanism, expected_size, factor * clip_norm / expected_size)


def data_released_once_are_noised_and_nothing_else(mechanism: Privacy) -> None:
    """``perturb`` adds the noise that is charged, from its stream, and updates pass as they are."""
    perturb: Any = declared(mechanism, "perturb", None)
    event = _event(mechanism)
    once = isinstance(event, Release) and event.once
    require(
        once == (perturb is not None), f"perturb and a release of the data go together, got once = {once}"
    )
    if perturb is None or not isinstance(event, Release):
        return
    records = np.full((_DRAWS // 2, 2), 1000, dtype=np.int64)
    first, again, other = (perturb(records, generator(seed, "input")) for seed in (0, 0, 1))
    fits = first.shape == records.shape and first.dtype == records.dtype and bool((records == 1000).all())
    require(fits, "perturb must return records of the same shape and type, and leave those given alone")
    require(np.array_equal(first, again), "equal streams give different noise: something else is drawn from")
    require(not np.array_equal(first, other), "another stream gives the same noise")
    _require_std(torch.from_numpy(first - records).flatten(), event.noise_multiplier * _moved(mechanism))
    updates, aggregate = _updates(), torch.linspace(-1, 1, 301)
    sent, _ = mechanism.clip(mechanism.privatize(updates, _streams), mechanism.init())
    noised, _ = mechanism.noise(aggregate, _EXPECTED, mechanism.init(), generator(2, "noise"))
    same = torch.equal(sent.vectors, updates.vectors) and torch.equal(noised, aggregate)
    require(same, "what is trained on released data needs no protection: updates must pass as they are")


def _moved(mechanism: Privacy) -> float:
    """Return by how much one person moves the records."""
    moved: float = declared(mechanism, "sensitivity", 1.0)
    return moved


def _require_central_std(mechanism: Privacy, expected_size: float, sensitivity: float) -> None:
    """Run a short cohort through the server's two verbs, and compare noise and claim."""
    _, state = mechanism.clip(_updates(), mechanism.init())
    event = mechanism.event(sensitivity, expected_size, state)
    noised, _ = mechanism.noise(torch.zeros(_DRAWS), expected_size, state, generator(6, "noise"))
    if isinstance(event, Release):
        told = declared(mechanism, "statistic_multiplier", None)
        beside = None if told is None else told(expected_size)
        z = event.noise_multiplier
        diagonal = event.mixing[-1] if event.mixing else 1.0
        alone = z if beside is None else (z**-2 - beside**-2) ** -0.5
        _require_std(noised * diagonal, alone * sensitivity)


def noise_that_hangs_together_is_fresh_once_mixed(mechanism: Privacy) -> None:
    """Each round's ``mixing`` of its own and earlier noise is white, with the std that is charged."""
    mixings: Any = declared(mechanism, "mixings", None)
    if mixings is None or not isinstance(_event(mechanism), Release):
        return
    state, noises, fresh = mechanism.init(), list[Tensor](), list[Tensor]()
    silent = torch.zeros(_DRAWS)
    sensitivity = declared(mechanism, "clip_norm", 0.0) / _EXPECTED
    for t in range(4):
        noised, state = mechanism.noise(silent, _EXPECTED, state, generator(8, "noise", t))
        event = mechanism.event(sensitivity, _EXPECTED, state)
        if not isinstance(event, Release) or event.mixing is None or len(event.mixing) > t + 1:
            require(False, f"round {t} does not say how its noise hangs together: {event}")
            return
        noises.append(noised.double())
        recent = noises[-len(event.mixing) :]
        mixed = sum((f * n for f, n in zip(event.mixing, recent, strict=True)), torch.zeros(_DRAWS).double())
        _require_std(mixed, event.noise_multiplier * sensitivity)
        for s, other in enumerate(fresh):
            alike = float((mixed * other).mean()) / float(mixed.std() * other.std())
            require(
                abs(alike) < 6.5 / _DRAWS**0.5, f"rounds {s} and {t} share noise that is charged as fresh"
            )
        fresh.append(mixed)
        planned = list(mixings(t + 1))
        require(planned[-1] == event.mixing, f"mixings and event disagree about round {t}")


def _require_std(drawn: Tensor, claimed: float) -> None:
    values = drawn.double()
    ratio = float(values.square().mean()) / claimed**2
    found = ratio**0.5 * claimed
    require(
        _BAND[0] <= ratio <= _BAND[1], f"event claims noise of standard deviation {claimed}, found {found}"
    )
    mean = float(values.mean())
    require(abs(mean) <= 6.5 * claimed / len(values) ** 0.5, f"noise must have mean 0, found {mean}")


def an_unknown_sensitivity_proves_nothing(mechanism: Privacy) -> None:
    """Unless nobody is trusted, a defense of unknown sensitivity leaves no guarantee."""
    if _trust(mechanism) in ("central", "distributed"):
        event = mechanism.event(None, _EXPECTED, mechanism.init())
        require(isinstance(event, NoGuarantee), "event claims a release although the sensitivity is unknown")


def an_audit_does_not_refute_what_it_claims(mechanism: Privacy) -> None:
    """Draws with a canary and without certify no more than the event claims, at confidence 1 - 1e-6."""
    clip_norm = declared(mechanism, "clip_norm", None) or declared(mechanism, "initial_clip_norm", None)
    if clip_norm is None or _trust(mechanism) not in ("central", "local") or protects_examples(mechanism):
        return
    few = 4_000 if _trust(mechanism) == "local" else 40_000
    found = audit_mechanism(mechanism, rounds=2, draws=few, alpha=1e-6)
    require(
        not found.refuted, f"event claims epsilon {found.claimed}, an audit certifies {found.epsilon_low}"
    )


def its_memory_survives_a_checkpoint(mechanism: Privacy) -> None:
    """Every state that a verb returns can be packed, and comes back equal."""
    first = mechanism.init()
    _, second = mechanism.clip(_updates(), first)
    _, third = mechanism.noise(torch.zeros(301), _EXPECTED, second, generator(7, "noise"))
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
    a_zero_update_stays_zero_and_an_empty_cohort_empty,
    an_honest_message_moves_by_at_most_the_clip_norm,
    a_message_depends_on_its_own_client_only,
    inputs_are_left_as_they_were,
    noise_comes_from_the_given_stream_alone,
    the_noise_is_what_the_event_claims,
    noise_that_hangs_together_is_fresh_once_mixed,
    data_released_once_are_noised_and_nothing_else,
    an_unknown_sensitivity_proves_nothing,
    an_audit_does_not_refute_what_it_claims,
    its_memory_survives_a_checkpoint,
    *EXAMPLE_CHECKS,
)
