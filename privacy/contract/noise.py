"""What a mechanism's noise owes, as checks that raise ``PluginError`` when it is broken.

Source: the release that a mechanism claims is compared with the noise that it adds, by the chi-square
band of Gauntlet's test rules: 1e5 draws, false alarm 1e-9.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import NoGuarantee, Privacy, Release
from ...core.declarations import Mechanisms, declared
from ...core.registry import require
from ...core.seeds import generator
from ...core.updates import Updates
from ..audits.mechanism_audit import audit_mechanism
from .example import protects_examples
from .trials import EXPECTED, cohort_of, event_of, server_sees, some_updates, streams, trust

_DRAWS = 100_000
_BAND = (0.9729, 1.0276)  # quantiles of chi-square / n for n = 1e5 at 1e-9


def noise_comes_from_the_given_stream_alone(mechanism: Privacy) -> None:
    """Equal streams give equal bits, other streams other noise, and no mechanism no noise at all."""
    aggregate, updates = torch.linspace(-1, 1, 301), some_updates()

    def both(seed: int) -> tuple[Tensor, Tensor, Tensor]:
        noised, _ = mechanism.noise(aggregate, EXPECTED, mechanism.init(), generator(seed, "noise"))
        sent = mechanism.privatize(updates, lambda i: generator(seed, "privatize", i))
        return noised, sent.vectors, server_sees(mechanism, sent, seed).vectors

    first, again, other = both(3), both(3), both(4)
    same = all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    require(same, "equal streams give different noise: something else is drawn from")
    event = event_of(mechanism)
    if isinstance(event, Release):
        differs = any(not torch.equal(a, b) for a, b in zip(first, other, strict=True))
        silent = event.once or protects_examples(mechanism)  # it noises something else
        require(differs or silent, "another stream gives the same noise")
    elif event.reason == "no_mechanism":
        require(torch.equal(first[0], aggregate), "noise changes the aggregate, yet event says no_mechanism")


def the_noise_is_what_the_event_claims(mechanism: Privacy) -> None:
    """The noise's standard deviation is the charged multiplier times the sensitivity, whoever came."""
    event = event_of(mechanism)
    if not isinstance(event, Release) or event.once or protects_examples(mechanism):
        return
    clip_norm = declared(mechanism, Mechanisms.clip_norm) or 0.0
    if trust(mechanism) == "local":
        zeros = cohort_of(torch.zeros(2, _DRAWS // 2))
        drawn = mechanism.privatize(zeros, lambda i: generator(5, "privatize", i)).vectors
        _require_std(drawn.flatten(), event.noise_multiplier * clip_norm)
        mixed = float((drawn[0].double() * drawn[1].double()).mean()) / float(drawn.double().var())
        require(
            abs(mixed) < 6.5 / (_DRAWS / 2) ** 0.5,
            "two clients' noise is correlated: it does not average out",
        )
    elif trust(mechanism) == "distributed":
        silent = Updates(torch.zeros(10, _DRAWS), torch.arange(10), torch.ones(10, dtype=torch.int64))
        total = server_sees(mechanism, silent).vectors
        require(total.shape == (1, _DRAWS), f"secure_sum returned {tuple(total.shape)}, expected one row")
        _require_std(total[0], event.noise_multiplier * clip_norm)
    elif trust(mechanism) == "central":
        for expected_size, factor in ((EXPECTED, 1.0), (250.0, 1.0), (EXPECTED, 2.0)):
            _require_central_std(mechanism, expected_size, factor * clip_norm / expected_size)


def data_released_once_are_noised_and_nothing_else(mechanism: Privacy) -> None:
    """``perturb`` adds the noise that is charged, from its stream, and updates pass as they are."""
    perturb: Any = declared(mechanism, Mechanisms.perturb)
    event = event_of(mechanism)
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
    updates, aggregate = some_updates(), torch.linspace(-1, 1, 301)
    sent, _ = mechanism.clip(mechanism.privatize(updates, streams), mechanism.init())
    noised, _ = mechanism.noise(aggregate, EXPECTED, mechanism.init(), generator(2, "noise"))
    same = torch.equal(sent.vectors, updates.vectors) and torch.equal(noised, aggregate)
    require(same, "what is trained on released data needs no protection: updates must pass as they are")


def _moved(mechanism: Privacy) -> float:
    """Return by how much one person moves the records."""
    moved: float = declared(mechanism, Mechanisms.sensitivity)
    return moved


def _require_central_std(mechanism: Privacy, expected_size: float, sensitivity: float) -> None:
    """Run a short cohort through the server's two verbs, and compare noise and claim."""
    _, state = mechanism.clip(some_updates(), mechanism.init())
    event = mechanism.event(sensitivity, expected_size, state)
    noised, _ = mechanism.noise(torch.zeros(_DRAWS), expected_size, state, generator(6, "noise"))
    if isinstance(event, Release):
        told = declared(mechanism, Mechanisms.statistic_multiplier)
        beside = None if told is None else told(expected_size)
        z = event.noise_multiplier
        diagonal = event.mixing[-1] if event.mixing else 1.0
        alone = z if beside is None else (z**-2 - beside**-2) ** -0.5
        _require_std(noised * diagonal, alone * sensitivity)


def noise_that_hangs_together_is_fresh_once_mixed(mechanism: Privacy) -> None:
    """Each round's ``mixing`` of its own and earlier noise is white, with the std that is charged."""
    mixings: Any = declared(mechanism, Mechanisms.mixings)
    if mixings is None or not isinstance(event_of(mechanism), Release):
        return
    state, noises, fresh = mechanism.init(), list[Tensor](), list[Tensor]()
    silent = torch.zeros(_DRAWS)
    sensitivity = (declared(mechanism, Mechanisms.clip_norm) or 0.0) / EXPECTED
    for t in range(4):
        noised, state = mechanism.noise(silent, EXPECTED, state, generator(8, "noise", t))
        event = mechanism.event(sensitivity, EXPECTED, state)
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
    if trust(mechanism) in ("central", "distributed"):
        event = mechanism.event(None, EXPECTED, mechanism.init())
        require(isinstance(event, NoGuarantee), "event claims a release although the sensitivity is unknown")


def an_audit_does_not_refute_what_it_claims(mechanism: Privacy) -> None:
    """Draws with a canary and without certify no more than the event claims, at confidence 1 - 1e-6."""
    clip_norm = declared(mechanism, Mechanisms.clip_norm) or declared(mechanism, Mechanisms.initial_clip_norm)
    if clip_norm is None or trust(mechanism) not in ("central", "local") or protects_examples(mechanism):
        return
    few = 4_000 if trust(mechanism) == "local" else 40_000
    found = audit_mechanism(mechanism, rounds=2, draws=few, alpha=1e-6)
    require(
        not found.refuted, f"event claims epsilon {found.claimed}, an audit certifies {found.epsilon_low}"
    )


NOISE_CHECKS: tuple[Callable[[Privacy], None], ...] = (
    noise_comes_from_the_given_stream_alone,
    the_noise_is_what_the_event_claims,
    noise_that_hangs_together_is_fresh_once_mixed,
    data_released_once_are_noised_and_nothing_else,
    an_unknown_sensitivity_proves_nothing,
    an_audit_does_not_refute_what_it_claims,
)
