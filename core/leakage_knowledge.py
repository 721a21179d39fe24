"""What a leakage attacker is told of a client, how surely, and how much that is by the letters of the SoK.

Source: the levels A to H are those of the SoK of gradient inversion (USENIX Security 2025,
gparrella12/sok_gias_fl). Which item of knowledge belongs to which letter is our choice.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class Level(StrEnum):
    """How surely something is known: unknown < estimated < exact < oracle."""

    UNKNOWN = "unknown"
    """Not told."""
    ESTIMATED = "estimated"
    """A guess, which may be wrong."""
    EXACT = "exact"
    """True, and such as an attacker in its place can know."""
    ORACLE = "oracle"
    """True, and such as no attacker in its place can know: for bounds, not for claims."""

    def reaches(self, least: "Level") -> bool:
        """Return whether this is known as surely as ``least``."""
        order = list(Level)
        return order.index(self) >= order.index(least)


@dataclass(frozen=True)
class Records:
    """Examples that an attacker has from elsewhere than the message.

    Attributes:
        x: Inputs.  # [H, ...]
        y: Their labels.  # [H, ...]

    Raises:
        ValueError: Not one label an input, or none at all.
    """

    x: "Tensor"
    y: "Tensor"

    def __post_init__(self) -> None:
        if not len(self.y) or len(self.x) != len(self.y):
            raise ValueError(f"records need a label an input, got {len(self.x)} and {len(self.y)}")

    def __str__(self) -> str:
        return f"{len(self.y)} records"


_LETTERS = {
    "batch_size": "B",
    "labels": "B",
    "local_steps": "C",
    "lr": "C",
    "optimizer": "C",
    "weight_decay": "C",
    "momentum": "C",
    "local_lr": "C",
    "batches": "C",
    "dropout_masks": "C",
    "candidates": "E",
    "auxiliary": "E",
    "server": "F",
}  # the others are public: an eavesdropper (A) has them too


@dataclass(frozen=True)
class LeakageKnowledge:
    """What an attacker is told about a client; None where it does not know.

    Attributes:
        batch_size: Examples in the client's step.
        labels: Their labels, in no particular order.  # [B]
        local_steps: SGD steps that the client took.
        lr: The client's step size, where what a client sends is a sum of gradients times it.
        codec: The codec's name and options, as the scenario has them.
        privacy: The privacy mechanism's name and options, as the scenario has them.
        optimizer: What a local step goes along: ``"sgd"`` the gradient, ``"adam"`` Adam's direction; or the
            algorithm's name, where it changes the first direction.
        weight_decay: L2 penalty that a step adds to the gradient.
        loss: What the client minimises, as ``training.loss`` names it.
        server: The malicious server whose secret the attacker is told, by name; that of an outside one is its
            class's.
        client_defense: The clients' own defense's name and options, as the scenario has them.
        momentum: What of its last direction a step keeps, at least 0 and below 1.
        local_lr: The client's step size, where each step is one of ``optimizer`` with ``momentum`` and
            ``weight_decay`` on the mean gradient of a batch, and nothing else.
        batches: Which examples each step takes: places from 0 to ``batch_size`` - 1, in the order of
            ascending labels where ``labels`` are told. Only where a step takes all can a server know.
        dropout_masks: What each call of a dropout layer kept (1) and dropped (0) in a client's only step, its
            examples in the order of ``batches``; no server can know, unless there is none.  # [B, ...] each
        candidates: Records of which the attacker asks whether the client trains on them.  # [H, ...]
        auxiliary: Records of the clients' distribution that nobody trains on, and no candidates.  # [A, ...]
        levels: By item, how surely it is known, where it is known otherwise than exactly.

    Raises:
        ValueError: Another number of labels than ``batch_size``, or a level of what is no item or not known.
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
    server: str | None = None
    client_defense: str | None = None
    momentum: float | None = None
    local_lr: float | None = None
    batches: tuple[tuple[int, ...], ...] | None = None
    dropout_masks: "tuple[Tensor, ...] | None" = field(default=None, compare=False)
    candidates: Records | None = field(default=None, compare=False)
    auxiliary: Records | None = field(default=None, compare=False)
    levels: Mapping[str, Level] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if None not in (self.labels, self.batch_size) and len(self.labels or ()) != self.batch_size:
            raise ValueError(
                f"labels must be batch_size = {self.batch_size} of them, got {len(self.labels or ())}"
            )
        known = None not in (self.batches, self.batch_size)
        if known and set().union(*(self.batches or ())) - set(range(self.batch_size or 0)):
            raise ValueError(f"batches must hold places below batch_size = {self.batch_size}")
        refuse_unknown_items(self.levels)
        for item, level in self.levels.items():
            if (getattr(self, item) is None) != (Level(level) is Level.UNKNOWN):
                raise ValueError(f"level {level} of {item} does not go with {item} = {getattr(self, item)}")

    def level(self, item: str) -> Level:
        """Return how surely an item is known."""
        known = getattr(self, item) is not None
        return Level(self.levels.get(item, Level.EXACT)) if known else Level.UNKNOWN

    def missing(self, least: Mapping[str, Level | str]) -> list[str]:
        """Return the items that are known less surely than they must be.

        Raises:
            ValueError: A name that is no item, or a level that is none.
        """
        refuse_unknown_items(least)
        return [item for item, wanted in least.items() if not self.level(item).reaches(Level(wanted))]

    def only(self, items: Collection[str]) -> "LeakageKnowledge":
        """Return what is known of these items, and nothing of the others."""
        told: dict[str, Any] = {item: getattr(self, item) for item in ITEMS if item in items}
        return LeakageKnowledge(**told, levels={k: v for k, v in self.levels.items() if k in items})

    def letter(self, items: Iterable[str], planted: bool = False) -> str:
        """Return the SoK's letter of an attacker that looks at these items, as far as they are known.

        A: an eavesdropper with the model, the message and the public configuration. B: with basic
        knowledge: batch size, labels. C: with details of the training: steps, step size, optimiser. E: with
        records of the clients' distribution. F: a server that changes the model; G: with such records
        besides. D (surrogate data) and H (who takes part) need what no item here stands for.
        """
        known = [_LETTERS.get(item, "A") for item in items if self.level(item) is not Level.UNKNOWN]
        return ("G" if "E" in known else "F") if planted else max(known, default="A")

    def oracles(self, items: Iterable[str]) -> list[str]:
        """Return those of the items that no attacker in its place could know."""
        return [item for item in items if self.level(item) is Level.ORACLE]


ITEMS = tuple(f.name for f in fields(LeakageKnowledge) if f.name != "levels")


def refuse_unknown_items(names: Iterable[str]) -> None:
    """Raise ``ValueError`` where a name is no item of ``LeakageKnowledge``."""
    if wrong := [name for name in names if name not in ITEMS]:
        raise ValueError(
            f"no such item of knowledge: {', '.join(wrong)}; allowed: {', '.join(sorted(ITEMS))}"
        )
