"""Whether a client's first local step goes along the gradient of the loss that training names alone.

Only then is an update of one step a multiple of that gradient, as attacks that rebuild examples have it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...clients.training.added_loss import RECEIVED
from ...core.contracts import Activations, Groups, LocalRule
from ...core.declarations import Algorithms, declared


def starts_plain(rule: LocalRule, besides: Sequence[Groups] = (), received: Tensor | None = None) -> bool:
    """Return whether it does.

    Args:
        rule: The algorithm.
        besides: What a rule that exchanges more than parameters is given besides in that step.  # [P] each
        received: The parameters that the client starts from, to be compared with what it remembers.  # [P]
    """
    length = next((len(vector) for groups in besides for vector in groups.values()), 3)
    gradient, params = torch.linspace(-2, 0.5, length), torch.linspace(1, -3, length)
    direction = rule.correct(gradient.clone(), params, params.clone(), *besides)
    own: Groups = besides[1] if besides else {}
    alike = {name for name, kept in own.items() if received is not None and torch.equal(kept, received)}
    return torch.equal(direction, gradient) and _adds_no_gradient(rule, {RECEIVED, *alike})


def _adds_no_gradient(rule: LocalRule, alike: set[str]) -> bool:
    """Return whether nothing is added to the gradient where the frozen models ``alike`` are the local one."""
    value = declared(rule, Algorithms.added_loss)
    if value is None:
        return True
    outputs, features = torch.linspace(-1, 2, 12).view(3, 4), torch.linspace(0.5, 3, 15).view(3, 5)
    local = Activations(outputs.clone().requires_grad_(), features.clone().requires_grad_())
    same, other = Activations(outputs, features), Activations(-outputs, features.flip(1))
    frozen = {name: same if name in alike else other for name in declared(rule, Algorithms.frozen_models)}
    with torch.enable_grad():
        total = value(local, frozen, torch.arange(3)).sum()
        found = torch.autograd.grad(total, (local.outputs, local.features), allow_unused=True)
    return not any(bool(gradient.any()) for gradient in found if gradient is not None)
