"""How badly updates fit a frame that holds more than an update, or a part of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.contracts import Mismatch


@dataclass(frozen=True, eq=False)
class UpdateMismatch:
    """A message's mismatch of the update that is in it; what else was sent is taken as it decodes.

    Attributes:
        message: How badly messages fit.
        decoded: The message.  # [M]
        places: Where in the message coordinates of the update stand, int64.  # [n]
        sources: Which coordinates of the update these are, int64.  # [n]
        scale: What they are multiplied by after decoding, above 0.
    """

    message: Mismatch
    decoded: Tensor
    places: Tensor
    sources: Tensor
    scale: float = 1.0

    @property
    def scale_free(self) -> bool:
        """Whether the size of an update does not matter: not beside what has a known size."""
        return self.message.scale_free and len(self.places) == len(self.decoded)

    def __call__(self, updates: Tensor) -> Tensor:
        whole = self.decoded.expand(*updates.shape[:-1], len(self.decoded))
        values = updates.index_select(-1, self.sources) / self.scale
        return self.message(torch.index_copy(whole, -1, self.places, values))
