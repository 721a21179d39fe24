"""Well-informed Inverting Gradients: the client's true dropout masks are known, which no attacker can know.

Source: Scheliga, Maeder, Seeland. Dropout is NOT All You Need to Prevent Gradient Leakage. AAAI 2023,
where it is the bound that the Dropout Inversion Attack is measured by. arXiv:2208.06163
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from ...core.errors import PluginError
from ...core.leakage_knowledge import Level
from ...core.observation import Observation, Reconstruction
from .inverting_gradients import InvertingGradients
from .parts.labels import known_labels
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.aware import Objective, aware
from .search.descent import descent_of
from .search.distances import cosine
from .search.engine import Variables
from .search.masked import mask_calls, masked_gradients_of
from .search.starts import Init


@dataclass(frozen=True)
class WIIG:
    """Search inputs by the cosine between gradients, in the very sub-network that the client trained.

    An oracle: a bound for ``dia``, and no attack. Labels must be known, since masks belong to examples. Of a
    model without dropout it is ``inverting_gradients``.

    Attributes:
        max_iterations: Steps of Adam, at least 1.
        lr: Their size, in units of the inputs, above 0.
        tv: Weight of the total variation of images at the first and at the last step, at least 0 each.
        signed: Whether Adam sees signs of gradients alone.
        decays: Whether steps are a tenth after 3/8, 5/8 and 7/8 of the run.
        restarts: Random starts, at least 1; the one of least cost wins.
        tolerance: The cost at which the search has converged, above 0; 0: it never has.
        init: Start evenly over the range of values ("uniform") or from N(0, 1) ("normal").
        max_seconds: Wall-clock budget, above 0, or None. A budget makes results depend on the machine.
        objective: ``"auto"``: what the codec says of its frame, where it says something, in the place of the
            cosine; ``"plain"``: the cosine with what the frame decodes to.
    """

    max_iterations: int = 1000
    lr: float = 0.1
    tv: tuple[float, float] = (1e-5, 1e-5)
    signed: bool = True
    decays: bool = True
    restarts: int = 1
    tolerance: float = 0.0
    init: Init = "uniform"
    max_seconds: float | None = None
    objective: Objective = "auto"

    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "labels": Level.EXACT,
        "local_steps": Level.EXACT,
        "dropout_masks": Level.EXACT,
    }
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    uses: ClassVar[tuple[str, ...]] = ("codec",)
    aware: ClassVar[Mapping[str, object]] = {"objective": "auto"}
    unaware: ClassVar[Mapping[str, object]] = {"objective": "plain"}

    def __post_init__(self) -> None:
        descent_of(self)

    def check(self, observation: Observation) -> None:
        InvertingGradients(init=self.init).check(observation)
        shapes = [(observation.knowledge.batch_size, *call.shape) for call in mask_calls(observation)]
        came = [tuple(mask.shape) for mask in observation.knowledge.dropout_masks or ()]
        if came != shapes:
            raise PluginError(f"the model drops values of shapes {shapes}, got masks of shapes {came}")

    def reconstruct(
        self, observations: Sequence[Observation], generator: np.random.Generator
    ) -> Reconstruction:
        (observation,) = observations
        refuse_unmet(self, observation)
        known, labels = observation.knowledge, known_labels(observation)
        assert labels is not None
        masks = [mask.float() for mask in known.dropout_masks or ()]  # [B, ...] each
        distance = aware(observation, self.objective, cosine(-observation.update))
        gradients = masked_gradients_of(observation)

        def cost(variables: Variables) -> Tensor:
            (x,) = variables
            return distance(gradients(x, [m.expand(len(x), *m.shape) for m in masks], labels))

        found = descent_of(self).search(observation, len(labels), cost, generator)
        return found.reconstruction(labels)
