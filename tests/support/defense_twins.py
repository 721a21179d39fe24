"""Defenses that are right but for one thing each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from gauntlet.core.contracts import Verdict
from gauntlet.core.updates import Updates
from gauntlet.defenses.mean import Mean
from gauntlet.defenses.median import Median


def average(updates: Updates) -> Tensor:
    return updates.vectors.sum(dim=0) / max(len(updates), 1)


@dataclass(frozen=True)
class Twin:
    """A mean with something wrong: ``decide(updates, state) -> (Verdict, state)``."""

    decide: Callable[[Updates, Any], tuple[Any, Any]]
    start: Any = None

    def init(self) -> Any:
        return self.start

    def aggregate(self, updates: Updates, state: Any) -> tuple[Any, Any]:
        return self.decide(updates, state)


@dataclass(frozen=True)
class Planting:
    """A mean that plants: ``plant(params, state) -> (params, state)``."""

    plant: Callable[[Tensor, Any], tuple[Any, Any]]
    start: Any = None

    def init(self) -> Any:
        return self.start

    def prepare(self, params: Tensor, state: Any) -> tuple[Any, Any]:
        return self.plant(params, state)

    def aggregate(self, updates: Updates, state: Any) -> tuple[Verdict, Any]:
        return Verdict(average(updates)), state


@dataclass(frozen=True)
class Certifying(Mean):
    """A mean that says something of models: ``say(params, x) -> columns``."""

    say: Callable[[Tensor, Tensor], Any] = field(default=lambda params, x: {})

    def __init__(self, say: Callable[[Tensor, Tensor], Any]) -> None:
        object.__setattr__(self, "say", say)

    def evaluate(self, params: Tensor, x: Tensor, model: Any) -> Any:
        return self.say(params, x)


@dataclass(frozen=True)
class Overstated(Mean):
    """A mean over those who came, which declares the sensitivity of the fixed denominator."""

    def sensitivity(self, clip_norm: float, expected_size: float) -> float:
        return clip_norm / expected_size


@dataclass(frozen=True)
class Credulous(Overstated):
    """Divides by the expected size, but lets a client claim how much it counts."""

    sensitivity = Overstated.sensitivity  # what speaks of ``aggregate`` is not inherited with another one

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        total = (updates.num_examples[:, None] * updates.vectors).sum(dim=0)
        return Verdict(total / 10 / updates.expected_size), state


@dataclass(frozen=True)
class LinearMedian(Median):
    linear: ClassVar[bool] = True


@dataclass(frozen=True)
class Miscounting(Mean):
    linear: ClassVar[bool] = True
    counts = Mean.counts

    def denominator(self, counts: Tensor, expected_size: float) -> float:
        return 2 * expected_size

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        return Mean().aggregate(updates, state)


@dataclass(frozen=True)
class SecretMedian(Median):
    individual: ClassVar[bool] = False


@dataclass(frozen=True)
class Forgetful:
    """Remembers the number of calls in itself."""

    calls: list[int] = field(default_factory=list)

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        self.calls.append(1)
        return Verdict(average(updates) * len(self.calls)), state


@dataclass(frozen=True)
class Partial(Twin):
    """Says that it can deal with absent coordinates."""

    partial: ClassVar[bool] = True


@dataclass(frozen=True)
class Owned(Mean):
    """Divides by how many clients have a coordinate, and declares what the fixed denominator has."""

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        return Mean("uniform").aggregate(updates, state)

    def sensitivity(self, clip_norm: float, expected_size: float) -> float:
        return clip_norm / expected_size
