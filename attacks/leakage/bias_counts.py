"""Label counts from the bias gradient of the last layer.

With mean cross-entropy the bias gradient of class c is b_c = mean_i p_ic - n_c / B, hence
n_c = B (mean_i p_ic - b_c): exact but for the mean predicted probability, which must be guessed.

Source: the identity behind iDLG (Zhao, Mopuri, Bilen 2020, arXiv:2001.02610, Equation 3) summed over a batch;
the guesses are ours, in the spirit of LLG (Wainakh et al. 2021, arXiv:2105.09369).
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...core.leakage_knowledge import Level
from ...core.observation import Observation
from ...core.seeds import generator as stream_of
from .parts.labels import last_layer, refuse_no_bias
from .parts.requirements import PLAIN_STEP, refuse_unmet
from .search.starts import dummy_inputs, refuse_boundless


@dataclass(frozen=True)
class BiasCounts:
    """Estimate how many examples of each class stood in a client's step.

    Scores are the estimated counts, not rounded (``labels.round_counts`` makes whole ones): above about
    0.5, the class was probably there. A probe that is told the labels is refused: there is nothing left to
    estimate. Good on models that have hardly been trained, for any activation.

    Of a sum over clients the counts are those of all of them together: as exact as of one client where
    clients count as their examples; where each counts the same, an example of a client with few counts more.

    Attributes:
        guess: The mean predicted probability: 1 / C for every class ("uniform"), or what the broadcast
            model says about random inputs ("random_inputs": surer before training, worse after).
        num_dummies: Random inputs drawn for that, at least 1.
        seed: Seed of their stream.
    """

    guess: Literal["uniform", "random_inputs"] = "uniform"
    num_dummies: int = 3000
    seed: int = 0

    requires: ClassVar[Mapping[str, Level]] = {
        "batch_size": Level.EXACT,
        "lr": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    only: ClassVar[Mapping[str, int]] = {"local_steps": 1}
    assumes: ClassVar[Mapping[str, object]] = PLAIN_STEP
    kinds: ClassVar[tuple[str, ...]] = ("update", "gradient", "aggregate")

    def __post_init__(self) -> None:
        if self.num_dummies < 1:
            raise ValueError(f"num_dummies must be at least 1, got {self.num_dummies}")

    def check(self, observation: Observation) -> None:
        refuse_no_bias(observation, "BiasCounts")
        if self.guess == "random_inputs":
            refuse_boundless(observation.value_range, "uniform")

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        return torch.stack([self._counts(o) for o in observations])  # [N, C]

    def _counts(self, observation: Observation) -> Tensor:
        refuse_unmet(self, observation)
        bias = last_layer(observation, observation.mean_gradient()).bias
        assert bias is not None, "check saw one"
        return (observation.knowledge.batch_size or 0) * (self._predicted(observation) - bias)  # [C]

    def _predicted(self, observation: Observation) -> Tensor:
        """Return the guessed mean probability of each class.  # [C]"""
        classes = observation.num_classes
        if self.guess == "uniform":
            return torch.full((classes,), 1 / classes)
        stream = stream_of(self.seed, "bias_counts", observation.round, observation.client_id)
        x = dummy_inputs(observation, self.num_dummies, "uniform", stream)
        with torch.no_grad():
            logits: Tensor = copy.deepcopy(observation.model).eval()(x)  # [num_dummies, C]
        return logits.softmax(dim=1).mean(dim=0)
