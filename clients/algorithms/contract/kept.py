"""What an algorithm owes whose clients keep a part of the model: tried on a small network."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ....core.declarations import Algorithms, declared
from ....core.layout import Layout, floating_buffers
from ....core.registry import require


def _network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)
    )


def what_is_kept_are_tensors_of_the_model_the_same_each_time(algorithm: Any) -> None:
    """Trainable parameters and floating buffers, at least one parameter left, and the model is left alone."""
    keeps = declared(algorithm, Algorithms.keeps)
    if keeps is None:
        return
    model, other = _network(), _network()
    before = Layout.of(model), {name: value.clone() for name, value in model.state_dict().items()}
    names = keeps(model)
    known = {n for n, p in model.named_parameters()} | {n for n, _ in floating_buffers(model)}
    strangers = [name for name in names if name not in known]
    require(not strangers, f"keeps must name tensors of the model, got {strangers[:1]}")
    require(set(names) == set(keeps(other)), "keeps must follow from the model's layers alone")
    left = {n for n, _ in model.named_parameters()} - set(names)
    require(bool(left), "keeps must leave a parameter to be exchanged")
    same = Layout.of(model) == before[0] and all(
        torch.equal(value, before[1][name]) for name, value in model.state_dict().items()
    )
    require(same, "keeps must leave the model as it is")


def one_that_keeps_changes_and_exchanges_nothing_besides(algorithm: Any) -> None:
    """Its gradients are plain, and none of what else a rule may exchange is declared."""
    if declared(algorithm, Algorithms.keeps) is None:
        return
    require(declared(algorithm, Algorithms.plain), "an algorithm with keeps must declare plain")
    others = Algorithms.work, Algorithms.up, Algorithms.down, Algorithms.memory, Algorithms.levels
    for verb in (*others, Algorithms.personal, Algorithms.added_loss, Algorithms.step):
        require(declared(algorithm, verb) is None, f"an algorithm with keeps cannot declare {verb.name}")


CHECKS: tuple[Callable[[Any], None], ...] = (
    what_is_kept_are_tensors_of_the_model_the_same_each_time,
    one_that_keeps_changes_and_exchanges_nothing_besides,
)
