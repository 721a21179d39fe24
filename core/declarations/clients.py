"""What the plug-ins that make up a client may declare: data, algorithms, codecs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from .declaration import (
    ANYTHING,
    Declaration,
    Kind,
    Table,
    count,
    declared,
    flag,
    method,
    number,
    word,
    words,
)

if TYPE_CHECKING:
    from torch import nn

    from ..contracts.client_defenses import BlockVisit
    from ..contracts.codecs import CodecContext, Mismatch
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
    framing: Declaration[tuple[int, ...]] = Declaration(
        ANYTHING,
        (),
        "Tokens that are no words: what fills up, begins and ends a sentence. Nobody scores them.",
    )
    fitted = words("What of inputs and labels was learnt from training examples, so that no epsilon holds.")
    notes = words("What a reader of the results should know of the inputs: a warning each.")
    columns: Declaration[Any] = Declaration(
        ANYTHING, (), "How the columns of a table became the inputs, a `Column` each."
    )
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
    ).of("loss")


class Partitions(Table):
    """What a partition may say of itself."""

    complete = flag("Every example goes to some client.")
    seeded = flag("Another run seed gives another split.", careful=True)
    natural = flag("Every natural group is one client, so that their number is the data's.")
    label_free = flag("It does not look at the labels, only at how many there are.")
    sees_inputs = flag(
        "It looks at the inputs: `split` is handed those of all training examples as a fifth argument."
    )
    alter: Declaration[Callable[..., Array] | None] = method(
        "(x, client_id, num_clients, generator) -> x",
        "What a client's inputs [n, ...] become, float32 (pixels from 0 to 1), as many of the same shape; "
        "silent: they stay.",
    )


class Models(Table):
    """What a factory of models may say of itself."""

    settle: Declaration[Callable[[nn.Module, Callable[[nn.Module], Tensor] | None], None] | None] = method(
        "(model, loss)",
        "Asked once the first weights are there, drawn or those of `model.init`, and before anybody trains: "
        "changes the model in place, by these alone. `loss(model)` is the mean loss on the server's own "
        "examples [], with a gradient; None where it has none. A file of weights may then lack what a "
        "module names as `file_may_lack`, and a module's `fit_file(shapes)` is told what a file holds of it.",
    )


Named = Mapping[str, object]
"""A plug-in as its ``name`` and options."""


def _names_attacks(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(isinstance(one, Mapping) and bool(one) and _names_attacks(one) for one in value)
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return False
    return not value or (isinstance(value.get("name"), str) and value["name"] != "")


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
    undo: Declaration[Callable[..., tuple[Tensor, float]] | None] = method(
        "(seen, value_range, generator) -> (x, misfit)",
        "What an attacker makes of what it rebuilt of `examples`, [B, ...] for each round that it attacked: "
        "the client's likely examples, as many, and how far theirs are from what was seen (RMS).",
    )
    passive = flag("`change` returns the update as it is.").of("change")
    looks_at_examples = flag(
        "`change` looks at more of a client's data than its update, or `examples` mixes examples: no "
        "guarantee for single examples goes with it.",
        careful=True,
    )
    adaptive: Declaration[Named | tuple[Named, ...]] = Declaration(
        Kind("a leakage attack as its name and options, or a tuple of such", _names_attacks),
        (),
        "The leakage attack, as `name` and options, that knows of the defense, or a tuple of several of "
        "which the strongest that applies counts: what the defense is worth is shown beside one of them.",
    )
    unanswered = flag(
        "No leakage attack of this package knows of it, so that `adaptive` names none: what is rebuilt is "
        "the least that leaks, and runs say so."
    )
    check: Declaration[Callable[[nn.Module, Sequence[int]], None] | None] = method(
        "(model, input_shape)", "Raises `PluginError` where it cannot work on a model; asked before the run."
    )


def attackers(defense: object) -> tuple[Named, ...]:
    """Return the attacks that a client defense names as ``adaptive``; none where it names none.

    Raises:
        PluginError: It declares something else.
    """
    named = declared(defense, ClientDefenses.adaptive)
    if isinstance(named, Mapping):
        return (named,) if named else ()
    return tuple(named)


class Codecs(Table):
    """What a codec may say of itself."""

    codec_id: Declaration[int | None] = Declaration(
        Kind("a whole number from 0 to 255", lambda v: isinstance(v, int) and 0 <= v <= 255),
        None,
        "The number of its frames. Every codec says so.",
    )
    unbiased = flag("E decode(encode(x)) = x.")
    lossless = flag("decode(encode(x)) = x, so that it may decode to NaN or infinity.").of("encode", "decode")
    additive = flag("Payloads can be summed under secure aggregation.").of("encode", "decode")
    verbatim = flag("Lossless, without state or randomness, every body `max_body` long.").of(
        "encode", "decode"
    )
    differences = flag(
        "As `codec_down` it is handed what changed since what clients hold; who was away gets what it missed."
    )
    contractive = flag(
        "In L2, x - decode(encode(x)) is never longer than x: error feedback may be put around it."
    )
    share: Declaration[Callable[[Tensor, Tensor, Any], Any] | None] = method(
        "(params, aggregate, state) -> State",
        "What the server sends to every client before a round besides: it counts as bytes down.",
    )
    share_stays = flag("What `share` returns is for reading frames alone: it is sent to nobody.")
    counts: Declaration[Callable[[Tensor], Tensor] | None] = method(
        "(num_examples) -> Tensor",
        "What each client counts in a mean that it keeps, float64 [K]; the defense's mean must count alike.",
    )
    kept_mean: Declaration[Callable[[Any], Tensor | None] | None] = method(
        "(state) -> Tensor | None",
        "The mean that it keeps, once messages are counted: the server steps along it in the place of the "
        "defense's [M]. None: along the defense's.",
    )
    of_one_round = flag(
        "What it learns of the aggregate counts on messages of one round: no schedule may mix rounds."
    )
    reads_params = flag("It reads `context.params`, so that frames of whole messages alone can be read.")
    settle: Declaration[Callable[[Any, Sequence[int]], Any] | None] = method(
        "(state, counted_ids) -> State",
        "The state after a round whose messages of these clients came in time, decoded and were finite.",
    )
    support: Declaration[Callable[[Any, Layout], Tensor] | None] = method(
        "(records, layout) -> Tensor",
        "Which coordinates a frame names, bool [M]; the others decode to 0. Silent: all are named.",
    )
    mismatch: Declaration[Callable[[Any, Layout, CodecContext], Mismatch | None] | None] = method(
        "(records, layout, context) -> Mismatch | None",
        "How badly updates fit a legal frame, for leakage attacks that know of the codec. None, or silent: "
        "they compare with what it decodes to.",
    )
    carries = number(
        0.0,
        "The share of what a client's message left out that its next one carries besides, from 0 to 1.",
    )
    replays = flag(
        "On the way down: in the place of its frame a client may be sent the messages that were counted "
        "since its own last was, from which it works out the same parameters. Its frames are float32."
    )
    start_known = flag("With `replays`: clients hold the run's first parameters before it begins.")
    choices: Declaration[Callable[[Layout, Any], Sequence[float]] | None] = method(
        "(layout, shared) -> values",
        "What a planner chose for each tensor of a round, given what it shared: a number each, for tables.",
    )
    decode_cohort: Declaration[Callable[[Any, Layout, Any], Tensor] | None] = method(
        "(cohort, layout, contexts) -> Tensor", "`decode` of several frames at once, to the same bits [K, P]."
    ).of("decode")
