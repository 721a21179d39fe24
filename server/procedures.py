"""Algorithms that bring more than a local rule: what of the engine they replace, and what they go with."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch

from ..clients.algorithms import ALGORITHMS
from ..clients.exchange import Exchange
from ..core.contracts import Codec, Defense, Privacy
from ..core.declarations import (
    Algorithms,
    Codecs,
    Declaration,
    Defenses,
    Mechanisms,
    declared,
    works_in_steps,
)
from ..core.errors import ScenarioError
from ..core.layout import Layout
from ..privacy import AUDITS
from .spec import RunSpec


def own_half(spec: RunSpec, verb: Declaration[Any]) -> Any | None:
    """Return the algorithm where it has this verb: one of another family, or ``work``; else None.

    Raises:
        PluginError: An unknown algorithm, or options out of range.
    """
    rule: Any = ALGORITHMS.build(spec.algorithm.name, spec.algorithm.options)
    return rule if declared(rule, verb) else None


def share(spec: RunSpec, mechanism: Privacy) -> Privacy:
    """Return the mechanism with the options that it leaves open taken over from the algorithm.

    Raises:
        PluginError: As ``own_half``, or an option that the mechanism refuses.
    """
    rule = own_half(spec, Algorithms.work)
    if rule is None or not is_dataclass(mechanism):
        return mechanism
    names = {f.name for f in fields(mechanism)} & set(declared(rule, Algorithms.shared))
    found = {name: getattr(rule, name) for name in names if getattr(mechanism, name) is None}
    return replace(mechanism, **found) if found else mechanism


def check_procedure(spec: RunSpec, defense: Defense, codec: Codec, layout: Layout) -> None:
    """Refuse what does not go together with the run's algorithm, or what it would replace.

    Raises:
        ScenarioError: The first such thing, in one line.
    """
    needs = declared(_mechanism_class(spec), Mechanisms.algorithms)
    if needs and spec.algorithm.name not in needs:
        raise ScenarioError(
            f"privacy '{spec.privacy.name}' goes with algorithm {' or '.join(needs)}, "
            f"got '{spec.algorithm.name}'"
        )
    who = f"algorithm '{spec.algorithm.name}'"
    for verb, key, came, allowed in (
        (Algorithms.sample, "sampler", spec.sampler, "full"),
        (Algorithms.step, "server_optimizer", spec.server_optimizer, "sgd"),
    ):
        if own_half(spec, verb) and (came.name != allowed or came.options):
            raise ScenarioError(f"{who} brings its own {key}: leave [{key}] out, got '{came}'")
    rule = own_half(spec, Algorithms.work)
    if rule is None:
        return
    mechanisms = declared(rule, Algorithms.mechanisms)
    if spec.privacy.name not in mechanisms:
        raise ScenarioError(f"{who} goes with privacy {' or '.join(mechanisms)}, got '{spec.privacy.name}'")
    if declared(rule, Algorithms.full_participation) and spec.sampler.name != "full":
        raise ScenarioError(f"{who} needs every client in every round: sampler full, got '{spec.sampler}'")
    if AUDITS.build(spec.audit.name, spec.audit.options).num_canaries:
        raise ScenarioError(f"{who} cannot visit an audit's canaries: they have no examples")
    if layout.num_buffers:
        raise ScenarioError(f"{who} cannot train a model with batch statistics; use one with group norm")
    _check_means(spec, who, rule, defense, codec)


def check_exchange(spec: RunSpec, exchange: Exchange, privacy: Privacy, defense: Defense) -> None:
    """Refuse what does not go together with what the clients send, receive and remember.

    Raises:
        ScenarioError: The first such thing, in one line.
    """
    who, rule = f"algorithm '{spec.algorithm.name}'", exchange.rule
    wider = exchange.up != exchange.layout
    if wider and not own_half(spec, Algorithms.step):
        raise ScenarioError(
            f"{who} sends {exchange.up.num_parameters} numbers for {exchange.layout.num_parameters} "
            "parameters, and has no step that makes parameters of their aggregate"
        )
    if exchange.down != exchange.layout and rule is not None and not own_half(spec, Algorithms.extra):
        raise ScenarioError(f"{who} declares down, and has no extra that says what the server sends")
    if wider and AUDITS.build(spec.audit.name, spec.audit.options).num_canaries:
        raise ScenarioError(
            f"audit '{spec.audit.name}' looks for its canaries in the model, and {who} makes it of a part of "
            "each message; leave out one of the two"
        )
    if (
        declared(rule, Algorithms.weighs_alike)
        and declared(defense, Defenses.linear)
        and not counts_alike(defense)
    ):
        raise ScenarioError(
            f"{who} needs a mean that weighs all clients alike: set defense.weighting = 'uniform' or "
            f"'fixed', got '{spec.defense}'"
        )
    if declared(rule, Algorithms.full_gradient) and works_in_steps(privacy):
        raise ScenarioError(
            f"{who} takes the gradient of all of a client's examples, which privacy "
            f"'{spec.privacy.name}' does not protect; use an option that needs none"
        )


def counts_alike(defense: Defense) -> bool:
    """Return whether a defense counts every client the same, however many examples it has."""
    counts = declared(defense, Defenses.counts)
    return counts is not None and len(torch.unique(counts(torch.tensor([1, 3])))) == 1


def _check_means(spec: RunSpec, who: str, rule: Any, defense: Defense, codec: Codec) -> None:
    if declared(rule, Algorithms.plain_mean) and (not counts_alike(defense) or spec.pre_aggregations):
        raise ScenarioError(
            f"{who} needs the plain mean: defense mean with weighting = 'uniform' or 'fixed', "
            f"got '{spec.defense}'"
        )
    if spec.privacy.name != "none" and not declared(codec, Codecs.lossless):
        raise ScenarioError(
            f"{who} bounds each example's share of a message, and codec '{spec.codec.name}' does not keep "
            "that bound; use identity"
        )


def _mechanism_class(spec: RunSpec) -> Any:
    from ..privacy import PRIVACY

    return PRIVACY.find(spec.privacy.name)
