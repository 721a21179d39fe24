"""What the attacker behind a probe is told of a client, and what an attack can be checked with beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...clients.codecs import CODECS
from ...clients.tasks.fitted import facts_of
from ...core.declarations import Algorithms, ClientData, Codecs, declared
from ...core.layout import Layout
from ...core.leakage_knowledge import LeakageKnowledge, Level
from ...core.observation import Observation, Truth
from ..assembly.loading import make_model
from .first_step import starts_plain
from .undoing import undo_of

if TYPE_CHECKING:
    from ...clients.data.base import FederatedData
    from ...core.contracts import Codec, Groups, LocalRule, LocalTraining
    from ..mail.planting import Planted
    from ..spec import RunSpec


def knowledge_of(
    spec: RunSpec,
    training: LocalTraining,
    truth: Truth,
    local_steps: int | None,
    labels_known: bool,
    rule: LocalRule | None = None,
    besides: Sequence[Groups] = (),
    received: Tensor | None = None,
    drawn: bool = False,
    defense_known: bool = True,
    server: str | None = None,
    of_steps: Mapping[str, Any] | None = None,
    surely: Mapping[str, Level] | None = None,
) -> LeakageKnowledge:
    """Return what an honest-but-curious server knows: public configuration, and labels only if told.

    Momentum over several steps, weight decay, Adam, or an algorithm that changes the first direction make an
    update no multiple of the gradient: ``lr`` is then not told.

    Args:
        spec: The run.
        training: How the client trains.
        truth: What it trains on, or all clients behind a sum; nothing but the number of examples and, if
            told, the labels is looked at.
        local_steps: How many steps it takes; None where clients behind a sum take different numbers.
        labels_known: Whether the labels are told.
        rule: The algorithm; by default one that leaves gradients as they are.
        besides: What a rule that exchanges more than parameters is given besides in its first step.
        received: What clients start from in round 0, to be compared with what they remember.  # [P]
        drawn: Whether no server sees how many examples are in a step: chance decides it, or they are behind
            a sum in which each client counts the same.
        defense_known: Whether the attacker is told what clients do against it.
        server: What a malicious server is called; its secret is told with it.
        of_steps: What else is told of the client's local steps, by item.
        surely: How surely, by item, where that is not exactly.
    """
    plainly = rule is None or starts_plain(rule, besides, received)
    optimizer = training.optimizer if plainly else spec.algorithm.name
    steady = training.momentum == 0 or local_steps == 1
    plain = optimizer == "sgd" and training.weight_decay == 0 and steady
    return LeakageKnowledge(
        batch_size=len(truth.y),
        labels=tuple(sorted(truth.trained().y.tolist())) if labels_known else None,
        local_steps=local_steps,
        lr=training.lr if plain else None,
        codec=str(spec.codec),
        privacy=str(spec.privacy),
        optimizer=optimizer,
        weight_decay=training.weight_decay,
        loss="cross_entropy" if training.loss == "auto" else training.loss,
        client_defense=str(spec.client_defense) if defense_known else None,
        server=server,
        levels={**dict.fromkeys(_hidden(rule, drawn), Level.ORACLE), **(surely or {})},
        **(of_steps or {}),
    )


def _hidden(rule: LocalRule | None, drawn: bool) -> list[str]:
    """Return what no server can know: how many steps a client takes that leaves some out and says nothing."""
    leaves_out = rule is not None and declared(rule, Algorithms.takes_steps) is not None
    silent = leaves_out and not declared(rule, Algorithms.facts)
    return ["batch_size"] * drawn + ["local_steps"] * silent


def blank_observation(
    spec: RunSpec,
    data: FederatedData,
    round_: int,
    client_id: int,
    knowledge: LeakageKnowledge,
    planted: Planted | None = None,
    contributors: int | None = None,
) -> Observation:
    """Return what an attack can be checked with before the run: the first model, and an update of zeros.

    ``planted`` is what a malicious server makes of the first parameters; ``contributors`` is how many clients
    a sum is of, None where single messages are seen.
    """
    model = make_model(spec, data)
    layout = Layout.of(model)
    if planted is not None:
        own = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in layout.views(planted.params).items():
                own[name].copy_(value)
    return Observation(
        round=round_,
        client_id=client_id,
        model=model,
        layout=layout,
        frame=b"",
        update=torch.zeros(layout.num_parameters),
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        value_range=data.value_range,
        knowledge=knowledge,
        kind="update" if contributors is None else "aggregate",
        contributors=contributors or 1,
        planted={} if planted is None else planted.secret,
        num_tokens=declared(data, ClientData.num_tokens),
        label_shape=facts_of(data).label_shape,
        lossy=contributors is None and not declared(_codec(spec), Codecs.lossless),
        undo=undo_of(spec.client_defense if knowledge.client_defense is not None else None),
    )


def _codec(spec: RunSpec) -> Codec:
    return CODECS.build(spec.codec.name, spec.codec.options)
