"""Membership inference: which of some records a client trains on, from what it sends.

Source: standard tests of membership by where a model's parameters moved, whose first description was not
verified; compare Nasr, Shokri, Houmansadr. Comprehensive Privacy Analysis of Deep Learning. IEEE S&P 2019.
arXiv:1812.00910, who give the gradients to a network.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core.leakage_knowledge import Level, Records
from ...core.observation import Observation
from .parts.record_gradients import gradients_of_records, losses
from .parts.requirements import refuse_other_records, refuse_unmet

_MOST_VALUES = 2**24  # numbers of gradients that are held at a time


@dataclass(frozen=True)
class Membership:
    """Score candidate records by how well a client's update fits that it was trained on them.

    Passive. Scores are one number a candidate, higher where it is more likely a member; those of several
    rounds of one client are added up. ``"cosine"``: of the record's own gradient and the opposite of the
    update, in the coordinates that were sent. ``"loss_drop"``: by how much the record's loss falls from the
    model received to the model that the update makes of it (of a gradient, by one step of size 1e-3).

    That these scores tell members badly is no guarantee of privacy: stronger attacks may exist.

    Attributes:
        statistic: What is measured.
    """

    statistic: Literal["cosine", "loss_drop"] = "cosine"

    requires: ClassVar[Mapping[str, Level]] = {"candidates": Level.EXACT}
    assumes: ClassVar[Mapping[str, object]] = {"loss": "cross_entropy"}
    kinds: ClassVar[tuple[str, ...]] = ("update", "gradient", "aggregate")
    inputs: ClassVar[tuple[str, ...]] = ("floats", "tokens")
    most_rounds: ClassVar[int] = 1000
    hypotheses: ClassVar[str] = "members"

    def check(self, observation: Observation) -> None:
        refuse_other_records(self, observation)

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        return torch.stack([self._scores(o) for o in observations])  # [N, H]

    def _scores(self, observation: Observation) -> Tensor:
        refuse_unmet(self, observation)
        records = observation.knowledge.candidates
        assert records is not None, "refuse_unmet saw some"
        measure = _alignment if self.statistic == "cosine" else _loss_drop
        return measure(observation, records).nan_to_num(0, 0, 0)


def _alignment(observation: Observation, records: Records) -> Tensor:
    """Return the cosine between each record's gradient and the opposite of the update.  # [H]"""
    sent, target = observation.support, -observation.update.double()  # [P]
    parts = max(1, _MOST_VALUES // max(len(target), 1))
    found = []
    for begin in range(0, len(records.y), parts):
        rows = slice(begin, begin + parts)
        gradients = gradients_of_records(observation, records.x[rows], records.y[rows])[:, sent].double()
        found.append(functional.cosine_similarity(gradients, target[sent][None], dim=1))
    return torch.cat(found)


def _loss_drop(observation: Observation, records: Records) -> Tensor:
    """Return by how much each record's loss falls.  # [H]"""
    model, layout = copy.deepcopy(observation.model).eval(), observation.layout
    named = dict(model.named_parameters())
    step = 1e-3 if observation.kind == "gradient" else 1 / observation.weight
    with torch.no_grad():
        before = _in_parts(model, records)
        for name, move in layout.views(step * observation.update).items():
            named[name].add_(move)
        return (before - _in_parts(model, records)).double()


def _in_parts(model: nn.Module, records: Records) -> Tensor:
    rows = range(0, len(records.y), 256)
    return torch.cat([losses(model, records.x[i : i + 256], records.y[i : i + 256]) for i in rows])
