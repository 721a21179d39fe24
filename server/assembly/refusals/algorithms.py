"""What an algorithm does not go with: one of its own way, one that exchanges more than parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....clients.data.blank import input_dtype
from ....clients.training.added_loss import RECEIVED, head_of
from ....core.contracts import LocalTraining
from ....core.declarations import (
    Algorithms,
    Codecs,
    Defenses,
    Mechanisms,
    Networks,
    PreAggregations,
    UpdateAttacks,
    declared,
    shows_sums_alone,
)
from ....core.errors import ScenarioError
from ...guarantee.release import counts_alike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..fitted import Fitted
    from ..parts import Parts


def _who(parts: Parts) -> str:
    return f"algorithm '{parts.spec.algorithm.name}'"


def _is_one_of(name: str, named: Sequence[str]) -> bool:
    """Return whether a scenario's plug-in is among those that another names: from outside, by its class."""
    return name in named or name.rpartition(":")[2] in named


def a_mechanism_of_other_algorithms(parts: Parts) -> ScenarioError | None:
    """A privacy mechanism that goes with other algorithms."""
    needs, spec = declared(parts.mechanism, Mechanisms.algorithms), parts.spec
    if not needs or _is_one_of(spec.algorithm.name, needs):
        return None
    return ScenarioError(
        f"privacy '{spec.privacy.name}' goes with algorithm {' or '.join(needs)}, got '{spec.algorithm.name}'"
    )


def a_second_sampler_or_optimizer(parts: Parts) -> ScenarioError | None:
    """A sampler or server optimizer beside an algorithm that brings its own."""
    for verb, key, came, allowed in (
        (Algorithms.sample, "sampler", parts.spec.sampler, "full"),
        (Algorithms.step, "server_optimizer", parts.spec.server_optimizer, "sgd"),
        (Algorithms.combine, "defense", parts.spec.defense, "mean"),
    ):
        if parts.brings(verb) and (came.name != allowed or came.options):
            return ScenarioError(f"{_who(parts)} brings its own {key}: leave [{key}] out, got '{came}'")
    return None


def a_beginning_that_clients_do_not_know(parts: Parts) -> ScenarioError | None:
    """Weights from a file beside an algorithm whose clients prepare at the seed's own."""
    if parts.spec.init is None or declared(parts.algorithm, Algorithms.prepare) is None:
        return None
    return ScenarioError(
        f"{_who(parts)} has clients prepare at the weights that the seed draws: leave model.init out"
    )


def an_algorithm_of_other_mechanisms(parts: Parts) -> ScenarioError | None:
    """An algorithm that works in a way of its own, and names other privacy mechanisms."""
    mechanisms, came = declared(parts.algorithm, Algorithms.mechanisms), parts.spec.privacy.name
    if not parts.brings(Algorithms.work) or _is_one_of(came, mechanisms):
        return None
    return ScenarioError(f"{_who(parts)} goes with privacy {' or '.join(mechanisms)}, got '{came}'")


def an_optimizer_that_nobody_runs(parts: Parts) -> ScenarioError | None:
    """How local SGD steps, beside an algorithm that works in a way of its own, and would ignore it."""
    came, plain = parts.spec.training, LocalTraining()
    if not parts.brings(Algorithms.work):
        return None
    for name in ("momentum", "weight_decay", "optimizer"):
        if (value := getattr(came, name)) != getattr(plain, name):
            return ScenarioError(
                f"{_who(parts)} takes steps of its own, which know no training.{name}: leave it out, "
                f"got {value!r}"
            )
    return None


def clients_that_an_algorithm_misses(parts: Parts) -> ScenarioError | None:
    """An algorithm that needs every client in every round, with a sampler that draws some, or some lost."""
    needs = parts.brings(Algorithms.work) and declared(parts.algorithm, Algorithms.full_participation)
    if not needs:
        return None
    wants = f"{_who(parts)} needs every client in every round"
    if parts.sampler.sampling(parts.population).scheme != "full":
        return ScenarioError(f"{wants}: sampler full, got '{parts.spec.sampler}'")
    lost = declared(parts.network, Networks.may_lose)
    if declared(parts.network, Networks.complete) or lost is False:
        return None
    return ScenarioError(f"{wants}: a network that loses no message, got '{parts.spec.network}'")


def canaries_without_examples(parts: Parts) -> ScenarioError | None:
    """An audit's canaries, with an algorithm that visits examples."""
    if not parts.brings(Algorithms.work) or not parts.audit.num_canaries:
        return None
    return ScenarioError(f"{_who(parts)} cannot visit an audit's canaries: they have no examples")


def batch_statistics_that_nobody_trains(fitted: Fitted) -> ScenarioError | None:
    """A model with batch statistics, with an algorithm that works in a way of its own."""
    if not fitted.parts.brings(Algorithms.work) or not fitted.layout.num_buffers:
        return None
    return ScenarioError(
        f"{_who(fitted.parts)} cannot train a model with batch statistics; use one with group norm"
    )


def a_mean_that_is_not_plain(parts: Parts) -> ScenarioError | None:
    """An algorithm that needs the plain mean of the messages, with another rule or something before it."""
    needs = parts.brings(Algorithms.work) and declared(parts.algorithm, Algorithms.plain_mean)
    if not needs or (counts_alike(parts.defense) and not parts.spec.pre_aggregations):
        return None
    return ScenarioError(
        f"{_who(parts)} needs the plain mean: defense mean with weighting = 'uniform' or 'fixed', "
        f"got '{parts.spec.defense}'"
    )


def a_codec_that_breaks_a_bound(parts: Parts) -> ScenarioError | None:
    """A codec that loses something of messages in which an algorithm bounded each example's share."""
    private = parts.brings(Algorithms.work) and parts.spec.privacy.name != "none"
    if not private or declared(parts.codec, Codecs.lossless):
        return None
    return ScenarioError(
        f"{_who(parts)} bounds each example's share of a message, and codec '{parts.spec.codec.name}' does "
        "not keep that bound; use identity"
    )


def clients_that_a_mean_weighs(parts: Parts) -> ScenarioError | None:
    """An algorithm whose messages weigh alike, with a rule that weighs clients by their examples."""
    if not declared(parts.algorithm, Algorithms.weighs_alike):
        return None
    weighs = declared(parts.defense, Defenses.linear) and not counts_alike(parts.defense)
    if not (weighs or declared(parts.defense, Defenses.weighs_examples)):
        return None
    return ScenarioError(
        f"{_who(parts)} needs a mean that weighs all clients alike, such as defense mean with weighting = "
        f"'uniform' or 'fixed', got '{parts.spec.defense}'"
    )


def a_gradient_that_nobody_protects(parts: Parts) -> ScenarioError | None:
    """An algorithm that takes the gradient of all examples, with a mechanism that protects single steps."""
    if not declared(parts.algorithm, Algorithms.full_gradient) or not parts.in_steps:
        return None
    return ScenarioError(
        f"{_who(parts)} takes the gradient of all of a client's examples, which privacy "
        f"'{parts.spec.privacy.name}' does not protect; use an option that needs none"
    )


def features_that_a_model_has_not(fitted: Fitted) -> ScenarioError | None:
    """An algorithm that looks at features, with a model of one layer."""
    adds = fitted.parts.brings(Algorithms.added_loss)
    if (
        not adds
        or head_of(fitted.model, fitted.data.input_shape, input_dtype(fitted.task.facts.num_tokens))
        is not None
    ):
        return None
    model, way = f"model '{fitted.parts.spec.model.name}'", "take one that has, such as mlp"
    if not all(p.requires_grad for p in fitted.model.parameters()):
        model = f"what client defense '{fitted.parts.spec.client_defense.name}' lets be trained of {model}"
        way = "freeze fewer layers, or take a deeper model"
    return ScenarioError(
        f"{_who(fitted.parts)} looks at features, the inputs of a model's last layer, and {model} has no "
        f"layer before a last one that is called once; {way}"
    )


def a_loss_of_other_algorithms(fitted: Fitted) -> ScenarioError | None:
    """An algorithm that goes with some losses alone, with another one."""
    allowed = declared(fitted.parts.algorithm, Algorithms.losses)
    found = fitted.task.loss_name(fitted.parts.spec.training.loss)
    if not allowed or found in allowed:
        return None
    return ScenarioError(
        f"{_who(fitted.parts)} goes with loss {' or '.join(allowed)}, and task '{fitted.task.name}' is "
        f"trained here with '{found}'"
    )


def batch_statistics_that_nobody_remembers(fitted: Fitted) -> ScenarioError | None:
    """An algorithm that runs a model which clients remember, with one that has batch statistics."""
    frozen = set(declared(fitted.parts.algorithm, Algorithms.frozen_models)) - {RECEIVED}
    asked = fitted.parts.brings(Algorithms.added_loss) and frozen
    runs = fitted.parts.brings(Algorithms.personal) or asked
    if not runs or not fitted.layout.num_buffers:
        return None
    return ScenarioError(
        f"{_who(fitted.parts)} remembers the parameters of models, not their batch statistics; use a model "
        "with group norm"
    )


def a_message_that_nobody_reads(fitted: Fitted) -> ScenarioError | None:
    """An algorithm that sends more than an update, or is sent more than parameters, without a server half."""
    exchange, parts = fitted.exchange, fitted.parts
    if exchange.statement and not parts.brings(Algorithms.step):
        return ScenarioError(
            f"{_who(parts)} has clients state {', '.join(exchange.statement.names)}, and has no step that is "
            "told of it"
        )
    if exchange.up != exchange.layout and not parts.brings(Algorithms.step):
        return ScenarioError(
            f"{_who(parts)} sends {exchange.up.num_parameters} numbers for {fitted.layout.num_parameters} "
            "parameters, and has no step that makes parameters of their aggregate"
        )
    if exchange.down != exchange.layout and not parts.brings(Algorithms.extra):
        return ScenarioError(f"{_who(parts)} declares down, and has no extra that says what the server sends")
    return None


def messages_beside_parameters(fitted: Fitted) -> ScenarioError | None:
    """A rule or an attack that sets messages beside parameters, and messages that are more than updates."""
    if fitted.exchange.up == fitted.exchange.layout:
        return None
    parts, (_, attacks) = fitted.parts, fitted.parts.roles
    found = [f"defense '{parts.spec.defense.name}'"] * declared(parts.defense, Defenses.beside_params)
    found += [
        f"pre-aggregation '{named.name}'"
        for named, one in zip(parts.spec.pre_aggregations, parts.pre_aggregations, strict=True)
        if declared(one, PreAggregations.beside_params)
    ]
    found += [
        f"attack '{role.kind}'" for role in attacks if declared(role.attack, UpdateAttacks.beside_params)
    ]
    if not found:
        return None
    return ScenarioError(
        f"{found[0]} sets messages beside the parameters, and {_who(parts)} sends "
        f"{fitted.exchange.up.num_parameters} numbers for {fitted.layout.num_parameters} of these; leave out "
        "one of the two"
    )


def facts_behind_a_sum(parts: Parts) -> ScenarioError | None:
    """An algorithm whose clients state facts of their own, where the server sees a sum of the messages."""
    facts, mechanism = declared(parts.algorithm, Algorithms.facts), parts.mechanism
    summed = shows_sums_alone(mechanism) or declared(mechanism, Mechanisms.secure_sum) is not None
    if not facts or not summed:
        return None
    return ScenarioError(
        f"{_who(parts)} has each client state {', '.join(facts)}, and with privacy "
        f"'{parts.spec.privacy.name}' the server sees only the sum of the messages; use an algorithm without "
        "facts, such as fedavg"
    )


def canaries_that_state_nothing(parts: Parts) -> ScenarioError | None:
    """An audit's canaries, with an algorithm that needs facts of each client."""
    facts = declared(parts.algorithm, Algorithms.facts)
    if not facts or not parts.audit.num_canaries:
        return None
    return ScenarioError(
        f"{_who(parts)} has each client state {', '.join(facts)}, and audit '{parts.spec.audit.name}' sends "
        "updates of clients that train nothing; leave out one of the two"
    )


def canaries_in_a_part_of_a_message(fitted: Fitted) -> ScenarioError | None:
    """An audit that looks for canaries in the model, which is made of a part of each message."""
    parts = fitted.parts
    if fitted.exchange.up == fitted.layout or not parts.audit.num_canaries:
        return None
    return ScenarioError(
        f"audit '{parts.spec.audit.name}' looks for its canaries in the model, and {_who(parts)} makes it of "
        "a part of each message; leave out one of the two"
    )
