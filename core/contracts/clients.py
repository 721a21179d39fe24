"""What a client is made of: local rules, models. Procedures of a client's own stand in ``procedures``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, nn

Switch = Literal["auto", "on", "off"]
"""A way of training: where it can be, always, or never."""

Device = Literal["auto", "cpu", "cuda"]
"""Where clients train."""

_OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class LocalTraining:
    """How a client trains on its own examples.

    Attributes:
        local_epochs: Passes over the client's data, at least 1. Ignored when ``local_steps`` is given.
        local_steps: Number of SGD steps instead, at least 1, or None.
        batch_size: Examples a step, at least 1; 0 takes all of the client's examples.
        lr: Step size, above 0.
        momentum: Heavy-ball momentum between 0 and 1 (1 excluded), fresh every round.
        weight_decay: L2 penalty added to the gradient, at least 0.
        optimizer: ``"sgd"``, or ``"adam"`` with torch's constants and moments that begin anew every round.
        loss: One of the task's losses: ``"cross_entropy"`` of labels; ``"mse"`` or ``"mae"`` of real-valued
            targets; ``"auto"`` is the task's first.
        shuffle: Whether every pass takes the examples in a fresh random order, or all in their own.
    """

    local_epochs: int = 1
    local_steps: int | None = None
    batch_size: int = 32
    lr: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    optimizer: Literal["sgd", "adam"] = "sgd"
    loss: str = "auto"
    shuffle: bool = True

    def __post_init__(self) -> None:
        for name, least in (("local_epochs", 1), ("batch_size", 0), ("weight_decay", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.local_steps is not None and self.local_steps < 1:
            raise ValueError(f"local_steps must be at least 1, got {self.local_steps}")
        if self.lr <= 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        if self.optimizer not in _OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(_OPTIMIZERS)}; got '{self.optimizer}'")
        if self.optimizer == "adam" and self.momentum:
            raise ValueError(f"momentum must be 0 with adam, which has its own, got {self.momentum}")


class LocalRule(Protocol):
    """What an algorithm changes about local SGD, as pure elementwise tensor functions.

    What it may declare: ``core.declarations.Algorithms``. One that declares ``levels`` has models of several
    sizes: each client trains, receives and sends the ``Part`` of its level, which ``level`` tells from its id
    and the run's seed, and ``correct`` works on that. Everything after local training sees ``Updates`` with a
    ``presence``.
    """

    def schedule(self, training: LocalTraining) -> LocalTraining:
        """Return the training that this algorithm really runs."""

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        """Return the direction of one local step; all [..., P], so that clients can be stacked."""


Groups = Mapping[str, Tensor]
"""By a group's name, vectors that lie like the parameters.  # [..., P] each"""


@dataclass(frozen=True)
class LocalWork:
    """What the local training of some clients was.

    Attributes:
        training: How they trained, as the rule scheduled it.
        steps: The local steps that each of them took, float32.  # [K, 1]
        gradient: The gradient of each one's mean loss over all of its examples, at the parameters that it
            received; None unless the rule declares ``full_gradient``.  # [K, P]
        loss: That mean loss itself; None likewise.  # [K]
    """

    training: LocalTraining
    steps: Tensor
    gradient: Tensor | None = None
    loss: Tensor | None = None


@dataclass(frozen=True)
class Activations:
    """What a model makes of some examples.

    Attributes:
        outputs: Its outputs: logits, or the numbers of a regression.  # [B, C] or [B, D]
        features: The inputs of its last layer with parameters, flattened: of a multi-layer perceptron its
            last hidden layer.  # [B, F]
    """

    outputs: Tensor
    features: Tensor


class AddingRule(Protocol):
    """A local rule that adds a term to the loss of every example.

    ``frozen_models`` names the models whose activations it is given besides the local one's: ``received``,
    and groups of its ``memory``. They are in evaluation mode, without gradient.
    """

    frozen_models: tuple[str, ...]

    def added_loss(self, local: Activations, frozen: Mapping[str, Activations], targets: Tensor) -> Tensor:
        """Return what is added to the loss of each example.  # [B]

        An example's term may depend on nothing but that example. The mean over a batch is what is minimised,
        besides the loss that ``training`` names.

        Args:
            local: What the model that is trained makes of the examples, in training mode.
            frozen: What the frozen ones make of them.
            targets: Their labels int64 [B], or real-valued targets [B, D].
        """


class ExchangingRule(Protocol):
    """A local rule whose clients send, receive or remember more than parameters, in elementwise functions.

    A rule is one that declares ``up``, ``down`` or ``memory``. Each returns a layout made of the model's by
    ``layout.repeated(group, ...)``:
        ``up(layout)`` [the update alone]: what a client sends, [M]. Everything after local training works on
            it: bytes, codecs, clipping, noise, attacks and defenses.
        ``down(layout)`` [the parameters alone]: what the server sends; the first group is ``params``, and
            ``extra(params, state)`` returns the others.  # [E, P]
        ``memory(layout)`` [nothing]: what a client remembers from one round to the next in which its message
            was counted: one that came in time, decoded, and was finite.

    And if it likes (what holds of a silent one in brackets):
        ``finish`` [sends the update, remembers what it did].
        ``start(params) -> Groups`` [zeros]: what a client remembers at its first visit.
        ``scales(training) -> {group: float}`` [1 each]: public scales, above 0. A group is divided by its
            scale before it is sent and multiplied by it before ``step``, so that clipping, noise and
            distances are in units of it: a group of large numbers would take up the whole of a clip norm.
        ``drift(shared, own) -> Tensor`` [none]: all that ``correct`` adds to a gradient, where it depends on
            these two alone: it is then worked out once a round.  # [..., P]
        ``proximal`` [0]: p of at least 0, where all that ``correct`` adds to a gradient is p (params -
            received), and ``drift`` if there is one: dense layers' gradients are then never written.
        ``full_gradient`` [False]: it needs ``LocalWork.gradient`` or ``loss``: one more pass over examples.
        ``init()`` and ``step(params, aggregate, state, share) -> (params, state)`` [the run's server
            optimizer, on a message that is an update alone]: its server half. ``share`` is the number of
            clients that ``aggregate`` [M] is a mean of (the public, expected one where that is what sums are
            divided by) over the population; 0 where nobody was counted.
        ``weighs_alike`` [False]: the mean of the messages must not weigh clients by their examples.
    """

    def schedule(self, training: LocalTraining) -> LocalTraining:
        """Return the training that this algorithm really runs; raise ``ValueError`` where it cannot."""

    def correct(
        self, gradient: Tensor, params: Tensor, received: Tensor, shared: Groups, own: Groups
    ) -> Tensor:
        """Return the direction of one local step.

        Args:
            gradient: The clients' gradients.  # [..., P]
            params: Their parameters.  # [..., P]
            received: The broadcast parameters.  # [P]
            shared: The other groups of ``down``.  # [P] each
            own: The groups of ``memory``.  # [..., P] each
        """

    def finish(
        self, update: Tensor, received: Tensor, shared: Groups, own: Groups, work: LocalWork
    ) -> tuple[Groups, Groups]:
        """Return what the clients send, by the groups of ``up``, and remember, by those of ``memory``.

        Args:
            update: Their local minus the received parameters.  # [K, P]
            received: The broadcast parameters.  # [P]
            shared: The other groups of ``down``.  # [P] each
            own: The groups of ``memory``.  # [K, P] each
            work: What else is known of their training.
        """


@dataclass(frozen=True, eq=False)
class Part:
    """The smaller model that clients of one level train.

    Attributes:
        model: In training mode; its trainable parameters are the whole model's where ``present``, in order.
        present: Which of the whole model's trainable parameters it has, bool.  # [P]
    """

    model: nn.Module
    present: Tensor


class ModelFactory(Protocol):
    """Build a model for inputs of a shape; a plain function will do.

    What has a parameter ``num_tokens`` besides is told V, below which all tokens are; 0 where inputs are
    floats. ``num_classes`` is the last number of what the model puts out for one example.
    """

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module: ...
