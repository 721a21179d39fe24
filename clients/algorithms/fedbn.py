"""FedBN: batch normalisation stays with each client, and all else is averaged.

Source: Li, Jiang, Zhang, Kamp, Dou. FedBN: Federated Learning on Non-IID Features via Local Batch
Normalization. ICLR 2021, Algorithm 1. arXiv:2102.07623
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...core.contracts import LocalTraining
from .parts.kept import tensors_of


@dataclass(frozen=True)
class FedBN:
    """Train the whole model as FedAvg; send and average all but batch normalisation's tensors.

    They are told by their module's type, whatever its name; without such a module it is FedAvg to the last
    bit. A client's own start as the run's first ones. Held-out examples (``held_out``) are scored with each
    client's own; the test set, which is nobody's, with the first ones, which means nothing: the mean over
    clients does.

    A privacy mechanism protects what leaves a client: these tensors do not.

    Attributes:
        stats_only: Whether the running mean and variance alone stay, and weight and bias are averaged: an
            ablation, not the published method.
    """

    stats_only: bool = False

    plain: ClassVar[bool] = True

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient

    def keeps(self, model: nn.Module) -> Sequence[str]:
        """Return the names of batch normalisation's trainable parameters and running statistics."""
        normalising = [m for m in model.modules() if isinstance(m, _BatchNorm)]
        return tensors_of(model, normalising, parameters=not self.stats_only)
