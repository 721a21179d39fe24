"""A model as a chain: linear layers and convolutions, an invertible activation behind each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ....core.errors import PluginError

if TYPE_CHECKING:
    from ....core.observation import Observation

_EDGE = 1e-9  # how near to the ends of an activation's values an inverse is taken


@dataclass(frozen=True)
class Activation:
    """An activation by its values: both functions take what it put out.

    Attributes:
        inverse: What went in.
        slope: Its derivative there.
    """

    inverse: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


NOTHING = Activation(lambda a: a, torch.ones_like)


def _activation(module: nn.Module) -> Activation | None:
    """Return what inverts an activation, or None of one that is not known to be invertible."""
    if isinstance(module, nn.Sigmoid):
        return Activation(lambda a: a.clamp(_EDGE, 1 - _EDGE).logit(), lambda a: a * (1 - a))
    if isinstance(module, nn.Tanh):
        return Activation(lambda a: a.clamp(_EDGE - 1, 1 - _EDGE).atanh(), lambda a: 1 - a.square())
    if isinstance(module, nn.LeakyReLU) and module.negative_slope > 0:
        low = module.negative_slope
        return Activation(
            lambda a: torch.where(a < 0, a / low, a),
            lambda a: torch.where(a < 0, low, 1.0).to(a.dtype),
        )
    return None


@dataclass(frozen=True)
class Link:
    """A linear layer or convolution, in float64.

    Attributes:
        name: Its tensors' prefix in the layout.
        layer: The layer.
        input_shape: What goes in, without the batch.
        output_shape: What comes out, likewise.
        activation: What stands behind it.
    """

    name: str
    layer: nn.Linear | nn.Conv2d
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    activation: Activation = NOTHING


@dataclass(frozen=True)
class Chain:
    """A model's layers, from the first to the last.

    Attributes:
        links: The layers; behind the last stands nothing. slope, offset: What the first one sees is slope x +
        offset, with x the model's input.  # [*input_shape]
    """

    links: tuple[Link, ...]
    slope: Tensor
    offset: Tensor


def chain_of(observation: Observation, who: str) -> Chain:
    """Return the observed model as a chain.

    Raises:
        PluginError: It is none: another kind of layer, one that is used twice or not on what the layer before
            put out, an activation that is not invertible, or inputs that are not scaled one by one.
    """
    model = copy.deepcopy(observation.model).eval().double()
    shape = observation.input_shape
    probe = torch.stack([torch.zeros(shape), torch.ones(shape), torch.linspace(0.1, 0.9, 1).expand(shape)])
    steps = _steps(model, probe.double())
    if not steps:
        raise PluginError(f"{who} needs a chain of layers, the model has none")
    before = steps[0][2]
    entered = before.reshape(probe.shape) if before.numel() == probe.numel() else before
    offset, slope = entered[0], entered[1] - entered[0]
    plain = entered.shape == probe.shape and bool((slope != 0).all())
    if not plain or not torch.allclose(entered[2], offset + slope * probe[2].double()):
        raise PluginError(f"{who} needs a first layer whose input is an affine map of each value of x alone")
    links = list[Link]()
    for name, module, came, left in steps:
        if came.numel() != before.numel() or not torch.equal(came.flatten(), before.flatten()):
            raise PluginError(f"{who} needs layers that stand one behind the other; {name} does not")
        before = left
        links = _extended(links, name, module, came, left, who)
    if not links or links[-1].activation is not NOTHING or not isinstance(links[-1].layer, nn.Linear):
        raise PluginError(f"{who} needs a last layer that is linear")
    return Chain(tuple(links), slope, offset)


def _steps(model: nn.Module, x: Tensor) -> list[tuple[str, nn.Module, Tensor, Tensor]]:
    """Return (name, module, what came in, what it put out) of the innermost modules, as they are used."""
    found = list[tuple[str, nn.Module, Tensor, Tensor]]()

    def noting(name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda m, came, left: found.append((name, m, came[0], left)))

    for name, module in model.named_modules():
        if next(module.children(), None) is None:
            noting(name, module)
    with torch.no_grad():
        out = model(x)
    if found and not (isinstance(out, Tensor) and torch.equal(out.flatten(), found[-1][3].flatten())):
        return []
    return found


def _extended(
    links: list[Link], name: str, module: nn.Module, came: Tensor, left: Tensor, who: str
) -> list[Link]:
    """Return the links with one more layer, or with what it does behind the last one."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        zeros = not isinstance(module, nn.Conv2d) or module.padding_mode == "zeros"
        if zeros and (isinstance(module, nn.Conv2d) or came.ndim == 2):
            prefix = f"{name}." if name else ""
            return [*links, Link(prefix, module, tuple(came.shape[1:]), tuple(left.shape[1:]))]
    elif came.numel() == left.numel() and torch.equal(came.flatten(), left.flatten()):
        return links  # it flattens, or drops nothing now
    elif links and links[-1].activation is NOTHING and (found := _activation(module)) is not None:
        last = links[-1]
        return [*links[:-1], Link(last.name, last.layer, last.input_shape, last.output_shape, found)]
    raise PluginError(
        f"{who} needs linear layers and convolutions with a sigmoid, tanh or leaky ReLU behind each, "
        f"the model has {module}"
    )
