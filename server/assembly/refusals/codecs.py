"""What the codecs, of the downlink above all, do not go with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ....core.declarations import (
    Algorithms,
    Codecs,
    Defenses,
    Optimizers,
    Schedules,
    Servers,
    declared,
    declares,
)
from ....core.errors import ScenarioError

if TYPE_CHECKING:
    from ..fitted import Fitted
    from ..parts import Parts


def a_downlink_that_remembers(parts: Parts) -> ScenarioError | None:
    """A codec with a memory, or that needs something beforehand: parameters go down whole in every round."""
    remembers = parts.codec_down.init() is not None
    reads = declared(parts.codec_down, Codecs.reads_params)
    if not remembers and not reads and declared(parts.codec_down, Codecs.share) is None:
        return None
    why = "keeps a memory of its messages" if remembers else "sends something before each message"
    if reads:
        why = "counts on parameters that both sides hold"
    return ScenarioError(
        f"codec_down '{parts.spec.codec_down.name}' {why}, and the server sends its parameters anew in every "
        "round; use one without, such as fp16"
    )


def a_downlink_that_an_algorithm_does_not_expect(parts: Parts) -> ScenarioError | None:
    """A codec that loses something, with an algorithm whose own server half counts on what clients hold."""
    if not parts.brings(Algorithms.step) or declared(parts.codec_down, Codecs.lossless):
        return None
    return ScenarioError(
        f"algorithm '{parts.spec.algorithm.name}' counts on clients that hold the server's own parameters, "
        f"and codec_down '{parts.spec.codec_down.name}' changes them on the way; use identity"
    )


def rounds_that_a_codec_does_not_mix(parts: Parts) -> ScenarioError | None:
    """A codec that learns from aggregates of one round, under a schedule that counts messages of several."""
    mixed = not any(declared(parts.schedule, one) for one in (Schedules.plain, Schedules.fresh))
    if not mixed or not declared(parts.codec, Codecs.of_one_round):
        return None
    return ScenarioError(
        f"codec '{parts.spec.codec.name}' learns from the server's aggregate of one round, and schedule "
        f"'{parts.spec.schedule.name}' counts messages of several together; use schedule synchronous, or a "
        "codec that learns nothing from them (low_rank: refresh = 'random' or 'server')"
    )


def a_mean_that_a_codec_does_not_keep(parts: Parts) -> ScenarioError | None:
    """A codec that reads messages against a mean of its own, under another rule than that mean."""
    own = declared(parts.codec, Codecs.counts)
    if own is None:
        return None
    theirs, examples = declared(parts.defense, Defenses.counts), torch.tensor([1, 2, 5])
    plain = declared(parts.defense, Defenses.linear) and parts.defense.init() is None
    alike = plain and theirs is not None and torch.equal(own(examples), theirs(examples))
    if alike and not parts.spec.pre_aggregations:
        return None
    rule = "pre-aggregations change" if alike else f"defense '{parts.spec.defense}' is not"
    return ScenarioError(
        f"codec '{parts.spec.codec.name}' keeps a mean of the clients' messages, and {rule} that mean; use "
        "defense mean without pre-aggregations, with the codec's weighting"
    )


def a_mechanism_that_a_kept_mean_does_not_pass(parts: Parts) -> ScenarioError | None:
    """A codec whose own mean the server steps along, under a mechanism that changes what came."""
    came = parts.spec.privacy.name
    if declared(parts.codec, Codecs.kept_mean) is None or came == "none":
        return None
    return ScenarioError(
        f"codec '{parts.spec.codec.name}' keeps the mean that the server steps along, which privacy '{came}' "
        "would neither clip nor noise; use privacy none, or error_feedback in its place"
    )


def a_log_that_gives_other_parameters(parts: Parts) -> ScenarioError | None:
    """A downlink of logs, with a server whose parameters do not follow from the messages that it counted."""
    if not declared(parts.codec_down, Codecs.replays):
        return None
    why = next((what for what, holds in _beyond_a_log(parts) if holds), None)
    if why is None:
        return None
    return ScenarioError(
        f"codec_down '{parts.spec.codec_down.name}' sends what was counted, from which clients work out the "
        f"parameters, and {why}"
    )


def _beyond_a_log(parts: Parts) -> tuple[tuple[str, bool], ...]:
    """Return what parameters may follow from besides the messages counted, and whether they do."""
    spec, linear = parts.spec, declared(parts.defense, Defenses.linear)
    mean = linear and declares(parts.defense, Defenses.counts) and parts.defense.init() is None
    planted = declared(parts.defense, Defenses.prepare) is not None
    plain = declared(parts.schedule, Schedules.plain) and not declares(parts.schedule, Schedules.weights)
    honest = declared(parts.server, Servers.deviates) == "nothing"
    own = (Algorithms.facts, Algorithms.levels, Algorithms.down, Algorithms.up)
    return (
        (
            "loses something of parameters that it sends whole; it must be verbatim",
            not declared(parts.codec_down, Codecs.verbatim),
        ),
        (
            f"codec '{spec.codec.name}' sends float32, of which no log is shorter; use a shorter one, such "
            "as one_byte",
            declared(parts.codec, Codecs.verbatim),
        ),
        (
            f"codec '{spec.codec.name}' is decoded with what the server shared in each round; use one that "
            "shares nothing",
            declared(parts.codec, Codecs.share) is not None,
        ),
        (f"defense '{spec.defense}' is no plain mean; use defense mean", not mean or planted),
        ("pre-aggregations change these before; leave them out", bool(spec.pre_aggregations)),
        (f"privacy '{spec.privacy.name}' clips or noises these; use none", spec.privacy.name != "none"),
        (f"audit '{spec.audit.name}' sends others; use none", bool(parts.audit.num_canaries)),
        (f"schedule '{spec.schedule.name}' weighs these by their age; use synchronous", not plain),
        (f"server '{spec.server.name}' plants others; use honest", not honest),
        (
            f"algorithm '{spec.algorithm.name}' has messages or models of its own; use another, such as "
            "mezo or fedavg",
            any(declared(parts.algorithm, verb) for verb in own),
        ),
        (
            f"{_stepping(parts)} remembers earlier rounds; use one that does not, such as server_optimizer "
            "sgd without momentum",
            not declared(parts.optimizer, Optimizers.memoryless),
        ),
    )


def _stepping(parts: Parts) -> str:
    """Return what messages call whatever moves the parameters."""
    if parts.brings(Algorithms.step):
        return f"algorithm '{parts.spec.algorithm.name}'"
    return f"server_optimizer '{parts.spec.server_optimizer}'"


def batch_statistics_that_no_log_holds(fitted: Fitted) -> ScenarioError | None:
    """A downlink of logs, with a model whose buffers are averaged beside the messages."""
    parts = fitted.parts
    if not declared(parts.codec_down, Codecs.replays) or not fitted.layout.num_buffers:
        return None
    return ScenarioError(
        f"codec_down '{parts.spec.codec_down.name}' sends messages, and model '{parts.spec.model.name}' has "
        "batch statistics beside them; use one with group norm"
    )
