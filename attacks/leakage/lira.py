"""LiRA: membership by the likelihood ratio of each record, between shadow clients with it and without.

Source: Carlini, Chien, Nasr, Song, Terzis, Tramer. Membership Inference Attacks From First Principles. IEEE
S&P 2022, Algorithm 1 (online). arXiv:2112.03570. There models are trained from scratch; here a shadow is what
one client makes of the model that it received, which is all that its message is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from ...core.errors import PluginError
from ...core.layout import Layout
from ...core.leakage_knowledge import Level, Records
from ...core.observation import Observation
from ...core.seeds import generator as stream_of
from .parts.record_gradients import gradients_of_records
from .parts.requirements import refuse_other_records, refuse_unmet
from .parts.shadows import drawn, shadow_updates, step_of

_LEAST = 8  # shadows with a candidate, and at least as many without


@dataclass(frozen=True)
class LiRA:
    """Score candidates by log p(score | trained on it) - log p(score | not), a normal law of shadows each.

    Passive. Shadows take the client's steps from the model that it received, each on as many records as the
    client: half of the candidates at most, and auxiliary records. What is compared is one number a candidate
    and message, its score; what makes easy records score high in either case cancels. Ratios of several
    rounds of one client are added up. Steps of a client that take a part of its examples are taken for steps
    on all of them; noise and codecs are not simulated, so that behind them laws are too narrow.

    Attributes:
        statistic: The score. ``"logit"``, the paper's: log p / (1 - p) of the record's label, by the model
            that the update makes (of a gradient, a step of 1e-3). ``"alignment"``: the inner product of the
            record's own gradient and the opposite of the update, in the coordinates that were sent.
        shadows: How many at least, 2 or more; there are more where else a candidate would be in fewer than 8.
        variance: Of the two laws of a candidate: ``"pooled"``, one for all candidates (the paper's with few
            shadows), or ``"each"``, its own.
        seed: Seed of the shadows.
    """

    statistic: Literal["logit", "alignment"] = "alignment"
    shadows: int = 64
    variance: Literal["pooled", "each"] = "pooled"
    seed: int = 0

    requires: ClassVar[Mapping[str, Level]] = {
        "candidates": Level.EXACT,
        "batch_size": Level.EXACT,
        "local_steps": Level.EXACT,
    }
    assumes: ClassVar[Mapping[str, object]] = {"loss": "cross_entropy", "optimizer": "sgd"}
    uses: ClassVar[tuple[str, ...]] = ("auxiliary", "lr", "local_lr", "momentum", "weight_decay")
    most_rounds: ClassVar[int] = 1000
    hypotheses: ClassVar[str] = "members"

    def __post_init__(self) -> None:
        if self.shadows < 2:
            raise ValueError(f"shadows must be at least 2, got {self.shadows}")
        for name, allowed in (("statistic", ("logit", "alignment")), ("variance", ("pooled", "each"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")

    def check(self, observation: Observation) -> None:
        known = observation.knowledge
        if known.candidates is None:
            return
        refuse_other_records(self, observation)
        candidates, size = len(known.candidates.y), known.batch_size or 1
        if candidates < 2:
            raise PluginError(
                "LiRA compares shadows with a candidate and without: it needs 2 candidates, got 1"
            )
        if size > candidates // 2 and known.auxiliary is None:
            raise PluginError(
                f"LiRA lets shadows train on as many records as the client, {size}, among them at most half "
                f"of the {candidates} candidates; it needs others besides: auxiliary = 200 gives it so many "
                "test examples"
            )
        if observation.kind == "update" and known.lr is None and known.local_lr is None:
            raise PluginError(
                "LiRA lets shadows take the client's steps, whose size is not known here; use membership"
            )

    def infer(self, observations: Sequence[Observation]) -> Tensor:
        return torch.stack([self._ratios(o) for o in observations])  # [N, H]

    def _ratios(self, observation: Observation) -> Tensor:
        refuse_unmet(self, observation)
        known = observation.knowledge
        records = known.candidates
        assert records is not None, "refuse_unmet saw some"
        stream = stream_of(self.seed, "lira", observation.round, observation.client_id)
        chosen = drawn(len(records.y), known.batch_size or 1, _LEAST, self.shadows, stream)  # [S, H]
        shadows, model = shadow_updates(observation, chosen, stream)  # [S, P]
        size = step_of(observation) if observation.kind == "gradient" else 1.0
        updates = torch.cat([size * observation.update[None], shadows])
        if self.statistic == "alignment":
            scores = _alignments(observation, records, updates)
        else:
            scores = _logits(observation.layout, model, records, updates)  # [1 + S, H]
        scores = scores.double().nan_to_num(0, 0, 0)
        return log_ratios(scores[0], scores[1:], chosen, self.variance == "pooled").nan_to_num(0, 0, 0)


def log_ratios(observed: Tensor, shadows: Tensor, chosen: Tensor, pooled: bool) -> Tensor:
    """Return log N(s; mean and variance with it) - log N(s; those without it) of each candidate.  # [H]

    Args:
        observed: Its score.  # [H]
        shadows: Its scores by the shadows.  # [S, H]
        chosen: Which shadows trained on it, bool, of each candidate at least 2 and not all but 1.  # [S, H]
        pooled: Whether the two variances are the means over all candidates.
    """
    found = []
    for rows in (chosen, ~chosen):
        count = rows.sum(dim=0)
        mean = (shadows * rows).sum(dim=0) / count
        variance = ((shadows - mean).square() * rows).sum(dim=0) / (count - 1)
        if pooled:
            variance = variance.mean().expand_as(variance)
        least = 1e-12 * shadows.square().mean(dim=0) + 1e-300
        variance = variance + least  # a law without any width would say all or nothing
        found.append(-((observed - mean).square() / variance + variance.log()) / 2)
    return found[0] - found[1]


def _alignments(observation: Observation, records: Records, updates: Tensor) -> Tensor:
    """Return -<g_h, u> of every update and candidate, over what was sent.  # [1 + S, H]"""
    sent, found = observation.support, []
    moved = -updates[:, sent].double()
    for begin in range(0, len(records.y), 64):
        rows = slice(begin, begin + 64)
        gradients = gradients_of_records(observation, records.x[rows], records.y[rows])[:, sent]
        found.append(moved @ gradients.double().T)
    return torch.cat(found, dim=1)


def _logits(layout: Layout, model: torch.nn.Module, records: Records, updates: Tensor) -> Tensor:
    """Return log p / (1 - p) of each candidate's label after every update.  # [1 + S, H]"""
    named, found = dict(model.named_parameters()), []
    with torch.no_grad():
        for update in updates:
            values = {name: named[name] + move for name, move in layout.views(update).items()}
            outputs = functional_call(model, values, (records.x,)).double()
            own = outputs.gather(-1, records.y[:, None])
            others = outputs.masked_fill(functional.one_hot(records.y, outputs.shape[-1]).bool(), -torch.inf)
            found.append(own[:, 0] - others.logsumexp(dim=-1))
    return torch.stack(found)
