"""What the plug-ins that make up a client may declare: data, algorithms, codecs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from .declaration import ANYTHING, Declaration, Kind, Table, count, flag, mapping, method, word, words
from .server import Optimizers, Samplers

if TYPE_CHECKING:
    from torch import nn

    from ..contracts.client_defenses import BlockVisit
    from ..contracts.clients import Groups, LocalRule, LocalTraining, Part, Visit, Worked
    from ..contracts.facts import Facts
    from ..contracts.server import Sampling
    from ..contracts.tasks import LossForm
    from ..layout import Layout

Array = np.ndarray[Any, Any]


class Datasets(Table):
    """What a data set may have: examples on one pile, or a population."""

    load: Declaration[Callable[[], Any] | None] = method("() -> Dataset", "All examples, on one pile.")
    load_perturbed: Declaration[Callable[[Callable[[Array], Array]], Any] | None] = method(
        "(perturb) -> Dataset", "As `load`, but training examples are cut from `perturb(records)`."
    )
    populate: Declaration[Callable[[int, int], Any] | None] = method(
        "(num_clients, seed) -> FederatedData", "Examples that are born with their clients."
    )


class ClientData(Table):
    """What examples that lie with their clients may say of themselves."""

    targets: Declaration[Any] = Declaration(
        ANYTHING, None, "The `Targets` of a regression, whose `num_classes` is 0."
    )
    num_classes = count(0, "C; labels are below it.")
    task = word("", "The name of the task that they are made for; silent: by their labels.")
    num_tokens = count(0, "Inputs are tokens, int64, below it; 0: they are floats.")
    label_shape: Declaration[tuple[int, ...] | None] = Declaration(
        ANYTHING, None, "The shape of one label, without the batch; silent: a class, or a number a target."
    )
    input_shape: Declaration[tuple[int, ...] | None] = Declaration(
        ANYTHING, None, "The shape of one example, without the batch."
    )
    root: Declaration[Any] = Declaration(ANYTHING, None, "The examples that the server keeps for itself.")
    held_out: Declaration[Any] = Declaration(
        ANYTHING,
        None,
        "What clients keep for their own scores: data of as many clients, some of them of none.",
    )


class Tasks(Table):
    """What a task may say of itself."""

    losses = words("The names of its losses; the first is the default.")
    metrics = words("What it measures besides loss and accuracy: each is a column of the table of rounds.")
    has_accuracy = flag("It measures an accuracy: the share that is right.")
    by_class = flag("A label is one class, and so is an answer: what works on classes goes with it.")
    whole_outputs = flag("Its answers are the outputs: the loss is taken of all test examples at once.")
    form: Declaration[Callable[[str], LossForm] | None] = method(
        "(name) -> LossForm",
        "How a loss is written for a stack; silent: one loss an example, times its weight.",
    )


class Partitions(Table):
    """What a partition may say of itself."""

    complete = flag("Every example goes to some client.")
    seeded = flag("Another run seed gives another split.", careful=True)
    label_free = flag("It does not look at the labels, only at how many there are.")


class Algorithms(Samplers, Optimizers):
    """What an algorithm may have and say of itself; one with a `step` is its own server optimizer."""

    plain = flag("`correct` returns the gradient as it is.")
    correct: Declaration[Callable[..., Tensor] | None] = method(
        "(gradient, params, received) -> Tensor",
        "The direction of one local step of a local rule, [..., P]; with `up`, `down` or `memory` also given "
        "`shared, own`.",
    )
    drift: Declaration[Callable[[Groups, Groups], Tensor] | None] = method(
        "(shared, own) -> Tensor", "All that `correct` adds to a gradient, where it follows from these alone."
    )
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
    takes_steps: Declaration[Callable[[int, Callable[[], np.random.Generator]], int] | None] = method(
        "(planned, draw) -> int",
        "How many of the local steps that it planned a client takes in a round, at least 1; `draw()` is its "
        "own stream of that round; silent: all.",
    )
    model: Declaration[Callable[[Tensor, Any], Tensor] | None] = method(
        "(params, state) -> Tensor",
        "The model that is scored [P]; silent: what is broadcast.",
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
    memory_stays = flag("What clients send does not depend on what they remember.")
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
    full_gradient = flag("`finish` needs the gradient of all of a client's examples at what it received.")
    weighs_alike = flag("A mean of its messages must not weigh clients by their examples.")
    work: Declaration[Callable[[Visit], tuple[Tensor, Tensor] | Worked] | None] = method(
        "(visit) -> (Tensor, Tensor) or Worked",
        "What a client sends [M], and its mean loss: in place of `correct`. A `Worked` where it remembers or "
        "states something besides.",
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
    sampling: Declaration[Callable[[int], Sampling] | None] = method(
        "(num_clients) -> Sampling", "How it samples, where it is its own sampler."
    )
    sample: Declaration[Callable[..., Array] | None] = method(
        "(num_clients, generator) -> ids", "The cohort, where it is its own sampler."
    )
    stale = flag("Its server half is right also for messages that began in earlier rounds.")
    mechanisms = words("The privacy mechanisms that it goes with.", careful=("none",))
    shared = words("Its attributes that such a mechanism takes over where it leaves them None.")
    full_participation = flag("It needs every client in every round.")
    plain_mean = flag("What the server adds up must be the plain mean of the messages.")


class ClientDefenses(Table):
    """What a client defense may have and say of itself."""

    change: Declaration[Callable[[Tensor, BlockVisit], Tensor] | None] = method(
        "(update, visit) -> Tensor",
        "What clients let out in the place of their updates [K, P]; see ``visit``.",
    )
    wrap: Declaration[Callable[[nn.Module], nn.Module] | None] = method(
        "(model) -> model",
        "The model of all clients and of the server in the place of the one that the scenario names; what it "
        "draws at random it takes from torch's own generator.",
    )
    examples: Declaration[Callable[..., tuple[Tensor, Tensor]] | None] = method(
        "(x, y, generator) -> (x, y)",
        "What a client trains on in a round in the place of its examples: as many, in their order.",
    )
    passive = flag("`change` returns the update as it is.")
    looks_at_examples = flag(
        "`change` looks at more of a client's data than its update, or `examples` mixes examples: no "
        "guarantee for single examples goes with it.",
        careful=True,
    )
    adaptive = mapping(
        "The leakage attack, as `name` and options, that knows of the defense: what the defense is worth is "
        "shown beside it."
    )
    check: Declaration[Callable[[nn.Module, Sequence[int]], None] | None] = method(
        "(model, input_shape)", "Raises `PluginError` where it cannot work on a model; asked before the run."
    )


class Codecs(Table):
    """What a codec may say of itself."""

    codec_id: Declaration[int | None] = Declaration(
        Kind("a whole number from 0 to 255", lambda v: isinstance(v, int) and 0 <= v <= 255),
        None,
        "The number of its frames. Every codec says so.",
    )
    unbiased = flag("E decode(encode(x)) = x.")
    lossless = flag("decode(encode(x)) = x, so that it may decode to NaN or infinity.")
    additive = flag("Payloads can be summed under secure aggregation.")
    verbatim = flag("Lossless, without state or randomness, every body `max_body` long.")
    contractive = flag(
        "In L2, x - decode(encode(x)) is never longer than x: error feedback may be put around it."
    )
    share: Declaration[Callable[[Tensor, Tensor, Any], Any] | None] = method(
        "(params, aggregate, state) -> State",
        "What the server sends to every client before a round besides: it counts as bytes down.",
    )
    settle: Declaration[Callable[[Any, Sequence[int]], Any] | None] = method(
        "(state, counted_ids) -> State",
        "The state after a round whose messages of these clients came in time, decoded and were finite.",
    )
    support: Declaration[Callable[[Any, Layout], Tensor] | None] = method(
        "(records, layout) -> Tensor",
        "Which coordinates a frame names, bool [M]; the others decode to 0. Silent: all are named.",
    )
    decode_cohort: Declaration[Callable[[Any, Layout, Any], Tensor] | None] = method(
        "(cohort, layout, contexts) -> Tensor", "`decode` of several frames at once, to the same bits [K, P]."
    )
