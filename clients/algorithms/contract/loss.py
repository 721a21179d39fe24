"""What a rule owes that adds a term to the loss of every example: tried on four of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from ....core.contracts import Activations
from ....core.declarations import Algorithms, declared
from ....core.registry import require

_B, _C, _F = 4, 3, 5
_TARGETS = torch.tensor([0, 2, 1, 1])


def _models(algorithm: Any, seed: int = 0) -> tuple[Activations, dict[str, Activations]]:
    """Return what the local and the frozen models make of four examples."""
    stream = torch.Generator().manual_seed(seed)
    names = ("local", *declared(algorithm, Algorithms.frozen_models))
    made = {
        name: Activations(
            torch.randn(_B, _C, generator=stream).requires_grad_(name == "local"),
            torch.randn(_B, _F, generator=stream).requires_grad_(name == "local"),
        )
        for name in names
    }
    return made.pop("local"), made


def what_is_added_is_a_number_an_example(algorithm: Any) -> None:
    value = declared(algorithm, Algorithms.added_loss)
    if value is None:
        return
    rule = declared(algorithm, Algorithms.work) is None
    require(rule, "an algorithm with work adds nothing to a loss: leave added_loss out")
    found = value(*_models(algorithm), _TARGETS)
    fits = isinstance(found, Tensor) and found.shape == (_B,) and found.dtype == torch.float32
    require(fits, f"added_loss must return float32 [{_B}] for {_B} examples, got {_kind(found)}")
    require(bool(found.isfinite().all()), "added_loss must be finite")


def what_is_added_looks_at_one_example_at_a_time(algorithm: Any) -> None:
    """A mechanism that clips example by example counts on it."""
    value = declared(algorithm, Algorithms.added_loss)
    if value is None:
        return
    local, frozen = _models(algorithm)
    together = value(local, frozen, _TARGETS)
    alone = [
        value(_row(local, n), {k: _row(v, n) for k, v in frozen.items()}, _TARGETS[n : n + 1])
        for n in range(_B)
    ]
    same = torch.allclose(together, torch.cat(alone), rtol=1e-5, atol=1e-6)
    require(same, "added_loss must give every example what it gives that example alone")


def what_is_added_can_be_stacked_and_differentiated(algorithm: Any) -> None:
    value = declared(algorithm, Algorithms.added_loss)
    if value is None:
        return
    pairs = [_models(algorithm, seed) for seed in (0, 1)]
    tensors = [[one.outputs, one.features, *_flat(others)] for one, others in pairs]
    names = list(pairs[0][1])

    def one(*given: Tensor) -> Tensor:
        others = {name: Activations(*given[2 + 2 * n : 4 + 2 * n]) for n, name in enumerate(names)}
        found: Tensor = value(Activations(*given[:2]), others, _TARGETS)
        return found

    stacked = vmap(one)(*(torch.stack(column) for column in zip(*tensors, strict=True)))
    alone = torch.stack([one(*given) for given in tensors])
    require(
        torch.allclose(stacked, alone, rtol=1e-5, atol=1e-6), "added_loss must treat a stack as each alone"
    )
    local = pairs[0][0]
    gradients = torch.autograd.grad(alone[0].sum(), (local.outputs, local.features), allow_unused=True)
    finite = all(bool(g.isfinite().all()) for g in gradients if g is not None)
    require(finite, "the gradient of added_loss must be finite")


def _flat(frozen: dict[str, Activations]) -> list[Tensor]:
    return [tensor for one in frozen.values() for tensor in (one.outputs, one.features)]


def _row(one: Activations, row: int) -> Activations:
    return Activations(one.outputs[row : row + 1], one.features[row : row + 1])


def _kind(found: object) -> str:
    return f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__


CHECKS: tuple[Callable[[Any], None], ...] = (
    what_is_added_is_a_number_an_example,
    what_is_added_looks_at_one_example_at_a_time,
    what_is_added_can_be_stacked_and_differentiated,
)
