"""What every model owes. Each check raises ``PluginError`` and says what is broken."""

import random
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ...core.contracts import ModelFactory
from ...core.layout import Layout
from ...core.registry import require
from ...core.seeds import generator, seeded_torch

SHAPES = ((1, 28, 28), (3, 32, 32), (1, 8, 8), (20,), (6, 10))
"""The inputs on which a model is tried, in this order: the first that it accepts will do."""


def built(plugin: ModelFactory, num_classes: int = 10, seed: int = 0) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a model, and the first of ``SHAPES`` for which it could be built."""
    reasons = []
    for shape in SHAPES:
        try:
            with seeded_torch(generator(seed, "contract")):
                model = plugin.build(shape, num_classes)
        except Exception as error:
            reasons.append(f"{list(shape)}: {error}")
            continue
        require(
            isinstance(model, nn.Module), f"build must return a torch.nn.Module, got {type(model).__name__}"
        )
        return model, shape
    require(False, f"build takes none of the usual inputs ({'; '.join(reasons)})")
    raise AssertionError  # not reached


def logits_are_finite_one_a_class(plugin: ModelFactory) -> None:
    for num_classes in (2, 10):
        model, shape = built(plugin, num_classes)
        logits = model(torch.rand(3, *shape, generator=torch.Generator().manual_seed(0)))
        came = tuple(logits.shape)
        require(
            came == (3, num_classes),
            f"3 examples of {num_classes} classes must give {(3, num_classes)}, got {came}",
        )
        require(bool(logits.isfinite().all()), "logits must be finite")


def every_parameter_learns(plugin: ModelFactory) -> None:
    model, shape = built(plugin)
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    require(bool(trainable), "a model needs at least one trainable parameter")
    loss = nn.functional.cross_entropy(model.eval()(x), torch.tensor([0, 1, 2]))
    gradients = torch.autograd.grad(loss, list(trainable.values()), allow_unused=True)
    reached = (g is not None and bool(g.isfinite().all()) for g in gradients)
    idle = [name for name, learns in zip(trainable, reached, strict=True) if not learns]
    require(not idle, f"no finite gradient reaches {', '.join(idle)}")


def weights_come_from_torchs_generator_alone(plugin: ModelFactory) -> None:
    first, _ = built(plugin)
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.random()  # a model that draws from these two will now differ
    np.random.random()  # noqa: NPY002
    again, _ = built(plugin)
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    vectors = [Layout.of(m).flatten(dict(m.named_parameters())) for m in (first, again)]
    require(torch.equal(*vectors), "the same stream must give the same weights")


CHECKS: tuple[Callable[[ModelFactory], None], ...] = (
    logits_are_finite_one_a_class,
    every_parameter_learns,
    weights_come_from_torchs_generator_alone,
)
