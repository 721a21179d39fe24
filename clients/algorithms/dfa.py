"""DFA: direct feedback alignment, in which hidden layers are told the output's error through fixed matrices.

Source: Nokland. Direct Feedback Alignment Provides Learning in Deep Neural Networks. NeurIPS 2016.
arXiv:1609.01596. As a defence against adversarial examples: Adversarial Robustness by Design through Analog
Computing and Synthetic Gradients. arXiv:2101.02115, of which the abstract alone was read. That clients of a
federation use it, and what it does to leakage, is ours.
"""

from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Literal

import torch
from torch import Tensor, nn

from ...core.contracts import LocalTraining, Visit
from ...core.trees import State
from .parts.local_sgd import Batch, descend
from .parts.stages import fixed_matrix, stages_of, through


@dataclass(frozen=True)
class DFA:
    """Local SGD whose hidden layers step along (B e) f'(z) x': B random, e the gradient of the outputs.

    B [outputs of the layer, C] is fixed, of normals times ``scale``. What comes from the layer before is a
    constant; the last layer has its true gradient. The model is an ``nn.Sequential``, of which layers may be
    frozen, the last one too.

    It is no protection against analytic leakage attacks: of one example the first layer's dW[j] / db[j] is
    the input whatever B is. An attack that matches gradients must know or guess B.

    Attributes:
        scale: Of B's entries, above 0. None: 1 / sqrt(C).
        binarize: Whether the signs of e are fed back, over the batch's size, in its place.
        feedback: Whose B: ``"shared"``, all clients' the same, from a public number; ``"secret"``, each
            client's own, the same in all rounds, which it tells nobody.
        feedback_seed: That public number.
    """

    scale: float | None = None
    binarize: bool = False
    feedback: Literal["shared", "secret"] = "shared"
    feedback_seed: int = 0

    def __post_init__(self) -> None:
        if self.scale is not None and not (isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be above 0 and finite, or left out; got {self.scale}")
        if self.feedback not in ("shared", "secret"):
            raise ValueError(f"feedback must be shared or secret, got {self.feedback!r}")
        if self.feedback_seed < 0:
            raise ValueError(f"feedback_seed must be at least 0, got {self.feedback_seed}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def prepare(self, visit: Visit) -> State:
        """Return what the client's matrices follow from."""
        if self.feedback == "shared":
            return self.feedback_seed
        return int(visit.noise_stream("feedback").integers(2**62))

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return the update of the steps along fed back errors, and the mean loss."""

        def value(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
            stages = stages_of(model, "dfa")
            h, outs = through(stages.before, batch.x), []
            for layer in stages.layers[:-1]:
                outs.append(through(layer, h))
                h = outs[-1].detach()
            logits = through(stages.layers[-1], h)
            if not logits.requires_grad:
                logits.requires_grad_()  # of a last layer that is frozen: the error is told all the same
            loss = visit.loss(logits, batch.y)
            errors = self._errors(loss, logits)
            told = [
                self.matrix(visit.memory, n, o.flatten(1).shape[1], errors.shape[1])
                for n, o in enumerate(outs)
            ]
            return loss + fed_back(outs, told, errors), loss

        local, loss = descend(visit, value)
        return local - visit.received, loss

    def _errors(self, loss: Tensor, logits: Tensor) -> Tensor:
        """Return the gradient of the mean loss by the outputs, or its signs over B.  # [B, C]"""
        errors = torch.autograd.grad(loss, logits, retain_graph=True)[0]
        return errors.sign() / len(errors) if self.binarize else errors

    def matrix(self, seed: int, layer: int, rows: int, columns: int) -> Tensor:
        """Return a layer's B.  # [rows, columns]"""
        scale = 1 / sqrt(columns) if self.scale is None else self.scale
        return scale * fixed_matrix(seed, "feedback", layer, rows, columns)

    def init(self) -> None:
        return None

    def step(self, params: Tensor, aggregate: Tensor, state: None) -> tuple[Tensor, None]:
        """Add the aggregate."""
        return params + aggregate, state


def fed_back(outs: list[Tensor], matrices: list[Tensor], errors: Tensor) -> Tensor:
    """Return a number whose gradient by each layer's outputs is the fed back error.  # []

    Args:
        outs: The hidden layers' outputs, each from constant inputs.  # [B, ...] each
        matrices: Their B.  # [F, C] each
        errors: The gradient of the mean loss by the model's outputs, a constant.  # [B, C]
    """
    total = errors.new_zeros(())
    for out, matrix in zip(outs, matrices, strict=True):
        total = total + (out.flatten(1) * (errors @ matrix.t())).sum()
    return total
