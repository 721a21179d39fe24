"""The gradients that dummy examples would give, for several searches at once."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from ....core.errors import PluginError
from ....core.observation import Observation

Gradients = Callable[[Tensor, Tensor], Tensor]
"""From examples x [R, B, ...] of R searches, and labels y, to the gradients of the mean loss [R, P].

Labels are class numbers [B], the same for all searches, or probabilities [R, B, C].
"""


def gradients_of(observation: Observation) -> Gradients:
    """Return the gradient of the observed model's mean cross-entropy by all its parameters.

    It works on ``attacked_model``. Several searches are one vectorised computation where the model allows it,
    else one after the other.
    """
    model = attacked_model(observation)
    named = dict(model.named_parameters())
    parameters = {slot.name: named[slot.name].requires_grad_() for slot in observation.layout.parameters}
    together = _together(model, parameters)
    vectorises = True

    def gradients(x: Tensor, y: Tensor) -> Tensor:
        nonlocal vectorises
        if len(x) > 1 and vectorises:
            try:
                return together(x, y)
            except (RuntimeError, NotImplementedError):
                vectorises = False  # the loop below says what is wrong, if anything is but vmap
        labels = y if y.ndim == 3 else y.expand(len(x), -1)
        return torch.stack([_alone(model, parameters, x[r], labels[r]) for r in range(len(x))])

    return gradients


def attacked_model(observation: Observation) -> nn.Module:
    """Return a copy of the observed model in evaluation mode.

    Batch norms of a training model normalise by the batch that they are given, as they did for the client.
    """
    model = copy.deepcopy(observation.model)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            module.running_mean = module.running_var = None
    return model.eval()


def one_gradient_of(observation: Observation) -> Callable[[Tensor, Tensor], Tensor]:
    """Return ``gradients_of`` for one search alone, which can be differentiated forwards too.

    From examples [B, ...] and labels, class numbers [B] or numbers [B, C], to the gradient [P].
    """
    model = attacked_model(observation)
    named = dict(model.named_parameters())
    return _functional(model, {slot.name: named[slot.name] for slot in observation.layout.parameters})


def _functional(model: nn.Module, parameters: Mapping[str, Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    values = {name: p.detach() for name, p in parameters.items()}

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(model, values, (x,)), y)

    def gradient(x: Tensor, y: Tensor) -> Tensor:
        found = grad(loss)(values, x, y)
        return torch.cat([found[name].flatten() for name in values])  # [P]

    return gradient


def _together(model: nn.Module, parameters: Mapping[str, Tensor]) -> Gradients:
    gradient = _functional(model, parameters)

    def together(x: Tensor, y: Tensor) -> Tensor:
        return vmap(gradient, in_dims=(0, 0 if y.ndim == 3 else None))(x, y)  # [R, P]

    return together


def _alone(model: nn.Module, parameters: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of one search's examples [B, ...].  # [P]"""
    loss = functional.cross_entropy(model(x), y)
    found = torch.autograd.grad(
        loss, list(parameters.values()), create_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([g.reshape(-1) for g in found])


def refuse_unsearchable(observation: Observation) -> None:
    """Refuse a model with which no search can move inputs.

    Raises:
        PluginError: The loss has no second derivative by parameters and inputs (inputs are rounded to tokens,
            an operation without one).
    """
    blank = replace(observation, update=torch.zeros_like(observation.update))
    size = 1 if observation.knowledge.batch_size == 1 else 2  # batch norms may need two
    x = torch.full((1, size, *observation.input_shape), 0.5, requires_grad=True)
    try:
        with torch.enable_grad():
            length = gradients_of(blank)(x, torch.zeros(size, dtype=torch.long)).square().sum()
            torch.autograd.grad(length, x)
    except Exception as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise PluginError(
            "gradient matching needs a model that can be differentiated twice, by parameters and then by "
            f"inputs, and this one cannot: {why}"
        ) from error
