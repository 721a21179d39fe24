"""tpSGD: every layer descends towards a random projection of the label; no gradient passes between layers.

Source: Target-projection stochastic gradient descent for layer-wise training. arXiv:2208.08503, of which the
abstract alone was read: a reconstruction, of convolutions and recurrent layers too. That the gradient has the
layer's inputs as a factor is the only form that fits dimensions; options and their defaults are ours.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.contracts import LocalTraining, Visit
from ..models.recurrent import RnnLayer
from .parts.local_sgd import Batch, descend
from .parts.stages import fixed_matrix, stages_of, through


@dataclass(frozen=True)
class TpSGD:
    """Local SGD of which each hidden layer has a loss of its own: how far its outputs are from P y.

    y is the label, one of C, and P a fixed matrix of entries +-``scale``, drawn for each layer from a public
    number, the same at all clients. With a the outputs of a layer and of what follows it without parameters
    (activation, pooling), flattened, its loss is |P y - a|^2 / 2 or the sum of |P y - a|; what comes from the
    layer before is a constant, as it was before the step. The last layer has the loss of the run. The layer's
    memory is all that a client needs beside the model. The model is an ``nn.Sequential``, labels are classes.

    Analytic leakage attacks work as ever: of one example the first layer's dW[j] / db[j] is still the input.

    Attributes:
        loss: ``"l2"`` or ``"l1"``.
        scale: The size of the entries of P, above 0.
        target_seed: A public number from which all P follow.
        recurrent: What the loss of a recurrent layer (model ``rnn``) is about: ``"steps"``, its states at all
            steps of time, each with the state before as a constant; ``"last"``, its last state, with a
            gradient through the steps of that layer, whose states a client then keeps.
        weight: What hidden layers' losses count beside the last layer's, above 0.
        freeze_hidden: Whether hidden layers stay as they are: the control, of which the last layer alone
            learns.
    """

    loss: Literal["l2", "l1"] = "l2"
    scale: float = 0.8
    target_seed: int = 0
    recurrent: Literal["steps", "last"] = "steps"
    weight: float = 1.0
    freeze_hidden: bool = False

    def __post_init__(self) -> None:
        if self.loss not in ("l2", "l1"):
            raise ValueError(f"loss must be l2 or l1, got {self.loss!r}")
        if self.recurrent not in ("steps", "last"):
            raise ValueError(f"recurrent must be steps or last, got {self.recurrent!r}")
        for name in ("scale", "weight"):
            if not (isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        if self.target_seed < 0:
            raise ValueError(f"target_seed must be at least 0, got {self.target_seed}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return the update of the layers' own steps, and the mean loss of the last."""
        local, loss = descend(visit, lambda model, batch: self._value(visit, model, batch))
        return local - visit.received, loss

    def _value(self, visit: Visit, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the sum of all layers' losses, none of which reaches another layer, and that of the last."""
        if batch.y.is_floating_point() or batch.y.ndim != 1:
            raise ValueError("tpsgd projects labels, one class an example; got other targets")
        stages = stages_of(model, "tpsgd")
        h, outs = through(stages.before, batch.x), list[tuple[Tensor, bool]]()
        for layer in stages.layers[:-1]:
            first = layer[0]
            in_time = isinstance(first, RnnLayer) and self.recurrent == "steps"
            out = first.states(h, cut=True) if isinstance(first, RnnLayer) and in_time else through(layer, h)
            outs.append((out, in_time))
            h = (out[:, -1] if in_time else out).detach()
        logits = through(stages.layers[-1], h)
        loss, total = visit.loss(logits, batch.y), torch.zeros(())
        labels = F.one_hot(batch.y, logits.shape[-1]).float()
        for number, (out, in_time) in enumerate([] if self.freeze_hidden else outs):
            total = total + self.weight * self.layer_loss(number, out, labels, in_time)
        return loss + total, loss

    def layer_loss(self, number: int, out: Tensor, labels: Tensor, steps: bool = False) -> Tensor:
        """Return a hidden layer's mean loss over a batch, []; summed over steps of time where it has some.

        Args:
            number: Which layer, from 0.
            out: Its outputs; with ``steps`` [B, S, H].  # [B, ...]
            labels: One-hot.  # [B, C]
            steps: Whether the second dimension is time.
        """
        flat = out if steps else out.flatten(1)[:, None]  # [B, S, F], of S = 1 without time
        shape = flat.shape[-1], labels.shape[1]
        target = labels @ (self.scale * fixed_matrix(self.target_seed, "targets", number, *shape).sign()).t()
        off = target[:, None] - flat
        return (off.square().sum() / 2 if self.loss == "l2" else off.abs().sum()) / len(out)

    def init(self) -> None:
        return None

    def step(self, params: Tensor, aggregate: Tensor, state: None) -> tuple[Tensor, None]:
        """Add the aggregate."""
        return params + aggregate, state
