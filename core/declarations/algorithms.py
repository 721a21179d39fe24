"""What algorithms may declare, and the sampler and server optimizer that one may bring itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from .declaration import Declaration, Kind, Table, count, flag, method, word, words

if TYPE_CHECKING:
    from ..contracts.clients import Groups, LocalRule, LocalTraining, Part
    from ..contracts.defenses import Verdict
    from ..contracts.facts import Facts
    from ..contracts.procedures import Visit, Worked
    from ..contracts.server import Sampling
    from ..layout import Layout
    from ..updates import Updates

Array = np.ndarray[Any, Any]


class Samplers(Table):
    """What a sampler may say of itself."""

    periodic = flag(
        "Its cohorts hang together over rounds: `sample` gets the same stream in each, and the round besides."
    )
    sampling_at: Declaration[Callable[[int, int], Sampling] | None] = method(
        "(num_clients, round) -> Sampling", "How it samples in one round, where rounds differ."
    )


class Optimizers(Table):
    """What a server optimizer may say of itself."""

    extras = count(0, "How many vectors the server sends besides the parameters.")
    extra: Declaration[Callable[[Tensor, Any], Tensor] | None] = method(
        "(params, state) -> Tensor", "Which vectors these are.  # [E, P]"
    )
    gain: Declaration[Callable[[Any], float] | None] = method(
        "(state) -> float",
        "What the next aggregate is multiplied by in the parameters after it; silent: they are no multiple.",
    ).of("step")
    memoryless = flag("What `step` makes of parameters and an aggregate depends on nothing else.").of("step")
    posterior: Declaration[Callable[[Any], list[Tensor]] | None] = method(
        "(state) -> list of Tensor", "The posterior samples that it has kept so far, [P] each."
    )
    by_tensor = flag("`step` is told how the parameters lie: `(params, aggregate, state, layout)`.")
    unproved = word("no_mechanism", "Why it proves nothing without a privacy mechanism.")


class Algorithms(Samplers, Optimizers):
    """What an algorithm may have and say of itself; one with a `step` is its own server optimizer."""

    plain = flag("`correct` returns the gradient as it is.").of("correct")
    correct: Declaration[Callable[..., Tensor] | None] = method(
        "(gradient, params, received) -> Tensor",
        "The direction of one local step of a local rule, [..., P]; with `up`, `down` or `memory` also given "
        "`shared, own`.",
    )
    drift: Declaration[Callable[[Groups, Groups], Tensor] | None] = method(
        "(shared, own) -> Tensor",
        "All that `correct` adds to a gradient, where it follows from these; beside `proximal`, the rest.",
    ).of("correct")
    proximal: Declaration[float] = Declaration(
        Kind("a finite number of at least 0", lambda v: isinstance(v, int | float) and 0 <= v < float("inf")),
        0.0,
        "How strongly `correct` pulls to the received model: to a gradient it adds this times `params - "
        "received`, and `drift`, where there is one, and nothing else; 0: not said.",
    ).of("correct")
    up: Declaration[Callable[[Layout], Layout] | None] = method(
        "(layout) -> Layout",
        "What a client sends [M], from the parameters' layout; silent: the update. Of a local rule vectors "
        "like the parameters, of a procedure any tensors.",
    )
    down: Declaration[Callable[[Layout], Layout] | None] = method(
        "(layout) -> Layout", "What the server sends: `params` and other groups; silent: the parameters."
    )
    memory: Declaration[Callable[[Layout], Layout] | None] = method(
        "(layout) -> Layout", "What a client remembers between rounds [S]; silent: nothing."
    )
    start: Declaration[Callable[[Tensor], Groups] | None] = method(
        "(params) -> Groups", "What a client remembers at its first visit; silent: zeros."
    )
    scales: Declaration[Callable[[LocalTraining], Mapping[str, float]] | None] = method(
        "(training) -> mapping", "Public scales of groups of `up`, by which they are divided on their way."
    )
    finish: Declaration[Callable[..., tuple[Groups, Groups]] | None] = method(
        "(update, received, shared, own, work) -> (Groups, Groups)", "What clients send and then remember."
    )
    facts = words(
        "The names of single numbers that a client states beside its message, float64: never clipped or "
        "noised, a reason for no epsilon."
    )
    facts_of: Declaration[Callable[..., Mapping[str, Tensor]] | None] = method(
        "(update, work) -> mapping", "What clients state, by the names of `facts`, [K] each."
    )
    factors: Declaration[Callable[[Facts], Tensor] | None] = method(
        "(facts) -> Tensor",
        "What each client's update is multiplied by before the defense, after clipping, finite and above 0, "
        "float64 [K]; silent: 1.",
    )
    sees_messages = flag(
        "Goes with `facts`: its `step` is told of every counted message besides, as `Facts.messages`."
    )
    takes_steps: Declaration[Callable[[int, Callable[[], np.random.Generator]], int] | None] = method(
        "(planned, draw) -> int",
        "How many of the local steps that it planned a client takes in a round, at least 1; `draw()` is its "
        "own stream of that round; silent: all.",
    )
    model: Declaration[Callable[[Tensor, Any], Tensor] | None] = method(
        "(params, state) -> Tensor",
        "The model that is scored [P]; silent: what is broadcast.",
    )
    served: Declaration[Callable[[Tensor, Any, int], Tensor] | None] = method(
        "(params, state, client_id) -> Tensor",
        "The model that the server has for one client [P], where they differ: it is scored on what that one "
        "holds out.",
    )
    added_loss: Declaration[Callable[..., Tensor] | None] = method(
        "(local, frozen, targets) -> Tensor",
        "What is added to each example's loss [B], from `Activations` of the local and of frozen models.",
    )
    frozen_models = words("The models that `added_loss` is told of: `received`, and groups of `memory`.")
    personal: Declaration[LocalRule | None] = Declaration(
        Kind(
            "a local rule: schedule and correct", lambda v: hasattr(v, "schedule") and hasattr(v, "correct")
        ),
        None,
        "The rule by which clients train models of their own besides: the group `personal` of `memory`.",
    )
    memory_stays = flag("What clients send does not depend on what they remember.").of("correct", "finish")
    levels: Declaration[Callable[..., Sequence[Part]] | None] = method(
        "(model, input_shape) -> Parts",
        "The smaller models that clients may train in the place of the whole one, one a level; silent: none.",
    )
    level: Declaration[Callable[..., int] | None] = method(
        "(client_id, num_clients, draw) -> int",
        "A client's level in a round; `draw()` is its own public stream of that round. Goes with `levels`.",
    )
    levels_stay = flag("A client has one level in all rounds.")
    labels: Declaration[Callable[..., Tensor] | None] = method(
        "(model) -> Tensor",
        "With `levels`: the label that each parameter is about, -1 for none, int64 [P]. A client's logits of "
        "labels that it does not hold are 0 in its loss, and it does not send what is about them.",
    )
    keeps: Declaration[Callable[..., Sequence[str]] | None] = method(
        "(model) -> names",
        "The trainable parameters and floating buffers of the model that stay with each client: never sent, "
        "remembered by it; silent: none.",
    )
    full_gradient = flag(
        "It needs the gradient or the loss of all of a client's examples at what it received."
    )
    weighs_alike = flag("A mean of its messages must not weigh clients by their examples.")
    work: Declaration[Callable[[Visit], tuple[Tensor, Tensor] | Worked] | None] = method(
        "(visit) -> (Tensor, Tensor) or Worked",
        "What a client sends [M], and its mean loss: in place of `correct`. A `Worked` where it remembers or "
        "states something besides.",
    )
    replicas: Declaration[Callable[[int, int], Sequence[int]] | None] = method(
        "(client_id, num_clients) -> ids",
        "With `work`: whose examples a client has replicas of, and looks at by `visit.of`; silent: its own "
        "alone.",
    )
    prepare: Declaration[Callable[[Visit], Any] | None] = method(
        "(visit) -> State",
        "What a client works out once, from its examples of round 0 and the run's seed alone.",
    )
    init: Declaration[Callable[[], Any] | None] = method("() -> State", "The server half's first memory.")
    step: Declaration[Callable[..., tuple[Tensor, Any]] | None] = method(
        "(params, aggregate, state) -> (Tensor, State)",
        "The server half; of a rule that exchanges more than parameters also given its `share`, of one with "
        "`facts` its `share` and the `Facts`.",
    )
    combine: Declaration[Callable[[Updates, Any, int], tuple[Verdict, Any]] | None] = method(
        "(messages, state, num_clients) -> (Verdict, State)",
        "With `work` and `step`: what is made of the messages that count, in the place of a defense: the "
        "aggregate [P] and the memory that `step` is then given. Where nothing can be told the aggregate is "
        "0, and `fallback` says why.",
    )
    sampling: Declaration[Callable[[int], Sampling] | None] = method(
        "(num_clients) -> Sampling", "How it samples, where it is its own sampler."
    )
    sample: Declaration[Callable[..., Array] | None] = method(
        "(num_clients, generator) -> ids", "The cohort, where it is its own sampler."
    )
    stale = flag("Its server half is right also for messages that began in earlier rounds.")
    losses = words("The losses that it goes with, by name; none: any.")
    mechanisms = words(
        "The privacy mechanisms that it goes with, by name; one from outside by its class's.",
        careful=("none",),
    )
    shared = words("Its attributes that such a mechanism takes over where it leaves them None.")
    full_participation = flag("It needs every client in every round.")
    plain_mean = flag("What the server adds up must be the plain mean of the messages.")
