"""What the gradient of a classifier's last layer says about labels, in closed form.

With mean cross-entropy, the bias gradient of class c is b_c = mean_i p_ic - n_c / B: the mean predicted
probability minus the share of examples of that class.

Source: Zhao, Mopuri, Bilen. iDLG: Improved Deep Leakage from Gradients. 2020. arXiv:2001.02610, Section 3.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from ....core.errors import PluginError
from ....core.observation import Observation


@dataclass(frozen=True)
class LastLayer:
    """The part of a vector that belongs to the last linear layer.

    Attributes:
        weight: Its weight.  # [C, F]
        bias: Its bias, or None if it has none.  # [C]
    """

    weight: Tensor
    bias: Tensor | None


def last_layer(observation: Observation, vector: Tensor) -> LastLayer:
    """Return the last layer's part of ``vector`` [P].

    Raises:
        PluginError: The last trainable tensors are no linear layer with one row a class.
    """
    views = observation.layout.views(vector)
    names = list(views)
    last = names[-1]
    stem, _, leaf = last.rpartition(".")
    weight_name = f"{stem}.weight" if stem else "weight"
    bias = views[last] if leaf == "bias" else None
    weight = views.get(weight_name)
    classes = observation.num_classes
    if weight is None or weight.ndim != 2 or len(weight) != classes:
        shapes = ", ".join(f"{n} {tuple(views[n].shape)}" for n in names[-2:])
        raise PluginError(
            f"labels are read from a last linear layer with {classes} rows; the model ends with {shapes}"
        )
    return LastLayer(weight, bias)


def refuse_no_bias(observation: Observation, who: str) -> None:
    """Raise ``PluginError`` where the model's last layer has no bias for ``who`` to read."""
    if last_layer(observation, observation.update).bias is None:
        raise PluginError(f"{who} reads the last layer's bias, and the model's last layer has none")


def known_labels(observation: Observation) -> Tensor | None:
    """Return the labels that the attacker is told, ascending, or None.  # [B]

    Raises:
        PluginError: One that is no class.
    """
    told = observation.knowledge.labels
    if told is None:
        return None
    if wrong := [label for label in told if not 0 <= label < observation.num_classes]:
        raise PluginError(f"a known label is {wrong[0]}; allowed: 0 to {observation.num_classes - 1}")
    return torch.tensor(sorted(told))


def refuse_unreadable_label(observation: Observation) -> None:
    """Raise ``PluginError`` where the label is neither known nor to be read from the last layer."""
    if observation.knowledge.labels is None:
        try:
            last_layer(observation, observation.update)
        except PluginError as error:
            raise PluginError(f"{error}; or tell them, with labels_known = true") from error


def one_or_told(observation: Observation) -> bool:
    """Return whether labels are told, or there is one alone, which ``only_label`` reads."""
    return observation.knowledge.labels is not None or observation.knowledge.batch_size == 1


def refuse_untold_labels(observation: Observation, who: str, otherwise: str = "") -> None:
    """Refuse a message whose labels ``only_label`` does not say.

    Args:
        observation: The message.
        who: The attack that needs them.
        otherwise: What else would help, as the end of a sentence.

    Raises:
        PluginError: Labels of several examples are not told, or that of one is not to be read.
    """
    if not one_or_told(observation):
        size = observation.knowledge.batch_size
        examples = "several examples" if size is None else f"{size} examples"
        raise PluginError(
            f"{who} needs to know the labels of {examples} (it reads that of one alone); "
            f"labels_known = true tells them{otherwise}"
        )
    refuse_unreadable_label(observation)


def only_label(observation: Observation, gradient: Tensor) -> Tensor:
    """Return the label of a step on one example, as a batch: the known one, or what the gradient says.  # [1]

    Any positive multiple of the gradient [P] will do. The label's entry of the bias gradient, p_c - 1, is
    the only negative one. Without a bias, the rows of the weight gradient are summed (the authors' rule),
    which is right where features are not negative.
    """
    known = known_labels(observation)
    if known is not None:
        return known
    layer = last_layer(observation, gradient)
    evidence = layer.weight.sum(dim=1) if layer.bias is None else layer.bias  # [C]
    return evidence.argmin().reshape(1)


def batch_labels(observation: Observation, x: Tensor) -> Tensor:
    """Return the labels of a step on examples ``x`` [B, ...], ascending: the known ones, or counted.  # [B]

    With the step size n_c = sum_i p_ic - B b_c, the probabilities being those of the model that was
    broadcast; without it, in the proportions of the bias gradient's negative entries (of its rows' sums,
    where there is no bias). Of a sum over clients each is taken to count as much for an example of its step
    as the others.
    """
    known = known_labels(observation)
    if known is not None:
        return known
    layer, lr = last_layer(observation, -observation.update.double()), observation.knowledge.lr
    evidence = layer.weight.sum(dim=1) if layer.bias is None else layer.bias  # [C]
    scores = -evidence
    if lr is not None and layer.bias is not None:
        with torch.no_grad():
            logits: Tensor = copy.deepcopy(observation.model).eval()(x)  # [B, C]
        predicted = logits.double().softmax(dim=1).sum(dim=0)
        scores = predicted - evidence * len(x) / (observation.weight * lr)
    counts = round_counts(scores.nan_to_num(), len(x))
    return torch.arange(len(counts)).repeat_interleave(counts)


def round_counts(scores: Tensor, total: int) -> Tensor:
    """Return whole label counts [C] of sum ``total`` from real ones [C], by largest remainder.

    Negative scores count as 0; where nothing is above 0, all classes are taken as equally likely.
    """
    share = scores.double().clamp(min=0)
    if not share.sum() > 0:
        share = torch.ones_like(share)
    share = share * total / share.sum()
    counts = share.floor()
    left = total - int(counts.sum())
    counts[(share - counts).argsort(descending=True, stable=True)[:left]] += 1
    return counts.long()
