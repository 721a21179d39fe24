"""Gradient calibration: all updates become equally long, so that no client outweighs others by length.

Source: reconstruction from the abstract of: Huang, Li, et al. FULLER: Unified Multi-modality Multi-task 3D
Perception via Multi-level Gradient Calibration. ICCV 2023. arXiv:2307.16617 (title, authors and number not
checked). Clients in the place of tasks, and the median norm as the common length, are this package's own.
"""

from dataclasses import dataclass

import torch

from ..core.matrices import scaled
from ..core.norms import fast_row_norms
from ..core.updates import Updates
from .clipping import ClipNorm, check_clip_norm
from .parts.geometry import NO_LENGTH


@dataclass(frozen=True)
class GradientCalibration:
    """Scale each update, up or down, to one common L2 norm; one shorter than 1e-12 stays as it is.

    Attributes:
        target_norm: The common norm, in units of the update's L2 norm, above 0; or ``"median"``: the median
            of the cohort's norms, of an even number the mean of the middle two.
        scope: ``"all"``, or the name of the one tensor of the model that is calibrated, with norms of its
            own; the others stay as they are.
    """

    target_norm: ClipNorm = "median"
    scope: str = "all"

    def __post_init__(self) -> None:
        check_clip_norm(self.target_norm, "target_norm")

    def init(self) -> None:
        return None

    def transform(self, updates: Updates, state: None) -> tuple[Updates, None]:
        if len(updates) == 0:
            return updates, state
        columns = self._columns(updates)
        chosen = updates.vectors if self.scope == "all" else updates.vectors[:, columns]
        norms, median = fast_row_norms(chosen), self.target_norm == "median"  # [K]
        target = norms.quantile(0.5) if median else norms.new_tensor(self.target_norm)
        same = (norms < NO_LENGTH) | (norms == target)
        factors = torch.where(same, 1.0, target / norms.clamp(min=NO_LENGTH))
        most = torch.finfo(chosen.dtype).max
        calibrated = scaled(chosen, factors.clamp(max=most))
        if calibrated is not chosen:
            calibrated.clamp_(-most, most)
        if self.scope != "all":
            whole = updates.vectors.clone()
            whole[:, columns] = calibrated
            calibrated = whole
        return updates.with_vectors(calibrated), state

    def _columns(self, updates: Updates) -> slice:
        """Return the coordinates that are calibrated.

        Raises:
            ValueError: No tensor of the model has that name, or nobody knows the model.
        """
        if self.scope == "all":
            return slice(None)
        slots = {} if updates.context is None else {s.name: s for s in updates.context.layout.parameters}
        if self.scope not in slots:
            raise ValueError(f"scope must be one of {', '.join(('all', *slots))}, got '{self.scope}'")
        slot = slots[self.scope]
        return slice(slot.start, slot.start + slot.size)
