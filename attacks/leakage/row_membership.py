"""Membership by words: a sentence whose words' embeddings did not move was not trained on.

A row of a token embedding's gradient is 0 where its token stood in no sentence of the batch, so that one such
row rules a sentence out, however many steps were taken.

Source: Melis, Song, De Cristofaro, Shmatikov. Exploiting Unintended Feature Leakage in Collaborative
Learning. IEEE S&P 2019, Section 4.1 (the rows tell which words stood in a batch, and with them whether a text
may be a member). arXiv:1805.04049. Ranks in the place of zeros, for noise and tied heads, are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from ...core.errors import PluginError
from ...core.leakage_knowledge import Level, Records
from ...core.observation import Observation
from .parts.requirements import refuse_other_records, refuse_unmet
from .parts.token_tables import token_table

Statistic = Literal["least", "mean"]


@dataclass(frozen=True)
class RowMembership:
    """Score candidate sentences by how far the embeddings of their words moved.

    Passive. A word's evidence is the share of all rows that moved less than its own, those that moved as far
    counting half: between 0 and 1, and the same, smallest value for all words that stood nowhere. Where
    nothing but the batch's words moves, by ``"least"`` no member scores below a sentence with another word. A
    sentence of words that all stood in the batch, apart, cannot be told from a member; nor can a member of
    whose words one was sent as 0 (a codec, a defense) be told from those that are ruled out.

    Attributes:
        statistic: ``"least"``: the smallest evidence among a sentence's different words, the exact test
            without noise; ``"mean"``: their mean.
        words_from: The first token that is a word, at least 0; those below say nothing.
    """

    statistic: Statistic = "least"
    words_from: int = 0

    requires: ClassVar[Mapping[str, Level]] = {"candidates": Level.EXACT}
    assumes: ClassVar[Mapping[str, object]] = {"weight_decay": 0.0}
    kinds: ClassVar[tuple[str, ...]] = ("update", "gradient", "aggregate")
    inputs: ClassVar[tuple[str, ...]] = ("tokens",)
    most_rounds: ClassVar[int] = 1000
    hypotheses: ClassVar[str] = "members"

    def __post_init__(self) -> None:
        if self.statistic not in get_args(Statistic):
            raise ValueError(
                f"statistic must be one of {', '.join(get_args(Statistic))}, got {self.statistic!r}"
            )
        if self.words_from < 0:
            raise ValueError(f"words_from must be at least 0, got {self.words_from}")

    def check(self, observation: Observation) -> None:
        name = token_table(observation)
        if f"{name}.weight" not in {slot.name for slot in observation.layout.parameters}:
            raise PluginError(
                f"RowMembership reads the gradient of the words' embedding, and {name} is not trained"
            )
        if self.words_from >= observation.num_tokens:
            raise PluginError(
                f"words_from = {self.words_from} leaves no word of {observation.num_tokens} tokens"
            )
        refuse_other_records(self, observation)

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        return torch.stack([self._scores(o) for o in observations])  # [N, H]

    def _scores(self, observation: Observation) -> Tensor:
        refuse_unmet(self, observation)
        records = observation.knowledge.candidates
        assert isinstance(records, Records), "refuse_unmet saw some"
        views = observation.layout.views(observation.update.nan_to_num(0.0, 0.0, 0.0).double())
        evidence = _ranks(views[f"{token_table(observation)}.weight"].norm(dim=1))  # [V]
        x = records.x.to(torch.int64)  # [H, S]
        seen = torch.zeros(len(x), len(evidence), dtype=torch.bool).scatter_(1, x, True)
        seen[:, : self.words_from] = False  # [H, V]
        if self.statistic == "least":
            return torch.where(seen, evidence, 1.0).amin(dim=1)
        return (seen * evidence).sum(dim=1) / seen.sum(dim=1).clamp(min=1)


def _ranks(sizes: Tensor) -> Tensor:
    """Return the share of values [V] that are below each, equal ones counting half.  # [V]"""
    ordered = sizes.sort().values
    below, above = (torch.searchsorted(ordered, sizes, right=right) for right in (False, True))
    return (below + above) / (2 * max(len(sizes), 1))
