"""The gradients that dummy examples would give in a client's training, each dropout layer with a given mask.

Source: Scheliga, Maeder, Seeland. Dropout is NOT All You Need to Prevent Gradient Leakage. AAAI 2023.
arXiv:2208.06163
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from ....core.dropout import Call, cannot_mask, dropouts, masked, seen_calls
from ....core.errors import PluginError
from ....core.observation import Observation

MaskedGradients = Callable[[Tensor, Sequence[Tensor], Tensor], Tensor]
"""From examples x [R, B, ...], a mask [R, B, ...] for each call of a dropout layer, and labels [B], to the
gradients of the mean loss [R, P]."""


def mask_calls(observation: Observation) -> list[Call]:
    """Return every call of a dropout layer in a forward pass of the observed model, in its order.

    Raises:
        PluginError: One draws in a way of its own, or not example by example.
    """
    model = copy.deepcopy(observation.model).train()
    if not dropouts(model):
        return []
    blank = torch.full((3, *observation.input_shape), 0.5)
    try:
        why = cannot_mask(model, (blank[:2], blank))
        calls = [] if why else [Call(rate, tuple(shape[1:])) for rate, shape in seen_calls(model, blank)]
    except Exception as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
    if why:
        raise PluginError(f"masks cannot stand in the place of the model's dropout: {why}")
    return calls


def masked_gradients_of(observation: Observation) -> MaskedGradients:
    """Return the gradient of the mean cross-entropy by all parameters, dropout being a product with masks.

    A layer's input is multiplied by m / (1 - p); all else is as in evaluation. It works on a copy of the
    model; several searches are one vectorised computation.
    """
    model = copy.deepcopy(observation.model)
    layers = dropouts(model.train())
    model.eval()
    named = dict(model.named_parameters())
    values = {slot.name: named[slot.name].detach() for slot in observation.layout.parameters}

    def loss(values: dict[str, Tensor], x: Tensor, masks: Sequence[Tensor], y: Tensor) -> Tensor:
        with masked(model, masks, layers):
            return functional.cross_entropy(functional_call(model, values, (x,)), y)

    together = vmap(grad(loss), in_dims=(None, 0, 0, None))

    def gradients(x: Tensor, masks: Sequence[Tensor], y: Tensor) -> Tensor:
        if len(x) > 1:
            found = together(values, x, tuple(masks), y)
            return torch.cat([found[name].flatten(1) for name in values], dim=1)  # [R, P]
        alone = {name: value.requires_grad_() for name, value in values.items()}
        parts = torch.autograd.grad(
            loss(alone, x[0], [mask[0] for mask in masks], y),
            list(alone.values()),
            create_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return torch.cat([part.reshape(-1) for part in parts])[None]

    return gradients
