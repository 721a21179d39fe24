"""Membership inference: which of some records a client trains on, from what it sends.

Source: standard tests of membership by where a model's parameters moved, whose first description was not
verified; compare Nasr, Shokri, Houmansadr. Comprehensive Privacy Analysis of Deep Learning. IEEE S&P 2019.
arXiv:1812.00910, who give the gradients to a network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from ...core.errors import PluginError
from ...core.leakage_knowledge import Level, Records
from ...core.observation import Observation
from .parts.requirements import refuse_unmet

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
        records = observation.knowledge.candidates
        if records is not None and tuple(records.x.shape[1:]) != tuple(observation.input_shape):
            raise PluginError(
                f"Membership compares candidates of shape {list(observation.input_shape)}, got "
                f"{list(records.x.shape[1:])}"
            )

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
        gradients = _gradients(observation, records.x[rows], records.y[rows])[:, sent].double()
        found.append(functional.cosine_similarity(gradients, target[sent][None], dim=1))
    return torch.cat(found)


def _gradients(observation: Observation, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of each example's loss, together where the model allows it.  # [n, P]"""
    model = copy.deepcopy(observation.model).eval()
    named = dict(model.named_parameters())
    own = {slot.name: named[slot.name].detach() for slot in observation.layout.parameters}

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return _losses(lambda z: functional_call(model, values, (z,)), x[None], y[None]).mean()

    one = grad(loss)
    try:
        found = vmap(one, in_dims=(None, 0, 0))(own, x, y)
    except (RuntimeError, NotImplementedError):  # an operation that vmap does not know: one at a time
        each = [one(own, a, b) for a, b in zip(x, y, strict=True)]
        found = {name: torch.stack([g[name] for g in each]) for name in own}
    return torch.cat([found[name].flatten(1) for name in own], dim=1)


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
    return torch.cat([_losses(model, records.x[i : i + 256], records.y[i : i + 256]) for i in rows])


def _losses(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of each example, over all its positions.  # [n]"""
    outputs = model(x)
    each = functional.cross_entropy(outputs.flatten(0, -2), y.flatten(), reduction="none")
    return each.reshape(len(x), -1).mean(dim=1)
