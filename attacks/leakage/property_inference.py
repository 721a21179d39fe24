"""Property inference: whether a client's examples share something that its task does not ask for.

Source: Melis, Song, De Cristofaro, Shmatikov. Exploiting Unintended Feature Leakage in Collaborative
Learning. IEEE S&P 2019. arXiv:1805.04049 (csong27/property-inference-collaborative-ml). They train one
classifier on the gradients of many rounds; here each round has one of its own, at the model broadcast in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.errors import PluginError
from ...core.leakage_knowledge import Level, Records
from ...core.observation import Observation
from ...core.seeds import generator as stream_of
from .parts.record_gradients import gradients_of_batches
from .parts.requirements import refuse_unmet

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PropertyInference:
    """Score whether a client's examples have a property: here, whether one value of an input is high.

    Passive. Of auxiliary records, batches that all have the property and batches of which none has it are
    drawn, as large as the client's own; a random forest learns to tell their gradients, and scores the
    client's update: the log odds that it is of the first kind. What it learns from are absolute values, of
    norm 1, standardised. Several local steps are taken for one on all examples. Scores of several rounds of
    one client are added up.

    Attributes:
        column: Which value of the flattened input the property is about, from 0.
        threshold: Above it an example has the property, in units of the inputs.
        batches: Batches of either kind, at least 5.
        trees: Of the forest, at least 1.
        seed: Seed of the batches and the forest.
    """

    column: int
    threshold: float = 0.5
    batches: int = 60
    trees: int = 100
    seed: int = 0

    requires: ClassVar[Mapping[str, Level]] = {"batch_size": Level.EXACT, "auxiliary": Level.EXACT}
    assumes: ClassVar[Mapping[str, object]] = {"loss": "cross_entropy"}
    most_rounds: ClassVar[int] = 1000
    hypotheses: ClassVar[str] = "property"

    def __post_init__(self) -> None:
        if not isfinite(self.threshold):
            raise ValueError(f"threshold must be finite, got {self.threshold}")
        for name, least in (("column", 0), ("batches", 5), ("trees", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def holds(self, x: Tensor, y: Tensor) -> Tensor:
        """Return which examples have the property, bool.  # [n]"""
        return x.flatten(1)[:, self.column] > self.threshold

    def check(self, observation: Observation) -> None:
        values = int(np.prod(observation.input_shape))
        if self.column >= values:
            raise PluginError(f"column must be below {values}, the values of an input; got {self.column}")
        records = observation.knowledge.auxiliary
        if records is not None:
            have = int(self.holds(records.x, records.y).sum())
            if not 0 < have < len(records.y):
                raise PluginError(
                    f"PropertyInference learns from records with and without the property: of "
                    f"{len(records.y)} auxiliary ones, {have} have a value above {self.threshold} in column "
                    f"{self.column}; more of them, or another threshold"
                )

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        learned: dict[Any, _Classifier] = {}
        odds = []
        for observation in observations:
            refuse_unmet(self, observation)
            params = observation.layout.flatten(dict(observation.model.named_parameters())).detach()
            same = observation.round, observation.knowledge.batch_size, params.numpy().tobytes()
            if same not in learned:
                learned[same] = self._learn(observation)
            odds.append(learned[same].odds(-observation.update[None]))
        return torch.tensor(odds)[:, None]  # [N, 1]

    def _learn(self, observation: Observation) -> "_Classifier":
        """Return what tells gradients with the property from others, at the model of one round."""
        from sklearn.ensemble import RandomForestClassifier

        records, size = observation.knowledge.auxiliary, observation.knowledge.batch_size or 1
        assert records is not None, "refuse_unmet saw some"
        stream = stream_of(self.seed, "property_inference", observation.round)
        batches = self._drawn(records, size, stream)
        known = _features(gradients_of_batches(observation, batches))  # [2 batches, P]
        middle, deviation = known.mean(axis=0), known.std(axis=0)
        deviation[deviation == 0] = np.inf  # a value that never moves says nothing
        state = int(stream.integers(2**31))
        forest = RandomForestClassifier(
            self.trees, min_samples_leaf=5, min_samples_split=5, random_state=state, n_jobs=1
        )
        forest.fit((known - middle) / deviation, np.repeat([0, 1], self.batches))
        return _Classifier(forest, middle, deviation, 0.5 / self.trees)

    def _drawn(self, records: Records, size: int, stream: np.random.Generator) -> list[Records]:
        """Return batches without the property, then as many with it; each of distinct records if possible."""
        have = self.holds(records.x, records.y).numpy()
        drawn = []
        for kind in (False, True):
            (rows,) = np.nonzero(have == kind)
            picks = (stream.choice(rows, size, replace=size > len(rows)) for _ in range(self.batches))
            drawn += [Records(records.x[pick], records.y[pick]) for pick in map(torch.from_numpy, picks)]
        return drawn


@dataclass(frozen=True, eq=False)
class _Classifier:
    """A forest, and how its features were standardised.

    Attributes:
        forest: From features to the share of trees that say yes.
        middle, deviation: Of each feature.  # [P]
        floor: What is added to either share, so that odds stay finite.
    """

    forest: Any
    middle: "Array"
    deviation: "Array"
    floor: float

    def odds(self, gradient: Tensor) -> float:
        """Return the log odds that a gradient [1, P] is one with the property."""
        asked = (_features(gradient) - self.middle) / self.deviation
        share = float(self.forest.predict_proba(asked)[0, 1])
        return float(np.log((share + self.floor) / (1 - share + self.floor)))


def _features(gradients: Tensor) -> "Array":
    """Return absolute values, each row of norm 1, float64; a row of zeros stays.  # [n, P]"""
    values: Array = gradients.detach().abs().double().nan_to_num(0, 0, 0).numpy()
    sizes = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(sizes > 0, sizes, 1)
