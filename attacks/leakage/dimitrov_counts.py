"""Label counts of several local steps: the model is followed from what was received to what was sent.

Source: Dimitrov, Balunovic, Konstantinov, Vechev. Data Leakage in Federated Averaging. TMLR 2022
(eth-sri/fedavg_leakage). arXiv:2206.12395
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation
from ...core.seeds import generator as stream_of
from .parts.features import Seen, seen_by_last_layer
from .parts.labels import last_layer
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.starts import Init, dummy_inputs, refuse_boundless


@dataclass(frozen=True)
class DimitrovCounts:
    """Estimate how many examples of each class a client trained on, over one local step or several.

    n_c = B p_c - B D_c / (s O): D_c is the last layer's row of -update / lr, summed; O the mean sum of its
    inputs and p_c the mean probability, both of random inputs at the model received and the one sent, on a
    straight line between the two over the s steps, and then averaged. Scores are these counts, not rounded.
    Each example is taken to be used equally often.

    Attributes:
        init: Where random inputs are drawn: from N(0, 1) ("normal", the authors') or over the range of
            values ("uniform").
        num_dummies: How many are drawn, at least 1.
        seed: Seed of their stream.
    """

    init: Init = "normal"
    num_dummies: int = 3000
    seed: int = 0

    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "lr": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP

    def __post_init__(self) -> None:
        if self.num_dummies < 1:
            raise ValueError(f"num_dummies must be at least 1, got {self.num_dummies}")

    def check(self, observation: Observation) -> None:
        last_layer(observation, observation.update)
        refuse_boundless(observation.value_range, self.init)
        seen_by_last_layer(observation, self._dummies(observation, 1))

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        return torch.stack([self._counts(o) for o in observations])  # [N, C]

    def _counts(self, observation: Observation) -> Tensor:
        refuse_unmet(self, observation)
        known, x = observation.knowledge, self._dummies(observation, self.num_dummies)
        size, steps, lr = known.batch_size or 1, known.local_steps or 1, known.lr or 1.0
        before = observation.layout.flatten(dict(observation.model.named_parameters())).detach()
        sent = before if observation.kind == "gradient" else before + observation.update
        ends = [_means(seen_by_last_layer(observation, x, params)) for params in (before, sent)]
        along = (steps - 1) / (2 * steps)  # the mean place of step 0, 1, ... s - 1 of s
        inputs, predicted = (begin + along * (end - begin) for begin, end in zip(*ends, strict=True))
        rows = last_layer(observation, -observation.update.double() / lr).weight.sum(dim=1)  # [C]
        counts: Tensor = size * (predicted - rows / (steps * inputs))
        return counts.nan_to_num(0, 0, 0)

    def _dummies(self, observation: Observation, number: int) -> Tensor:
        stream = stream_of(self.seed, "dimitrov_counts", observation.round, observation.client_id)
        return dummy_inputs(observation, number, self.init, stream)


def _means(seen: Seen) -> tuple[Tensor, Tensor]:
    """Return the mean sum of the last layer's inputs, and the mean probabilities.  # [], [C]"""
    return seen.features.double().sum(dim=1).mean(), seen.predicted.double().mean(dim=0)
