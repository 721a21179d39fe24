"""Projected guesses: each hidden layer's own guess of its gradient, as long as the true one along it.

Source: Fournier, Rivaud, Belilovsky, Eickenberg, Oyallon. Can Forward Gradient Match Backpropagation? ICML
2023. arXiv:2306.06968, of which abstract and authors' code were read; here by batches, a head a hidden layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.contracts import LocalTraining, Visit, Worked
from ...core.layout import Layout
from .parts.channels import hidden, layer_of
from .parts.stages import Stages, stages_of, through

TINY = 1e-16


@dataclass(frozen=True)
class LocalGuess:
    """Local SGD whose hidden layers step along <G*, G> / |G|^2 G: G a guess, G* the true gradient.

    G* is never formed: <G*, G> is the loss's derivative along G, by one forward pass in forward mode a hidden
    layer. G is the gradient of a linear head's own loss on the layer's outputs (averaged over pixels), from
    constant inputs; heads are trained along, belong to the client and are remembered. The last layer has its
    true gradient. So no gradient passes from one layer to another. A step never goes against G*, and is never
    longer. The model is an ``nn.Sequential`` of linear layers and convolutions; labels are classes.

    Attributes:
        guess: ``"head"``; or ``"random"``, normals, the control: of P parameters its cosine with G* is about
            sqrt(2 / (pi P)).
    """

    guess: Literal["head", "random"] = "head"

    def __post_init__(self) -> None:
        if self.guess not in ("head", "random"):
            raise ValueError(f"guess must be head or random, got {self.guess!r}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def memory(self, layout: Layout) -> Layout:
        weights = [slot for slot in layout.parameters if len(slot.shape) > 1]
        classes = weights[-1].shape[0] if weights else 1
        heads = {f"head/{slot.name}": (classes, slot.shape[0] + 1) for slot in hidden(layout)}
        return Layout(()).followed_by(**heads)

    def work(self, visit: Visit) -> Worked:
        """Return the update, and what the heads became."""
        local, heads = visit.received.clone(), {name: head.clone() for name, head in visit.own.items()}
        walk = Guesses(visit, heads)
        stream, total = visit.stream("random guess"), torch.zeros(())
        batches = visit.batches()
        for rows in batches:
            x, y = visit.examples(rows)
            gradient, loss = walk.guessed(local, x, y)
            for part in walk.parts.values():
                if self.guess == "random":
                    drawn = stream.standard_normal(int(part.sum()))
                    gradient[part] = torch.from_numpy(drawn).float() / sqrt(len(drawn))
                along = gradient.where(part, 0.0)
                slope, _ = visit.slope(local, along, rows)
                gradient[part] *= slope / (along.square().sum() + TINY)
            local.add_(gradient, alpha=-visit.training.lr)
            for head in heads.values():
                assert head.grad is not None
                head.data.add_(head.grad, alpha=-visit.training.lr)
            total += loss
        kept = [head.detach().flatten() for head in heads.values()]
        return Worked(
            local - visit.received, total / len(batches), torch.cat(kept) if kept else torch.zeros(0)
        )

    def init(self) -> None:
        return None

    def step(self, params: Tensor, aggregate: Tensor, state: None, share: float) -> tuple[Tensor, None]:
        """Add the aggregate."""
        return params + aggregate, state


@dataclass(eq=False)
class Guesses:
    """The hidden layers' guesses at a client.

    Attributes:
        visit: The client.
        heads: By ``head/`` and the name of a layer's weight, its head, the bias last.  # [C, F + 1] each
        parts: By the name of a hidden layer's weight, which parameters are that layer's, bool.  # [P] each
    """

    visit: Visit
    heads: Mapping[str, Tensor]
    parts: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for head in self.heads.values():
            head.requires_grad_()
        for slot in hidden(self.visit.layout):
            self.parts[slot.name] = torch.zeros(self.visit.layout.num_parameters, dtype=torch.bool)

    def guessed(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden layers' guesses and the last one's gradient [P], and the loss."""
        for head in self.heads.values():
            head.grad = None
        return self.visit.differentiated(params, lambda model: self._value(model, x, y))

    def _value(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if y.is_floating_point() or y.ndim != 1:
            raise ValueError("local_guess needs labels, one class an example; got other targets")
        stages = stages_of(model, "local_guess")
        self._learn_parts(model, stages)
        h, total = through(stages.before, x), torch.zeros(())
        for name, layer in zip(self.parts, stages.layers[:-1], strict=True):
            out = through(layer, h)
            head = self.heads[f"head/{name}"]  # [C, F + 1]
            pooled = out.reshape(len(out), head.shape[1] - 1, -1).mean(2)  # [B, F]
            total = total + F.cross_entropy(F.linear(pooled, head[:, :-1], head[:, -1]), y)
            h = out.detach()
        loss = self.visit.loss(through(stages.layers[-1], h), y)
        return loss + total, loss

    def _learn_parts(self, model: nn.Module, stages: Stages) -> None:
        """Note which parameters each hidden layer has, norms behind it included."""
        paths = {id(parameter): name for name, parameter in model.named_parameters()}
        for name, layer in zip(self.parts, stages.layers[:-1], strict=False):
            own = [paths[id(p)] for module in layer for p in module.parameters()]
            if name not in own or len(self.parts) != len(stages.layers) - 1:
                raise ValueError(
                    "local_guess needs hidden layers that are linear or convolutions, each with one weight, "
                    f"and none frozen; layer '{layer_of(name)}' is not, or another one is frozen"
                )
            views = self.visit.layout.views(self.parts[name])
            for path in own:
                views[path].fill_(True)
