"""Layers of a model that a defense works on, by their paths."""

from torch import nn

from ....core.errors import PluginError


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that have parameters of their own, by path, in the model's order."""
    return {n: m for n, m in model.named_modules() if any(True for _ in m.parameters(recurse=False))}


def linear_layer(model: nn.Module, name: str, who: str) -> tuple[str, nn.Linear]:
    """Return the path of a linear layer, and the layer; by default ("") the model's last one.

    Raises:
        PluginError: There is none, or it is not linear.
    """
    layers = layers_of(model)
    name = name or next(reversed(layers), "")
    layer = layers.get(name)
    if not isinstance(layer, nn.Linear):
        known = ", ".join(n for n, m in layers.items() if isinstance(m, nn.Linear)) or "none"
        came = f"'{name}' is {'no layer' if layer is None else type(layer).__name__}"
        raise PluginError(f"{who} needs a linear layer: {came}; linear layers: {known}")
    return name, layer
