"""What every model owes. Each check raises ``PluginError`` and says what is broken."""

import random
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from ...core.contracts import ModelFactory
from ...core.layout import Layout
from ...core.registry import require
from ...core.seeds import generator, seeded_torch
from .build import told_tokens

SHAPES = ((1, 28, 28), (3, 32, 32), (1, 8, 8), (20,), (6, 10))
"""The inputs on which a model is tried, in this order: the first that it accepts will do."""
TOKENS = 12  # that a model is told of which asks for ``num_tokens``; more than there are classes


def built(plugin: ModelFactory, num_classes: int = 10, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Return a model for the first of ``SHAPES`` for which it could be built, and three inputs of it.

    They are floats; or for a model that takes none, tokens below ``num_classes``, or below ``TOKENS`` for one
    that asks how many there are.
    """
    reasons, told = [], told_tokens(plugin.build, TOKENS)
    for shape in SHAPES:
        try:
            with seeded_torch(generator(seed, "contract")):
                model = plugin.build(shape, num_classes, **told)
        except Exception as error:
            reasons.append(f"{list(shape)}: {error}")
            continue
        require(
            isinstance(model, nn.Module), f"build must return a torch.nn.Module, got {type(model).__name__}"
        )
        stream = torch.Generator().manual_seed(0)
        floats = torch.rand(3, *shape, generator=stream)
        tokens = torch.randint(0, TOKENS if told else num_classes, (3, *shape), generator=stream)
        return model, floats if not _takes(model, tokens) or _takes(model, floats) else tokens
    require(False, f"build takes none of the usual inputs ({'; '.join(reasons)})")
    raise AssertionError  # not reached


def _takes(model: nn.Module, x: Tensor) -> bool:
    try:
        with torch.no_grad(), seeded_torch(generator(0, "contract")):
            deepcopy(model)(x)
    except Exception:
        return False
    return True


def logits_are_finite_one_a_class(plugin: ModelFactory) -> None:
    """Of an example [C], or of a sequence's every position [S, C]."""
    for num_classes in (2, 10):
        model, x = built(plugin, num_classes)
        logits = model(x)
        came = tuple(logits.shape)
        allowed = [(3, num_classes), *([(*x.shape, num_classes)] if x.dtype == torch.int64 else [])]
        require(
            came in allowed,
            f"3 examples of {num_classes} classes must give {' or '.join(map(str, allowed))}, got {came}",
        )
        require(bool(logits.isfinite().all()), "logits must be finite")


def every_parameter_learns(plugin: ModelFactory) -> None:
    model, x = built(plugin)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    require(bool(trainable), "a model needs at least one trainable parameter")
    logits = model.eval()(x).flatten(0, -2)
    loss = nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 10)
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
