"""What a result says of an inference attack's scores beside what is true."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..attacks.leakage.parts.labels import round_counts
from ..attacks.leakage.parts.ranking import auc, tpr_at
from ..core.declarations import LeakageAttacks, declared
from ..core.registry import require

if TYPE_CHECKING:
    from torch import Tensor

    from ..core.observation import Observation, Truth

RATES = {"1e-1": 1e-1, "1e-2": 1e-2, "1e-3": 1e-3}


def judged(
    plugin: object, scores: Tensor, truths: Sequence[Truth | None], observation: Observation, who: str
) -> dict[str, Any]:
    """Return what a report says of scores [H] beside what is true.

    Args:
        plugin: The attack, which declares what they are about.
        scores: Of all rounds together.  # [H]
        truths: What the client trained on in each of them; None where that is not known.
        observation: The last message.
        who: What the attack is called in messages.

    Raises:
        PluginError: Another number of scores than of candidates.
    """
    hypotheses = declared(plugin, LeakageAttacks.hypotheses)
    if hypotheses == "members":
        return _members(scores, truths, observation, who)
    if hypotheses == "property":
        return {"property_share": _share(declared(plugin, LeakageAttacks.holds), truths, who)}
    return _labels(scores, truths[-1], observation.num_classes)


def _share(
    holds: Callable[[Tensor, Tensor], Tensor] | None, truths: Sequence[Truth | None], who: str
) -> float | None:
    """Return which share of the examples behind all rounds has the property; None where it is not known.

    Raises:
        PluginError: What the attack says of examples is not whether each has the property.
    """
    known = [truth for truth in truths if truth is not None]
    if holds is None or len(known) != len(truths):
        return None
    said = [holds(truth.x.clone(), truth.y.clone()) for truth in known]
    for have, truth in zip(said, known, strict=True):
        fits = isinstance(have, torch.Tensor) and have.dtype == torch.bool
        alike = fits and tuple(have.shape) == (len(truth.y),)
        require(alike, f"{who}: holds must be bool [{len(truth.y)}], one an example")
    return float(torch.cat(said).double().mean())


def property_area(reports: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the AUC of one attack's scores over messages: of most examples with the property, or not.

    None where all messages are of one kind, or what is true is not known of one.
    """
    shares = [report.get("property_share") for report in reports]
    if None in shares:
        return None
    scores, have = torch.tensor([r["scores"][0] for r in reports]), torch.tensor(shares) > 0.5
    return _known(auc(scores[have], scores[~have]))


def _members(
    scores: Tensor, truths: Sequence[Truth | None], observation: Observation, who: str
) -> dict[str, Any]:
    """Return how well scores tell candidates on which the client trained in any of the rounds.

    What it holds and did not use counts as neither. ``members`` says of each candidate 1, 0 or (of neither)
    -1; a rate of false alarms below one in as many non-members is None.
    """
    asked = observation.knowledge.candidates
    wanted = 0 if asked is None else len(asked.y)
    require(len(scores) == wanted, f"{who}: scores must be [rounds, {wanted}], one a candidate")
    known = [truth.members for truth in truths if truth is not None and truth.members is not None]
    if len(known) != len(truths):
        return {"members": None, "auc": None, "tpr_at_fpr": dict.fromkeys(RATES)}
    marks = torch.stack(list(known)).amax(dim=0)  # [H]
    inside, outside = scores[marks == 1], scores[marks == 0]
    found = {name: tpr_at(inside, outside, rate) for name, rate in RATES.items()}
    return {
        "members": marks.tolist(),
        "auc": _known(auc(inside, outside)),
        "tpr_at_fpr": {name: _known(value) for name, value in found.items()},
    }


def _known(value: float) -> float | None:
    return None if value != value else value


def _labels(scores: Tensor, truth: Truth | None, num_classes: int) -> dict[str, Any]:
    """Return what a report says of scores [C] that count labels, rounded to whole examples.

    ``label_counts`` are the true ones. ``label_accuracy`` is the share of the labels found, order aside;
    ``existence_accuracy`` the share of classes that are rightly said to be there or not;
    ``count_accuracy`` the share of classes whose number is right.
    """
    unknown = ("label_counts", "label_accuracy", "existence_accuracy", "count_accuracy")
    if truth is None:
        return dict.fromkeys(unknown)
    counts = torch.bincount(truth.y.flatten(), minlength=num_classes)
    said: dict[str, Any] = {"label_counts": counts.tolist()}
    if len(scores) == len(counts):
        guess = round_counts(scores, int(counts.sum()))
        said |= {
            "label_accuracy": float(torch.minimum(guess, counts).sum() / counts.sum()),
            "existence_accuracy": float(((guess > 0) == (counts > 0)).double().mean()),
            "count_accuracy": float((guess == counts).double().mean()),
        }
    return said
