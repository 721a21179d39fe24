"""How many examples of each class a step was on, by rules of closed form on the last layer's gradient.

Counts are real numbers; ``labels.round_counts`` makes whole ones of them.

Source: LLG: Wainakh et al. User-Level Label Leakage from Gradients in Federated Learning. PoPETs 2022,
Algorithm 1. arXiv:2105.09369. Least entries: Yin et al. See through Gradients. CVPR 2021. arXiv:2104.07586.
iLRG: Ma et al. Instance-wise Batch Label Restoration via Gradients in Federated Learning. ICLR 2023.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from ....core.errors import PluginError
from ....core.observation import Observation
from .labels import known_labels, last_layer, refuse_no_bias, round_counts

LabelRule = Literal["ilrg", "bias_counts", "llg", "gradinversion"]


def labels_by(rule: LabelRule, observation: Observation) -> Tensor:
    """Return the labels of a step, ascending: those that are told, or what a rule makes of it.  # [B]

    ``"ilrg"`` and ``"bias_counts"`` need one step of a known size and a last layer with a bias; ``"llg"`` and
    ``"gradinversion"`` need features that are not negative, and the latter a class for each example.

    Raises:
        PluginError: See ``refuse_unruly``.
    """
    told = known_labels(observation)
    if told is not None:
        return told
    refuse_unruly(rule, observation)
    size = observation.knowledge.batch_size or 1
    if rule == "ilrg":
        counts = least_squares_of(observation)
    elif rule == "bias_counts":
        bias = last_layer(observation, observation.mean_gradient().double()).bias
        assert bias is not None, "refuse_unruly saw one"
        counts = size * (1 / len(bias) - bias)
    else:
        weight = last_layer(observation, -observation.update.double()).weight
        counts = by_impact(weight.sum(dim=1), size) if rule == "llg" else by_least_entry(weight, size)
    counts = round_counts(counts.nan_to_num(0, 0, 0), size)
    return torch.arange(len(counts)).repeat_interleave(counts)


def refuse_unruly(rule: LabelRule, observation: Observation) -> None:
    """Refuse a rule where it could read no labels from the message.

    Raises:
        PluginError: There is no such rule; the number of examples, or for a rule that needs them the step
            size and one local step, are not known; the model's last layer is not linear, or has no bias; or
            there are more examples than classes for a rule that takes a class once.
    """
    known = observation.knowledge
    if rule not in get_args(LabelRule):
        raise PluginError(f"labels must be one of {', '.join(get_args(LabelRule))}; got {rule!r}")
    needed: dict[str, float | None] = {"batch_size": known.batch_size}
    if rule in ("ilrg", "bias_counts"):
        refuse_no_bias(observation, f"labels = '{rule}'")
        needed |= {"lr": known.lr, "local_steps": 1 if known.local_steps == 1 else None}
    if missing := [item for item, value in needed.items() if value is None]:
        raise PluginError(
            f"labels = '{rule}' needs to know batch_size{', lr and local_steps = 1' * (len(needed) > 1)}; "
            f"missing here: {', '.join(missing)}"
        )
    last_layer(observation, observation.update)
    if rule == "gradinversion" and (known.batch_size or 0) > observation.num_classes:
        raise PluginError(
            f"labels = 'gradinversion' takes each class once, and {known.batch_size} examples are of "
            f"{observation.num_classes} classes; use labels = 'ilrg', or 'llg' where lr is not known"
        )


def by_impact(
    evidence: Tensor, size: int, impact: float | None = None, offsets: Tensor | None = None
) -> Tensor:
    """Return LLG's counts: as many labels as examples, each taken where the evidence is least.

    First every class below 0 is there once; then the least one again and again, ``impact`` being taken away
    each time.

    Args:
        evidence: Row sums of the last weight's gradient, or its bias's, up to a positive factor.  # [C]
        size: Examples in the step.
        impact: What one example adds to its class's evidence, below 0; by default LLG's guess without a look
            at the model: the sum of what is below 0, times 1 + 1 / C, over ``size``.
        offsets: What the evidence would be without any example of the class; 0 by default.  # [C]
    """
    left, classes = evidence.double().clone(), len(evidence)
    if impact is None:
        impact = float(left.clamp(max=0).sum()) * (1 + 1 / classes) / size
    counts = torch.zeros(classes, dtype=torch.float64)
    first = left.argsort(stable=True)[:size]
    first = first[left[first] < 0]
    counts[first] += 1
    left[first] -= impact
    if offsets is not None:
        left -= offsets
    for _ in range(size - len(first)):
        c = int(left.argmin())
        counts[c] += 1
        left[c] -= impact
    return counts


def by_least_entry(weight: Tensor, size: int) -> Tensor:
    """Return 1 for the ``size`` classes whose rows [C, F] of the gradient hold the least entries.  # [C]"""
    counts = torch.zeros(len(weight), dtype=torch.float64)
    counts[weight.double().amin(dim=1).argsort(stable=True)[:size]] = 1
    return counts


def by_least_squares(
    gradient: Tensor, bias_gradient: Tensor, weight: Tensor, bias: Tensor, size: int
) -> Tensor:
    """Return iLRG's counts: those that explain the bias's gradient best, given each class's mean feature.

    The feature that class c saw is dW_c / db_c, and what the model predicts of it stands for all examples of
    the class: sum_j k_j (p_j[i] - 1[i = j]) = B db_i for every i, and sum_j k_j = B.

    Args:
        gradient, bias_gradient: Of the mean loss, by the last layer.  # [C, F], [C]
        weight, bias: The last layer itself.  # [C, F], [C]
        size: B.
    """
    features = (gradient.double() / bias_gradient.double()[:, None]).nan_to_num(0, 0, 0)  # [C, F]
    predicted = (features @ weight.double().T + bias.double()).softmax(dim=1)  # [C, C]: of class j's feature
    classes = len(predicted)
    system = torch.cat([predicted.T - torch.eye(classes), torch.ones(1, classes)]).double()
    wanted = torch.cat([size * bias_gradient.double(), torch.tensor([float(size)], dtype=torch.float64)])
    counts: Tensor = torch.linalg.pinv(system) @ wanted
    return counts.clamp(min=0)


def least_squares_of(observation: Observation) -> Tensor:
    """Return ``by_least_squares`` of a message of one step; the last layer has a bias.  # [C]"""
    layer = last_layer(observation, observation.mean_gradient().double())
    params = observation.layout.flatten(dict(observation.model.named_parameters())).detach()
    model, size = last_layer(observation, params), observation.knowledge.batch_size or 1
    assert layer.bias is not None, "the caller's check saw one"
    assert model.bias is not None, "the caller's check saw one"
    return by_least_squares(layer.weight, layer.bias, model.weight, model.bias, size)
