"""MOON: a contrastive term that keeps local features near the global model's.

Source: Li, He, Song. Model-Contrastive Federated Learning. CVPR 2021, Algorithm 1. arXiv:2103.16257
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from ...core.contracts import Activations, Groups, LocalTraining, LocalWork
from ...core.layout import Layout

_LEAST = 1e-8  # features that are shorter count as if they were as long


@dataclass(frozen=True)
class Moon:
    """Pull features towards the received model's, and away from those of the client's previous model.

    To each example's loss is added mu times -log(e^(cos(z, z_g)/tau) / (e^(cos(z, z_g)/tau) + e^(cos(z,
    z_p)/tau))), z being the features of the model that is trained, z_g of the one that it received, z_p of
    the one that it had at the end of its last counted visit. The last two are asked in evaluation mode and
    stay as they are. At a client's first visit its previous model is the received one: the term is ln 2 for
    every example, and its gradient is 0.

    Features are the inputs of the model's last layer: of a multi-layer perceptron its last hidden layer. The
    authors put a projection head of two layers there; a model that has one has its outputs as features. A
    model of one layer has none, and is refused. The cosine with features that are all 0 counts as 0.

    Every visited client remembers a whole model: P numbers.

    Attributes:
        mu: Strength of the term, at least 0. 0 is FedAvg, to the last bit.
        temperature: tau, above 0.
    """

    mu: float = 1.0
    temperature: float = 0.5

    plain: ClassVar[bool] = True
    frozen_models: ClassVar[tuple[str, ...]] = ("received", "previous")

    def __post_init__(self) -> None:
        if not 0 <= self.mu < inf:
            raise ValueError(f"mu must be at least 0 and finite, got {self.mu}")
        if not 0 < self.temperature < inf:
            raise ValueError(f"temperature must be above 0 and finite, got {self.temperature}")

    def memory(self, layout: Layout) -> Layout:
        return layout.repeated("previous")

    def start(self, params: Tensor) -> Groups:
        return {"previous": params}

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(
        self, gradient: Tensor, params: Tensor, received: Tensor, shared: Groups, own: Groups
    ) -> Tensor:
        return gradient

    @property
    def added_loss(self) -> Callable[[Activations, Mapping[str, Activations], Tensor], Tensor] | None:
        """The contrastive term; None where it counts nothing."""
        return self._contrast if self.mu else None

    def _contrast(self, local: Activations, frozen: Mapping[str, Activations], targets: Tensor) -> Tensor:
        models = frozen["received"], frozen["previous"]
        near, far = (normalize(one.features, dim=-1, eps=_LEAST) for one in models)
        here, length = local.features, local.features.norm(dim=-1).clamp(min=_LEAST)
        gap = (here * (near - far)).sum(
            dim=-1
        ) / length  # the cosines' difference, exactly 0 where near is far
        return -self.mu * logsigmoid(gap / self.temperature)

    def finish(
        self, update: Tensor, received: Tensor, shared: Groups, own: Groups, work: LocalWork
    ) -> tuple[Groups, Groups]:
        return {"update": update}, {"previous": received + update}
