"""What a leakage attacker holds: the broadcast, the exact frame that one client sent, public configuration.

The client's true examples are a ``Truth``: another object in another file, which only the scorer opens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from .layout import Layout
from .leakage_knowledge import LeakageKnowledge

if TYPE_CHECKING:
    from .contracts.codecs import Mismatch

MessageKind = Literal["update", "gradient", "aggregate"]
KINDS: tuple[MessageKind, ...] = ("update", "gradient", "aggregate")
Artefact = Literal["images", "rows", "tokens"]
_HALF_ULP = 2.0**-24  # relative rounding error of float32


@dataclass(frozen=True)
class Observation:
    """One message as the server, or whoever listens in its place, sees it.

    Attributes:
        round: The round, from 0.
        client_id: The sender; of an aggregate one of its contributors.
        model: A private copy of the public model, holding the parameters that the client decoded.
        layout: How the model's parameters lie in a vector.
        frame: The exact bytes that the client sent; of an aggregate the sum, as one client would send it.
        update: What they decode to: local minus global parameters; of an aggregate the sum of these over
            the contributors, each times what it counts; of a gradient its opposite, as one step of size 1.
            # [P]
        input_shape: Shape of one example, without the batch.
        num_classes: C.
        value_range: The least and the largest value that an input can take.
        knowledge: What else the attacker is told; of a gradient, that lr = 1 and local_steps = 1.
        kind: What was sent: ``"update"``, ``"gradient"``, or ``"aggregate"`` (a sum over clients).
        contributors: Clients whose messages are in it, at least 1; above 1 of an aggregate alone.
        counted: The sum of what they count, above 0; None: each counts 1.
        support: Which coordinates were sent; the others decode to 0 and say nothing. By default all.  # [P]
        received: What the client received besides the parameters, by group of the algorithm's ``down``.
        releases: What else the client sent: ``num_examples`` (a number), ``buffers`` [Q], ``facts`` float64
            [F], and by name the other groups of the algorithm's ``up`` [P]; of an aggregate the sums of
            these, the first only where clients count as their examples, and no facts.
        planted: What a malicious server put into the model, and what an attack needs to read it out.
        num_tokens: Inputs are tokens, int64, below it; 0 where they are floats.
        label_shape: Shape of one label: () of a class.
        mismatch: How badly updates fit the frame, as its codec says; None where it says nothing or loses
            nothing. For attacks that name ``codec`` alone.
        lossy: Whether the codec loses something, so that ``update`` is not quite what was encoded.
        undo: What the client's own defense says of how its altered examples may be undone
            (``ClientDefenses.undo``); None where it says nothing. For attacks that name ``client_defense``.
        carries: The share of what the client's message before left out that this one carries besides, as
            under error feedback: there ``mismatch`` is of both together, and of the update alone in a
            client's first message. For the same attacks; 0 for others.

    Raises:
        ValueError: Another kind, or a number of contributors or a count that does not go with it.
    """

    round: int
    client_id: int
    model: nn.Module
    layout: Layout
    frame: bytes
    update: Tensor
    input_shape: tuple[int, ...]
    num_classes: int
    value_range: tuple[float, float]
    knowledge: LeakageKnowledge
    kind: MessageKind = "update"
    contributors: int = 1
    support: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    received: Mapping[str, Tensor] = field(default_factory=dict)
    releases: Mapping[str, Tensor | int] = field(default_factory=dict)
    planted: Mapping[str, Any] = field(default_factory=dict)
    num_tokens: int = 0
    label_shape: tuple[int, ...] = ()
    counted: float | None = None
    mismatch: Mismatch | None = None
    carries: float = 0.0
    lossy: bool = False
    undo: Callable[..., tuple[Tensor, float]] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.contributors < 1 or (self.contributors > 1 and self.kind != "aggregate"):
            raise ValueError(f"contributors must be 1 of one {self.kind}, got {self.contributors}")
        if not (0 < self.weight < math.inf) or (self.kind != "aggregate" and self.weight != 1):
            raise ValueError(f"counted must be above 0, and 1 of one {self.kind}; got {self.weight}")
        if self.support.numel() == 0:
            object.__setattr__(self, "support", torch.ones(len(self.update), dtype=torch.bool))

    @property
    def weight(self) -> float:
        """By what ``update`` is divided to be the contributors' mean, above 0."""
        return float(self.contributors) if self.counted is None else self.counted

    def gradient(self) -> Tensor:
        """Return the mean gradient behind a one-step update of plain SGD: -update / lr.  # [P]

        Raises:
            ValueError: The step size is not known, or the client took more than one step; or the message is
                a sum over clients.
        """
        lr, steps = self.knowledge.lr, self.knowledge.local_steps
        if lr is None or steps != 1 or self.kind == "aggregate":
            raise ValueError(
                "a gradient needs a known lr and local_steps = 1 of one client, got "
                f"lr = {lr} and local_steps = {steps} of {self.contributors}"
            )
        return -self.update / lr

    def mean_gradient(self) -> Tensor:
        """Return ``gradient``, or of a sum the contributors' mean gradient, each as much as it counts.  # [P]

        Where clients count as their examples, and each took one step on all of them, that is the gradient of
        the mean loss over all examples of all contributors.

        Raises:
            ValueError: See ``gradient``.
        """
        if self.kind != "aggregate":
            return self.gradient()
        mean = self.update / self.weight
        return replace(self, kind="update", contributors=1, counted=None, update=mean).gradient()


def noise_floor(observation: Observation) -> dict[str, float]:
    """Return, for each tensor, how far float32 alone moves an entry of the message, root mean square.

    A client sends fl(theta_1) - theta_0: every step rounds theta, by at most 2^-24 of its size and about 0.4
    of that root mean square. So nothing below 2^-24 rms(theta_1) sqrt(steps) is information; in units of the
    gradient that is divided by lr. Of a gradient it is 2^-24 times its own size; of a sum over K clients that
    count alike it grows by the square root of K, in units of what one of them counts. Codec and privacy noise
    come on top.
    """
    clients, sizes = observation.contributors, observation.update
    if observation.kind != "gradient":
        before = observation.layout.flatten(dict(observation.model.named_parameters()))
        rounded = math.sqrt(clients * (observation.knowledge.local_steps or 1))
        sizes = (before + sizes / observation.weight) * (observation.weight / clients * rounded)
    return {
        name: _HALF_ULP * float(values.double().square().mean().sqrt())
        for name, values in observation.layout.views(sizes).items()
    }


def rounding(observation: Observation) -> Tensor:
    """Return how far float32 moves each entry of the message, as a standard deviation, float64.  # [P]

    Where ``noise_floor`` bounds a tensor, this is what is expected of one number: a step leaves theta_1 at a
    multiple of the spacing of float32 there, u, and so by an error that is uniform over it, u / sqrt(12).
    What did not move at all is taken for what no example moves, and not for what is lost below u / 2.

    A gradient is a sum over the B examples of its batch, and every partial sum is rounded: see ``_summed``.
    Where B is not known, only its last rounding is expected.
    """
    clients, counted = observation.contributors, observation.weight
    sizes, draws = observation.update.float(), 1
    if observation.kind != "gradient":
        before = observation.layout.flatten(dict(observation.model.named_parameters()))
        sizes, draws = before + sizes / counted, clients * (observation.knowledge.local_steps or 1)
    sizes = sizes.abs()
    spacing = sizes.nextafter(torch.full_like(sizes, math.inf)).double() - sizes.double()
    spread = spacing * math.sqrt(draws / 12) * (counted / clients)
    if observation.kind == "gradient":
        spread = (spread.square() + _summed(observation)).sqrt()
    return spread.where(observation.update != 0, 0.0)


def _summed(observation: Observation) -> Tensor:
    """Return the variance of what rounding partial sums over a batch does to a gradient, float64.  # [P]

    For terms of independent signs, the partial sum of k of B of them has k / B of the square of their sum,
    whatever they cancel to. That square is expected to be the mean square of an entry's row times that of its
    column, over that of the tensor, since a layer's gradient is a sum of outer products; of a bias it is the
    tensor's mean square. Values spread evenly in the logarithm have a mean squared spacing of
    2^-46 (3 / 8 ln 2) of theirs. The last sum is the entry itself, and not counted here.
    """
    size = observation.knowledge.batch_size or 1
    partial = sum(k / size for k in range(2, size))
    found = []
    for values in observation.layout.views(observation.update.double()).values():
        square = values.square()
        mean = square.mean()
        if values.ndim > 1:
            flat = square.flatten(1)
            square = flat.mean(dim=1, keepdim=True) * flat.mean(dim=0) / mean.clamp(min=1e-300)
        found.append((square if values.ndim > 1 else mean.expand_as(square)).reshape(-1))
    return torch.cat(found) * (partial * 2.0**-46 * 3 / (8 * math.log(2)) / 12)


@dataclass(frozen=True)
class Truth:
    """What the observed client really trained on; never shown to an attack.

    Attributes:
        x: Inputs.  # [B, ...]
        y: Labels.  # [B, *label_shape]
        members: Of each candidate that an attacker is told, 1: the client trained on it in this round, 0:
            nobody ever does, -1: the client holds it, and did not; None where there are none.  # [H]
        altered: What the client trained on in the place of x and y, as many, where a defense of its own
            alters examples; None where none does.
        framing: Of tokens, those that are no words, and are not scored.
    """

    x: Tensor
    y: Tensor
    members: Tensor | None = None
    altered: tuple[Tensor, Tensor] | None = None
    framing: tuple[int, ...] = ()

    def trained(self) -> Truth:
        """Return the inputs and labels in the client's loss: what a defense of its own made of these."""
        return self if self.altered is None else Truth(*self.altered, framing=self.framing)


@dataclass(frozen=True)
class Progress:
    """What an attack would have returned after some of its steps: the best so far, by its own cost.

    Attributes:
        x: Rebuilt inputs at each of S steps, in the attack's own order.  # [S, B, ...]
        cost: What the attack minimised, as the attacker sees it.
        closures: How often the cost and its gradient had been computed, over all restarts.
        seconds: CPU seconds of the attack's thread since it began.

    Raises:
        ValueError: Not one of each a step.
    """

    x: Tensor
    cost: tuple[float, ...]
    closures: tuple[int, ...]
    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        sizes = {len(self.x), len(self.cost), len(self.closures), len(self.seconds)}
        if len(sizes) != 1:
            raise ValueError(f"progress needs one of each a step, got {sorted(sizes)}")


@dataclass(frozen=True)
class Reconstruction:
    """What an attack rebuilt.

    Attributes:
        x: Rebuilt inputs, in the attack's own order.  # [B, ...]
        y: Rebuilt labels.  # [B, *label_shape]
        cost: What the attack minimised, as the attacker sees it, at the end.
        trace: That cost over the iterations.
        stopped: ``"converged"``, ``"plateau"``, ``"max_iterations"``, ``"time_budget"``, ``"nan"``,
            ``"closed_form"`` or, of an exact attack whose own proof fails, ``"not_certified"``, and of one
            that sees that the message does not determine the examples, ``"not_identifiable"``.
        details: Further figures, such as closures evaluated.
        artefact: What x is, which decides how it is scored: ``"images"`` [B, channels, height, width] or
            ``"rows"`` of values, or ``"tokens"`` int64; by default what its type and shape say.
        progress: How it came about, for plots; None where there was no search.
    """

    x: Tensor
    y: Tensor
    cost: float
    trace: tuple[float, ...]
    stopped: str
    details: Mapping[str, float]
    artefact: Artefact | None = None
    progress: Progress | None = None
