"""FedPer: the last layers stay with each client, and the others are averaged.

Source: Arivazhagan, Aggarwal, Singh, Choudhary. Federated Learning with Personalization Layers. 2019,
Algorithm 1. arXiv:1912.00818
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ...core.contracts import LocalTraining
from ...core.errors import PluginError
from .parts.kept import tensors_of


@dataclass(frozen=True)
class FedPer:
    """Train the whole model as FedAvg; send and average all but the personal layers.

    A client's personal layers start as the run's first ones and change by its own training alone. Its
    message, and so every byte, norm, codec, defense and mechanism, is about the other layers. Held-out
    examples (``held_out``) are scored with each client's own layers; the test set, which is nobody's, with
    the first ones, which says little.

    A privacy mechanism protects what leaves a client: its personal layers do not.

    Attributes:
        num_personal_layers: The paper's K_P, at least 1: how many of the last layers that have parameters of
            their own stay; at least one layer must be left to be sent.
    """

    num_personal_layers: int = 1

    plain: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.num_personal_layers < 1:
            raise ValueError(f"num_personal_layers must be at least 1, got {self.num_personal_layers}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient

    def keeps(self, model: nn.Module) -> Sequence[str]:
        """Return the names of the last layers' tensors.

        Raises:
            PluginError: The model has no more layers than these.
        """
        layers = [m for m in model.modules() if any(p.requires_grad for p in m.parameters(recurse=False))]
        if len(layers) <= self.num_personal_layers:
            raise PluginError(
                "fedper: num_personal_layers must leave a layer to be sent, got "
                f"{self.num_personal_layers} for a model of {len(layers)}"
            )
        return tensors_of(model, layers[-self.num_personal_layers :])
