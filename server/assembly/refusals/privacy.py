"""What a privacy mechanism does not go with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.declarations import Codecs, Defenses, Mechanisms, declared, declares, shows_sums_alone
from ....core.errors import ScenarioError

if TYPE_CHECKING:
    from ..fitted import Fitted
    from ..parts import Parts


def system_noise_on_released_data(parts: Parts) -> ScenarioError | None:
    """Noise from the system on data that are released once: every load would draw it anew, uncharged."""
    if declared(parts.mechanism, Mechanisms.perturb) is None or parts.spec.noise_seed is None:
        return None
    return ScenarioError(
        f"privacy '{parts.spec.privacy.name}' releases the data once, and every process that loads them must "
        "draw the same noise: noise_seed must be 'run', got 'system'"
    )


def given_data_that_should_be_noised(parts: Parts) -> ScenarioError | None:
    """Data made elsewhere, with a mechanism that noises what the run loads itself."""
    if declared(parts.mechanism, Mechanisms.perturb) is None or not parts.given:
        return None
    return ScenarioError(
        f"privacy '{parts.spec.privacy.name}' noises the records of a data set that the run loads itself; "
        "data made elsewhere cannot be given to it"
    )


def an_audit_by_clients_of_examples(parts: Parts) -> ScenarioError | None:
    """An audit by made-up clients of a mechanism that protects single examples."""
    spec = parts.spec
    if not parts.in_steps or spec.audit.name == "none":
        return None
    return ScenarioError(
        f"audit '{spec.audit.name}' adds made-up clients, and privacy '{spec.privacy.name}' protects "
        "single examples; audit a mechanism whose unit is the client"
    )


def a_budget_that_the_sampling_cannot_keep(fitted: Fitted) -> ScenarioError | None:
    """A mechanism for which no noise keeps the budget, or that asks more of the sampling than it promises."""
    try:
        _ = fitted.privacy
    except ValueError as error:
        refusal = ScenarioError(f"{fitted.parts.spec.privacy.name}: {error}")
        refusal.__cause__ = error
        return refusal
    return None


def batch_statistics_that_leave_unclipped(fitted: Fitted) -> ScenarioError | None:
    """A model with batch statistics under any mechanism."""
    if fitted.privacy.trust_model == "none" or not fitted.layout.num_buffers:
        return None
    names = ", ".join(slot.name for slot in fitted.layout.buffers[:3])
    return ScenarioError(
        f"privacy '{fitted.parts.spec.privacy.name}' cannot protect a model with batch statistics "
        f"({names} ...): they would leave unclipped; use a model with group norm"
    )


def canaries_that_nobody_clips(fitted: Fitted) -> ScenarioError | None:
    """An audit with a mechanism that does not clip: canaries would wreck the model."""
    spec = fitted.parts.spec
    clips = declared(fitted.privacy, Mechanisms.clip_norm) is not None
    if clips or not fitted.parts.audit.num_canaries:
        return None
    return ScenarioError(
        f"audit '{spec.audit.name}' needs a privacy mechanism that clips, got '{spec.privacy.name}'; "
        "gaussian with noise_multiplier = 0 clips without noise"
    )


def _only_sums(parts: Parts) -> str | None:
    """Return what the server sees under secure aggregation; None where it sees single updates."""
    if not shows_sums_alone(parts.mechanism):
        return None
    return f"with privacy '{parts.spec.privacy.name}' the server sees only the sum of the updates"


def a_defense_that_sees_only_sums(parts: Parts) -> ScenarioError | None:
    """A defense that works on single updates, or divides by what secure aggregation does not tell."""
    if (only := _only_sums(parts)) is None:
        return None
    needs = declared(parts.defense, Defenses.individual)
    plain = declared(parts.mechanism, Mechanisms.sum_only)
    if not needs and (_weighs_beforehand(parts) if plain else _divides_by_a_size(parts)):
        return None
    spec, way = parts.spec, "" if plain else " with weighting = 'fixed'"
    amiss = "is no linear rule whose counts are public" if plain else "does not divide by a fixed size"
    why = "needs single updates" if needs else f"({spec.defense}) {amiss}"
    return ScenarioError(f"{only}, and defense '{spec.defense.name}' {why}; use mean{way}")


def _weighs_beforehand(parts: Parts) -> bool:
    """Return whether a client can tell what it counts before anybody adds up."""
    rule = parts.defense
    public = declares(rule, Defenses.counts) and declares(rule, Defenses.denominator)
    return public and declared(rule, Defenses.linear) and rule.init() is None


def _divides_by_a_size(parts: Parts) -> bool:
    sensitivity = declared(parts.defense, Defenses.sensitivity)
    return sensitivity is not None and sensitivity(1.0, 1.0) is not None


def a_pre_aggregation_that_sees_only_sums(parts: Parts) -> ScenarioError | None:
    """A pre-aggregation under secure aggregation."""
    if (only := _only_sums(parts)) is None or not parts.spec.pre_aggregations:
        return None
    return ScenarioError(
        f"{only}, and pre-aggregation '{parts.spec.pre_aggregations[0].name}' needs single updates; "
        "leave it out"
    )


def a_codec_whose_payloads_do_not_add_up(parts: Parts) -> ScenarioError | None:
    """A codec whose payloads cannot be summed, or that loses what a mechanism's integers still need."""
    if (only := _only_sums(parts)) is None:
        return None
    plain = declared(parts.mechanism, Mechanisms.sum_only)
    if declared(parts.codec, Codecs.additive) and (plain or declared(parts.codec, Codecs.lossless)):
        return None
    return ScenarioError(
        f"{only}, and what codec '{parts.spec.codec.name}' makes cannot be added up; use identity"
    )
