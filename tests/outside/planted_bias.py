"""Planted bias: the server tilts one class before a round, and sees who trains the tilt away.

Source: this package's own, as small as such a check can be. The idea of an indicator task that the server
plants and looks for afterwards: Li et al. BackdoorIndicator. USENIX Security 2024 (reconstruction: theirs
trains the model on examples of its own, and looks for those who do *not* unlearn them).
"""

from dataclasses import dataclass

from gauntlet.core.contracts import Verdict


@dataclass(frozen=True)
class PlantedBias:
    """Add ``strength`` to the bias of one output, another one in each round; average those who train it away.

    Its gradient is the mean of p(class) - [label = class], which a large bias makes positive: whoever trains
    lowers it, whoever sends nothing, noise or an old update does not. The score is the share of ``strength``
    that an update takes back; below ``least`` of the median one a client is flagged and left out. What the
    others took back is left out of the aggregate, since the server's own parameters never had it.

    Attributes:
        num_classes: C: the last C parameters must be the outputs' biases.
        strength: What is added, above 0.
        least: Share of the median score, between 0 and 1.
    """

    num_classes: int = 10
    strength: float = 2.0
    least: float = 0.3

    def __post_init__(self) -> None:
        if self.num_classes < 1 or self.strength <= 0 or not 0 <= self.least <= 1:
            raise ValueError(
                "num_classes must be at least 1, strength above 0, least in [0, 1], got "
                f"{self.num_classes}, {self.strength}, {self.least}"
            )

    def init(self):
        return -1  # the place that was tilted, from the end of the vector

    def prepare(self, params, state):
        place = -1 - (-state) % min(self.num_classes, len(params))
        tilted = params.clone()
        tilted[place] += self.strength
        return tilted, place

    def aggregate(self, updates, state):
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        scores = -updates.vectors[:, state] / self.strength  # [K]
        keep = scores >= self.least * scores.median()
        weights = keep.double() / max(int(keep.sum()), 1)
        aggregate = (weights @ updates.vectors.double()).float()  # [P]
        aggregate[state] = 0.0
        ids = updates.client_ids
        return Verdict(
            aggregate,
            weights,
            flags=dict.fromkeys(ids[~keep].tolist(), "malicious"),
            scores=dict(zip(ids.tolist(), scores.tolist(), strict=True)),
        ), state

    exempt = ("equal_updates_come_back_unchanged",)  # the tilted coordinate stays as it was
