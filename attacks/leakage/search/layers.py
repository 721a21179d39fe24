"""Gradients of several searches at once from what each layer sees, and the slopes of the loss at its output.

All searches' examples go through the model as one batch. A layer's gradient is then, search by search, a
product of its inputs a and slopes d: of a linear layer d^T a, of a convolution the same over all places of
its window. What ``vmap`` makes of a convolution's gradient is a convolution with as many groups as searches,
which is slower.

Source: Goodfellow. Efficient Per-Example Gradient Computations. 2015. arXiv:1510.01799; convolutions as
products: Rochette, Manoel, Tramel. Efficient Per-Example Gradient Computations in Convolutional Neural
Networks. 2019. arXiv:1912.06015
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Pass:
    """What one layer saw and what the loss asks of it, of R searches of B examples.

    Attributes:
        inputs: What it was given.  # [R, B, ...]
        slopes: The derivative of each search's mean loss by what it made of that.  # [R, B, ...]
    """

    inputs: Tensor
    slopes: Tensor


class NotedModel:
    """A model that notes what its layers with parameters see and say; it must be nobody else's.

    Attributes:
        layers: Its linear layers and convolutions, by their path.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._seen = model.requires_grad_(False), dict[str, tuple[Tensor, Tensor]]()
        kinds = nn.Linear, nn.Conv2d
        self.layers = {name: m for name, m in model.named_modules() if isinstance(m, kinds)}
        for name, layer in self.layers.items():
            layer.register_forward_hook(self._noter(name))

    def _noter(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def note(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._seen[name] = (inputs[0], output)

        return note

    def holds(self) -> set[str]:
        """Return the names of the parameters of these layers."""
        return {path_of(name, leaf) for name, m in self.layers.items() for leaf, _ in m.named_parameters()}

    def passes(self, x: Tensor, y: Tensor) -> Mapping[str, Pass]:
        """Return each layer's pass, of examples [R, B, ...] and labels, classes [B] or numbers [R, B, C]."""
        searches, size = x.shape[:2]
        self._seen.clear()
        if not x.requires_grad:
            x = x.detach().requires_grad_()  # slopes need a graph, and parameters have none
        logits = self._model(x.flatten(0, 1))  # [R B, C]
        labels = y.expand(searches, size) if y.ndim == 1 else y
        loss = functional.cross_entropy(logits, labels.flatten(0, 1), reduction="sum") / size
        slopes = torch.autograd.grad(loss, [self._seen[n][1] for n in self.layers], create_graph=True)
        return {
            name: Pass(_apart(self._seen[name][0], searches), _apart(slope, searches))
            for name, slope in zip(self.layers, slopes, strict=True)
        }


def path_of(layer: str, leaf: str) -> str:
    """Return the name of a layer's parameter in the model."""
    return f"{layer}.{leaf}" if layer else leaf


def gradients_by_layer(noted: NotedModel, names: list[str]) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return from examples and labels to the gradients [R, P] of parameters of these names, in their order.

    None where other layers have parameters too, or a convolution is grouped or does not pad with zeros.
    """
    if noted.holds() != set(names) or not all(map(_is_plain, noted.layers.values())):
        return None

    def gradients(x: Tensor, y: Tensor) -> Tensor:
        found = dict[str, Tensor]()
        for name, seen in noted.passes(x, y).items():
            layer = noted.layers[name]
            weight, bias = _linear(seen) if isinstance(layer, nn.Linear) else _convolution(layer, seen)
            found |= {path_of(name, "weight"): weight, path_of(name, "bias"): bias}
        return torch.cat([found[name] for name in names], dim=1)

    return gradients


def _is_plain(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Linear):
        return True
    assert isinstance(layer, nn.Conv2d)
    return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _linear(seen: Pass) -> tuple[Tensor, Tensor]:
    """Return the gradients of weight and bias, a row a search; of one row of inputs an example."""
    a, d = seen.inputs.flatten(2), seen.slopes.flatten(2)  # [R, B, F], [R, B, O]
    return (d.mT @ a).flatten(1), d.sum(dim=1)


def _convolution(layer: nn.Conv2d, seen: Pass) -> tuple[Tensor, Tensor]:
    d = seen.slopes.flatten(3)  # [R, B, O, L]
    windows = functional.unfold(
        seen.inputs.flatten(0, 1),
        layer.kernel_size,
        layer.dilation,
        layer.padding,  # type: ignore[arg-type]
        layer.stride,
    )
    return (d @ _apart(windows, len(d)).mT).sum(dim=1).flatten(1), d.sum(dim=(1, 3))


def _apart(rows: Tensor, searches: int) -> Tensor:
    """Return what stands one search after the other [R B, ...] as [R, B, ...]."""
    return rows.reshape(searches, -1, *rows.shape[1:])
