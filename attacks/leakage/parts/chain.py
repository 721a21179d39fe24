"""A model as a chain of layers, each of which can be undone: what runs in which order, and on what shapes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ....core.errors import PluginError
from ....core.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Callable

    from ....core.observation import Observation

_Pair = tuple["Callable[[Tensor, nn.Module], Tensor]", "Callable[[Tensor, nn.Module], Tensor]"]


def _unit(a: Tensor) -> Tensor:
    return a.clamp(1e-9, 1 - 1e-9)


def _steepness(a: Tensor, module: nn.Module) -> Tensor:
    """Return the slope of a leaky ReLU where it puts out a."""
    return torch.ones_like(a).where(a > 0, torch.tensor(module.negative_slope, dtype=a.dtype))


ACTIVATIONS: dict[type[nn.Module], _Pair] = {
    nn.Sigmoid: (lambda a, _: _unit(a).logit(), lambda a, _: _unit(a) * (1 - _unit(a))),
    nn.Tanh: (lambda a, _: (2 * _unit((a + 1) / 2) - 1).atanh(), lambda a, _: 1 - a.clamp(-1, 1).square()),
    nn.LeakyReLU: (lambda a, m: a / _steepness(a, m), lambda a, m: _steepness(a, m)),
    nn.Identity: (lambda a, _: a, lambda a, _: torch.ones_like(a)),
}
"""Of each activation what undoes it, and its slope, both as functions of its output."""


@dataclass(frozen=True)
class Link:
    """One layer of the chain.

    Attributes:
        name: Its name in the model.
        module: The layer.
        entered: Shape of its input, without the batch.
        left: Shape of its output, likewise.
    """

    name: str
    module: nn.Module
    entered: tuple[int, ...]
    left: tuple[int, ...]


def chain_of(observation: Observation, who: str) -> tuple[list[Link], Tensor, Tensor]:
    """Return the layers in order, and the slope and offset of what enters the first, as maps of x.

    Returns:
        The layers, reshaping ones left out; and slope and offset, both of the shape of one input.

    Raises:
        PluginError: A layer that cannot be undone, or that does not follow the one before it; or what
            precedes the first is no affine map of each value alone.
    """
    model = copy.deepcopy(observation.model).double().eval()
    runs: list[tuple[str, nn.Module, Tensor, Tensor]] = []
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda m, given, out, name=name: runs.append((name, m, given[0].detach(), out.detach()))
            )
    shape = observation.input_shape
    drawn = torch.from_numpy(generator(0, "chain").uniform(0.1, 0.9, shape))
    probe = torch.stack([torch.zeros(shape).double(), torch.ones(shape).double(), drawn])
    with torch.no_grad():
        logits = model(probe)
    runs = [run for run in runs if not isinstance(run[1], nn.Flatten | nn.Unflatten)]
    links = [Link(name, m, tuple(a.shape[1:]), tuple(b.shape[1:])) for name, m, a, b in runs]
    before = runs[0][2] if runs else probe
    for (name, _, given, _), output in zip(runs, [before, *(run[3] for run in runs)], strict=False):
        if given.numel() != output.numel() or not torch.allclose(given.flatten(), output.flatten()):
            raise PluginError(f"{who} needs layers that follow each other; something stands before {name}")
    _refuse_links(links, who)
    if not torch.allclose(runs[-1][3], logits):
        raise PluginError(f"{who} needs a model that ends with its last layer, {links[-1].name}")
    if before.numel() != probe.numel():
        raise PluginError(f"{who} needs a first layer that sees all {drawn.numel()} values of an input")
    offset, slope = before[0].reshape(shape), (before[1] - before[0]).reshape(shape)
    if bool((slope == 0).any()) or not torch.allclose(
        before[2].reshape(shape), offset + slope * drawn, atol=1e-6
    ):
        raise PluginError(f"{who} needs a first layer whose input is an affine map of each value of x alone")
    return links, slope, offset


def _refuse_links(links: list[Link], who: str) -> None:
    """Refuse layers that cannot be undone one by one."""
    names = [link.name for link in links]
    last = links[-1].module if links else None
    if not isinstance(last, nn.Linear) or last.bias is None:
        raise PluginError(f"{who} needs a linear last layer with a bias, the model ends with {last}")
    if len(set(names)) < len(names):
        raise PluginError(f"{who} needs layers that are used once each")
    for link in links:
        module = link.module
        if isinstance(module, nn.Conv2d):
            if module.groups != 1 or module.padding_mode != "zeros" or isinstance(module.padding, str):
                raise PluginError(
                    f"{who} undoes plain convolutions with zero padding, not {link.name}: {module}"
                )
            equations = link.left[0] * link.left[1] * link.left[2] + module.weight.numel()
            unknowns = link.entered[0] * link.entered[1] * link.entered[2]
            if equations < unknowns:
                raise PluginError(
                    f"{who} needs as many equations as unknowns: {link.name} gives {equations} for the "
                    f"{unknowns} values that it sees"
                )
        elif not isinstance(module, nn.Linear) and type(module) not in ACTIVATIONS:
            allowed = ", ".join(kind.__name__ for kind in ACTIVATIONS)
            raise PluginError(
                f"{who} undoes Linear, Conv2d and invertible activations ({allowed}), not {link.name}: "
                f"{module}"
            )
