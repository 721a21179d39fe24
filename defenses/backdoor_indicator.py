"""BackdoorIndicator: plant a task on strange inputs, and see whose training keeps it alive.

Source: Li, Dai. BackdoorIndicator: Leveraging OOD Data for Proactive Backdoor Detection in Federated
Learning. USENIX Security 2024, and the authors' code. arXiv:2405.20862
There the strange inputs are of another data set, with labels that stay, and batch statistics are exchanged
while the task is planted. Here they are the server's own examples with shuffled pixels, drawn anew in every
round, and statistics stay as they were: our choices, like the number of steps and their size.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.seeds import generator
from ..core.updates import Context, Updates
from .parts.screening import needed, own_classes, screened, uniform

_NUMBERS = 2**22  # of the candidates that are written down together: 16 MiB


@dataclass(frozen=True)
class BackdoorIndicator:
    """Teach the model random labels of strange inputs before a round; leave out who still knows them after.

    Honest training forgets the planted task, since nothing in their examples is like it. Whoever teaches a
    trigger teaches strange inputs as one class, and keeps the planted inputs of that class where they were.
    The score is the share of planted inputs that a client's model w + x still takes for their label, of the
    class in which it is highest; at ``threshold`` or above a client is flagged and left out. What was planted
    stays in the aggregate, as in the paper: the model becomes that which went down plus the mean of the rest.
    Where nobody is left, the zero update.

    Attributes:
        threshold: The score from which a client is malicious, above 0 and at most 1. 0.75 was chosen on
            digits (docs/robustness-certified.md), the paper has 0.85.
        num_indicators: Strange inputs, as many of each class, at least the number of classes.
        steps: Steps on all of them in which the task is planted, at least 1.
        lr: Size of a step, above 0.
        momentum: Heavy-ball momentum of the steps, at least 0 and below 1.
        pull: What the distance from the model as it was costs beside the mean loss (the paper's mu / 2).
        start_round: Before it nothing is planted, and all are averaged.
    """

    threshold: float = 0.75
    num_indicators: int = 400
    steps: int = 50
    lr: float = 0.05
    momentum: float = 0.9
    pull: float = 0.05
    start_round: int = 0

    needs_root: ClassVar[bool] = True
    runs_models: ClassVar[bool] = True
    trains_models: ClassVar[bool] = True
    beside_params: ClassVar[bool] = True
    exempt: ClassVar[tuple[str, ...]] = ("equal_updates_come_back_unchanged",)

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be above 0 and at most 1, got {self.threshold}")
        if self.num_indicators < 1 or self.steps < 1 or self.start_round < 0:
            raise ValueError(
                "num_indicators and steps must be at least 1, start_round at least 0, got "
                f"{self.num_indicators}, {self.steps}, {self.start_round}"
            )
        if not (0 < self.lr < inf and 0 <= self.momentum < 1 and 0 <= self.pull < inf):
            raise ValueError(
                "lr must be above 0, momentum in [0, 1), pull at least 0, all finite, got "
                f"{self.lr}, {self.momentum}, {self.pull}"
            )

    def init(self) -> Tensor:
        return torch.zeros(0)  # what was planted  # [P]

    def prepare(self, params: Tensor, state: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        if context.round < self.start_round:
            return params, torch.zeros(0)
        if context.gradient is None:
            raise ValueError("backdoor_indicator needs to train models: context.gradient must be given")
        x, y = self.indicators(context)
        planted, speed = params.clone(), torch.zeros_like(params)
        for _ in range(self.steps):
            away = planted - params
            slope = context.gradient(planted, x, y) + self.pull * away / away.norm().clamp(min=1e-12)
            speed = self.momentum * speed - self.lr * slope
            planted = planted + speed
        return planted, planted - params

    def indicators(self, context: Context) -> tuple[Tensor, Tensor]:
        """Return the strange inputs and their labels, the same in every round of a run.  # [n, ...], [n]"""
        own, _, classes = own_classes(context, "backdoor_indicator")
        if self.num_indicators < classes:
            raise ValueError(f"num_indicators must be at least {classes}, got {self.num_indicators}")
        stream = generator(context.seed, "backdoor indicator", context.round)
        rows = stream.choice(len(own.y), self.num_indicators)
        chosen = own.x[rows]
        flat = chosen.flatten(1)
        order = stream.permuted(torch.arange(flat.shape[1]).expand(len(flat), -1).numpy(), axis=1)
        strange = flat.gather(1, torch.from_numpy(order)).reshape(chosen.shape)
        return strange, torch.arange(self.num_indicators) % classes

    def aggregate(self, updates: Updates, state: Tensor) -> tuple[Verdict, Tensor]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        if len(state) == 0:
            return screened(updates, uniform(torch.ones(len(updates), dtype=torch.bool))), state
        scores = self._kept_alive(updates, needed(updates, "backdoor_indicator", "to run models"))
        bad = scores >= self.threshold
        verdict = screened(updates, uniform(~bad), bad, scores)
        if not bool(bad.all()):
            verdict = Verdict(verdict.aggregate + state, verdict.weights, verdict.flags, verdict.scores)
        return verdict, state

    def _kept_alive(self, updates: Updates, context: Context) -> Tensor:
        """Return each client's accuracy on planted inputs, of the class in which it is highest.  # [K]"""
        x, y = self.indicators(context)
        run = context.forward
        assert run is not None
        height = max(1, _NUMBERS // max(1, updates.vectors.shape[1]))
        hits = torch.cat(
            [
                run(context.params + updates.vectors[at : at + height], x).argmax(dim=-1) == y
                for at in range(0, len(updates), height)
            ]
        )  # [K, n]
        classes = int(y.max()) + 1
        member = torch.nn.functional.one_hot(y, classes).to(torch.float64)  # [n, C]
        return (hits.to(torch.float64) @ member / member.sum(dim=0)).amax(dim=1)
