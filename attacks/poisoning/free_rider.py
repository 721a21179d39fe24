"""Free riders: take the model, send something that cost nothing.

Source: Lin, Du, Liu. Free-riders in Federated Learning: Attacks and Defenses. 2019. arXiv:1911.12560
(random and previous); Fraboni, Vidal, Lorenzi. Free-rider Attacks on Model Aggregation in Federated
Learning. AISTATS 2021. arXiv:2006.11901 (zero and gaussian)
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Literal

import torch

from ...core.contracts import UpdateKnowledge, View
from ...core.trees import State
from ...core.updates import Updates
from .parts.broadcasts import last_move, no_broadcast
from .parts.moments import send_all

Mode = Literal["zero", "previous", "random", "gaussian"]
MODES = ("zero", "previous", "random", "gaussian")


@dataclass(frozen=True)
class FreeRider:
    """Send an update that no training is behind.

    Attributes:
        mode: ``"zero"``: the received model as it is. ``"previous"``: how the global model moved a round
            since the riders received one last (zero at first). ``"random"``: uniform noise.
            ``"gaussian"``: Gaussian noise around the received model.
        scale: Half the width of the uniform noise, or the standard deviation of the Gaussian one, in the
            update's units, above 0.
    """

    mode: Mode = "zero"
    scale: float = 0.001

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.COLLUDERS

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got '{self.mode}'")
        if not (self.scale > 0 and isfinite(self.scale)):
            raise ValueError(f"scale must be finite and above 0, got {self.scale}")

    @property
    def beside_params(self) -> bool:
        """Whether what it sends is how the parameters moved."""
        return self.mode == "previous"

    def init(self) -> State:
        return no_broadcast() if self.mode == "previous" else None

    def corrupt(self, own: Updates, view: View, state: State) -> tuple[Updates, State]:
        shape = tuple(own.vectors.shape)
        if self.mode == "zero":
            return own.with_vectors(torch.zeros_like(own.vectors)), state
        if self.mode == "previous":
            move, state = last_move(view, state)
            row = torch.zeros(shape[1]) if move is None else move
            return send_all(own, row), state
        if self.mode == "random":
            noise = view.generator.uniform(-self.scale, self.scale, shape)
        else:
            noise = view.generator.normal(0.0, self.scale, shape)
        return own.with_vectors(torch.from_numpy(noise).to(own.vectors.dtype)), state
