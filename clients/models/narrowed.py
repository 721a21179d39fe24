"""A model's leading channels: the same layers, each with the first of its outputs alone.

Source: Diao, Ding, Tarokh. HeteroFL: Computation and Communication Efficient Federated Learning for
Heterogeneous Clients. ICLR 2021, Section 3. arXiv:2010.01264; layers and their order as in the authors' code.
"""

from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...core.contracts import Part
from ...core.errors import ScenarioError
from ...core.layout import Layout
from ...core.seeds import generator
from .normalized import Normalized

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_LAYERS = (nn.Linear, *_CONVOLUTIONS, nn.GroupNorm)
_ALLOWED = "nn.Linear, convolutions, nn.GroupNorm and layers without parameters, one after the other"
_OFF = 1e-4  # what rounding may add to outputs of about 1


class Scaler(nn.Module):
    """Divide by the rate in training, and leave inputs as they are in evaluation.

    A narrow layer's outputs are then as large as the wide one's would be.

    Attributes:
        rate: The share of outputs that the layer before it has, above 0 and at most 1.
        always: Whether it divides in evaluation, too: for who wants a client's gradients in that mode.
    """

    def __init__(self, rate: float, always: bool = False) -> None:
        super().__init__()
        self.rate, self.always = rate, always

    def forward(self, x: Tensor) -> Tensor:
        return x / self.rate if self.training or self.always else x


@dataclass
class _Walk:
    """How far a walk through the layers has come.

    Attributes:
        rate: The share of each hidden layer's outputs that is kept.
        scale: Whether hidden layers are followed by a ``Scaler``.
        last: The classifier, which keeps all of its outputs.
        width, kept: The outputs of the layer before, and how many of them are kept; 0 and 0: the inputs.
        present: By parameter of the whole model, which of its entries are kept.
    """

    rate: float
    scale: bool
    last: nn.Module
    width: int
    kept: int
    present: dict[str, Tensor]


def narrowed(model: nn.Module, rate: float, input_shape: Sequence[int], scale: bool = True) -> Part:
    """Return the model of the first ``ceil(rate * width)`` outputs of every hidden layer.

    A layer's inputs are the outputs that are kept of the layer before. The last layer keeps all of its
    outputs. Rate 1 is a copy.

    Args:
        model: The whole model, in training mode: layers in ``nn.Sequential``, behind ``Normalized`` or not.
        rate: Above 0 and at most 1.
        input_shape: The shape of one example.
        scale: Whether hidden layers of a rate below 1 are followed by a ``Scaler``.

    Raises:
        ScenarioError: A model with layers for which there is no rule.
    """
    layers = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
    walk = _Walk(rate, scale and rate < 1, layers[-1], 0, 0, {})
    small = _narrow(model, "", walk)
    for name, parameter in model.named_parameters():
        small.get_parameter(name).requires_grad_(parameter.requires_grad)
    named = {slot.name: walk.present[slot.name].float() for slot in Layout.of(model).parameters}
    part = Part(small.train(model.training), Layout.of(model).flatten(named).bool())
    _check(model, part, input_shape, rate)
    return part


def classifier(model: nn.Module) -> tuple[str, nn.Linear]:
    """Return the path of the model's last layer with parameters, and the layer.

    Raises:
        ScenarioError: It is no ``nn.Linear``.
    """
    name, last = [
        (n, m) for n, m in model.named_modules() if next(m.parameters(recurse=False), None) is not None
    ][-1]
    if not isinstance(last, nn.Linear):
        raise ScenarioError(f"the model's last layer is a {type(last).__name__}, must be an nn.Linear")
    return name, last


def _narrow(module: nn.Module, path: str, walk: _Walk) -> nn.Module:
    """Return a module of the small model, and note which of its parameters' entries are kept."""
    if isinstance(module, Normalized):
        net = _narrow(module.net, _below(path, "net"), walk)
        return Normalized(net, tuple(module.mean.tolist()), tuple(module.std.tolist()))
    if type(module) is nn.Sequential:
        children: OrderedDict[str, nn.Module] = OrderedDict()
        for name, child in module.named_children():
            children[name] = _narrow(child, _below(path, name), walk)
            if (
                walk.scale
                and isinstance(child, nn.Linear | nn.modules.conv._ConvNd)
                and child is not walk.last
            ):
                children[f"{name} scaler"] = Scaler(walk.rate)
        return nn.Sequential(children)
    if not any(True for _ in module.parameters()) and not any(True for _ in module.buffers()):
        return deepcopy(module)
    divided = isinstance(module, _CONVOLUTIONS) and module.groups != 1
    if not isinstance(module, _LAYERS) or divided or next(module.children(), None) is not None:
        raise ScenarioError(f"there is no rule for the channels of {_named(module)}; allowed: {_ALLOWED}")
    return _group_norm(module, path, walk) if isinstance(module, nn.GroupNorm) else _layer(module, path, walk)


def _layer(module: nn.Module, path: str, walk: _Walk) -> nn.Module:
    """Return a linear layer or a convolution between fewer channels."""
    weight = module.get_parameter("weight")
    outputs, inputs = weight.shape[:2]
    if walk.width and inputs % walk.width:
        raise ScenarioError(f"{_named(module)} takes {inputs} inputs of {walk.width} channels before it")
    kept_in = inputs // walk.width * walk.kept if walk.width else inputs  # behind Flatten, some a channel
    kept = outputs if module is walk.last else max(1, ceil(walk.rate * outputs - 1e-9))
    small = deepcopy(module)
    names = (
        ("in_features", "out_features") if isinstance(module, nn.Linear) else ("in_channels", "out_channels")
    )
    for name, size in zip(names, (kept_in, kept), strict=True):
        setattr(small, name, size)
    _keep(small, path, walk, kept, kept_in)
    walk.width, walk.kept = outputs, kept
    return small


def _group_norm(module: nn.GroupNorm, path: str, walk: _Walk) -> nn.Module:
    """Return a group norm of fewer channels in as many groups."""
    if module.num_channels != walk.width or walk.kept % module.num_groups:
        raise ScenarioError(
            f"{_named(module)} cannot have {walk.kept} of {walk.width} channels (rate {walk.rate:g}) in "
            f"{module.num_groups} groups; choose widths and rates of which each group has as many"
        )
    small = deepcopy(module)
    small.num_channels = walk.kept
    _keep(small, path, walk, walk.kept)
    return small


def _keep(small: nn.Module, path: str, walk: _Walk, *sizes: int) -> None:
    """Keep the leading entries of a layer's own parameters."""
    for name, parameter in list(small.named_parameters(recurse=False)):
        box = tuple(slice(size) for size in sizes[: parameter.ndim])
        there = torch.zeros(parameter.shape, dtype=torch.bool)
        there[box] = True
        walk.present[_below(path, name)] = there
        setattr(small, name, nn.Parameter(parameter.detach()[box].clone()))


def _check(model: nn.Module, part: Part, input_shape: Sequence[int], rate: float) -> None:
    """Raise ``ScenarioError`` unless the small model is the whole one without the parameters that are absent.

    Outside of training, on two examples. Behind a norm, whose statistics follow from all channels, shapes
    alone are compared.
    """
    stream, layout = generator(0, "narrowed"), Layout.of(model)
    params = torch.from_numpy(0.3 * stream.standard_normal(layout.num_parameters)).float()  # [P]
    x = torch.from_numpy(stream.random((2, *input_shape))).float()
    try:
        wide = _outputs(model, layout, params * part.present, x)
        small = _outputs(part.model, Layout.of(part.model), params[part.present], x)
    except RuntimeError as error:
        what = str(error).splitlines()[0]
        raise ScenarioError(
            f"the model has no narrow version at rate {rate:g}: {what}; allowed: {_ALLOWED}"
        ) from error
    exact = not any(isinstance(m, nn.GroupNorm) for m in model.modules())
    off = (
        float((wide - small).abs().max() / wide.abs().max().clamp(min=1))
        if wide.shape == small.shape
        else np.inf
    )
    if off > (_OFF if exact else 1e30):
        raise ScenarioError(
            f"the model's first channels alone (rate {rate:g}) do not give what the whole model gives "
            f"without the others: a layer mixes or moves channels; allowed: {_ALLOWED}"
        )


def _outputs(model: nn.Module, layout: Layout, params: Tensor, x: Tensor) -> Tensor:
    training = model.training
    try:
        with torch.no_grad():
            found: Tensor = functional_call(model.eval(), layout.views(params), (x,))
            return found
    finally:
        model.train(training)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _named(module: nn.Module) -> str:
    return type(module).__name__
