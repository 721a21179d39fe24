"""No deviation: clients receive the scenario's model, and in every round the server's own parameters."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn


@dataclass(frozen=True)
class Honest:
    """Send what is there."""

    deviates: ClassVar[str] = "nothing"

    def rebuild(self, model: nn.Module) -> tuple[nn.Module, dict[str, Any]]:
        return model, {}

    def init(self, secret: object) -> None:
        return None

    def plant(
        self, params: Tensor, state: None, generator: np.random.Generator
    ) -> tuple[Tensor, dict[str, Any], None]:
        return params, {}, state
