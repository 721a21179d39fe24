"""What a leakage attacker holds: the broadcast, the exact frame that one client sent, public configuration.

The client's true examples are a ``Truth``: another object in another file, which only the scorer opens.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from torch import Tensor, nn

from .layout import Layout


@dataclass(frozen=True)
class LeakageKnowledge:
    """What an attacker is told about a client; None where it does not know.

    Attributes:
        batch_size: Examples in the client's step.
        labels: Their labels, in no particular order.  # [B]
        local_steps: SGD steps that the client took.
        lr: The client's step size.
        codec: The codec's name and options, as the scenario has them.
        privacy: The privacy mechanism's name and options, as the scenario has them.
        optimizer: What a local step goes along: ``"sgd"`` the gradient, ``"adam"`` Adam's direction; or the
            algorithm's name, where it changes the first direction.
        weight_decay: L2 penalty that a step adds to the gradient.
        loss: What the client minimises, as ``training.loss`` names it.

    Raises:
        ValueError: Another number of labels than ``batch_size``.
    """

    batch_size: int | None = None
    labels: tuple[int, ...] | None = None
    local_steps: int | None = None
    lr: float | None = None
    codec: str | None = None
    privacy: str | None = None
    optimizer: str | None = None
    weight_decay: float | None = None
    loss: str | None = None

    def __post_init__(self) -> None:
        if None not in (self.labels, self.batch_size) and len(self.labels or ()) != self.batch_size:
            raise ValueError(
                f"labels must be batch_size = {self.batch_size} of them, got {len(self.labels or ())}"
            )

    def missing(self, required: tuple[str, ...]) -> list[str]:
        """Return the names in ``required`` that are None here.

        Raises:
            ValueError: A name that is no field.
        """
        refuse_unknown_items(required)
        return [name for name in required if getattr(self, name) is None]


def refuse_unknown_items(names: Iterable[str]) -> None:
    """Raise ``ValueError`` where a name is no field of ``LeakageKnowledge``."""
    known = {f.name for f in fields(LeakageKnowledge)}
    if wrong := [name for name in names if name not in known]:
        raise ValueError(
            f"no such item of knowledge: {', '.join(wrong)}; allowed: {', '.join(sorted(known))}"
        )


@dataclass(frozen=True)
class Observation:
    """One client's message as an honest-but-curious server sees it.

    Attributes:
        round: The round, from 0.
        client_id: The sender.
        model: A private copy of the public model, holding the parameters that were broadcast.
        layout: How the model's parameters lie in a vector.
        frame: The exact bytes that the client sent.
        update: What the frame decodes to: local minus global parameters.  # [P]
        input_shape: Shape of one example, without the batch.
        num_classes: C.
        value_range: The least and the largest value that an input can take.
        knowledge: What else the attacker is told.
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

    def gradient(self) -> Tensor:
        """Return the mean gradient behind a one-step update of plain SGD: -update / lr.  # [P]

        Raises:
            ValueError: The step size is not known, or the client took more than one step.
        """
        lr, steps = self.knowledge.lr, self.knowledge.local_steps
        if lr is None or steps != 1:
            raise ValueError(
                f"a gradient needs a known lr and local_steps = 1, got lr = {lr} and local_steps = {steps}"
            )
        return -self.update / lr


@dataclass(frozen=True)
class Truth:
    """What the observed client really trained on; never shown to an attack.

    Attributes:
        x: Inputs.  # [B, ...]
        y: Labels.  # [B]
    """

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Reconstruction:
    """What an attack rebuilt.

    Attributes:
        x: Rebuilt inputs, in the attack's own order.  # [B, ...]
        y: Rebuilt labels.  # [B]
        cost: What the attack minimised, as the attacker sees it, at the end.
        trace: That cost over the iterations.
        stopped: ``"converged"``, ``"plateau"``, ``"max_iterations"``, ``"time_budget"``, ``"nan"`` or
            ``"closed_form"``.
        details: Further figures, such as closures evaluated.
    """

    x: Tensor
    y: Tensor
    cost: float
    trace: tuple[float, ...]
    stopped: str
    details: Mapping[str, float]
