"""GradDefense: noise on some slices of an update, cut so that each is as sensitive to the examples.

Source: Wang, Guo, Xie, Qi. Protect Privacy from Gradient Leakage Attack in Federated Learning. INFOCOM 2022,
and the authors' code (perturb.py, sensitivity.py). The paper itself was not read: what stands here follows
the code.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ...core.contracts import BlockVisit
from ...core.errors import PluginError
from .parts.loss import loss_at
from .parts.noise import Array


@dataclass(frozen=True)
class GradDefense:
    """Cut an update into slices of equal sensitivity, and noise some of them, drawn anew in every round.

    A tensor's sensitivity is || d (sum of its gradient) / d x ||, the mean over examples, at the parameters
    that clients received; its entries share it evenly. Slices are runs of entries in the layout's order.

    Reconstructions: the authors measure sensitivity on a root set of public examples, here it is each
    client's first batch; they cut at multiples of the tensors' greatest common divisor, here at any entry.
    Their denoising of what was noised is left out: it is arithmetic on what is let out, which anybody may do.

    It looks at examples, and nothing bounds what one client changes: no differential privacy.

    Attributes:
        slices: How many, at least 1.
        perturbed: How many of them are noised, between 0 and ``slices``.
        noise_std: Their noise, in the update's units, at least 0. The authors' 0.01 is of gradients: of an
            update of one step of SGD, lr times that.
    """

    slices: int = 10
    perturbed: int = 5
    noise_std: float = 0.01

    adaptive: ClassVar[Mapping[str, object]] = {"name": "bayes", "likelihood": "laplace"}

    def __post_init__(self) -> None:
        if self.slices < 1:
            raise ValueError(f"slices must be at least 1, got {self.slices}")
        if not 0 <= self.perturbed <= self.slices:
            raise ValueError(f"perturbed must be between 0 and slices = {self.slices}, got {self.perturbed}")
        if not (self.noise_std >= 0 and isfinite(self.noise_std)):
            raise ValueError(f"noise_std must be at least 0 and finite, got {self.noise_std}")

    @property
    def passive(self) -> bool:
        """Whether no noise is added."""
        return self.noise_std == 0 or self.perturbed == 0

    def check(self, model: nn.Module, input_shape: Sequence[int]) -> None:
        x, model = torch.full((2, *input_shape), 0.5), copy.deepcopy(model).eval()
        params = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        try:
            with torch.no_grad():
                outputs = model(x)
            _sensitivities(model, params, x, torch.zeros(len(outputs), *outputs.shape[1:-1]).long())
        except Exception as error:
            why = (str(error) or type(error).__name__).splitlines()[0]
            raise PluginError(
                f"GradDefense needs the derivatives of a model's gradient, by its inputs: {why}"
            ) from error

    def change(self, update: Tensor, visit: BlockVisit) -> Tensor:
        params = visit.layout.views(visit.received)
        noise = np.zeros(tuple(update.shape), dtype=np.float32)
        for row in range(len(update)):
            x, y = visit.batch(row)
            found = _sensitivities(visit.model, params, x, y) if len(y) else torch.zeros(len(params))
            stream, slices = visit.stream(row), self._slices(found, [p.numel() for p in params.values()])
            chosen = np.isin(slices, stream.permutation(self.slices)[: self.perturbed])
            noise[row] = stream.standard_normal(len(slices)) * self.noise_std * chosen
        return update + torch.from_numpy(noise).to(update.device)

    def _slices(self, sensitivities: Tensor, sizes: Sequence[int]) -> Array:
        """Return the number of the slice that each entry is in; of equal length where nothing is sensitive.

        Args:
            sensitivities: Of the tensors.  # [T]
            sizes: How many entries each of them has.
        """
        shares = np.repeat(sensitivities.double().cpu().numpy() / sizes, sizes)  # [P]
        if not (np.isfinite(shares).all() and shares.sum() > 0):
            shares = np.ones(len(shares))
        middles = shares.cumsum() - shares / 2
        found: Array = (middles / shares.sum() * self.slices).astype(np.int64)
        return found.clip(max=self.slices - 1)


def _sensitivities(model: nn.Module, params: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return || d (sum of a tensor's gradient) / d x ||, the mean over examples.  # [T]

    Raises:
        PluginError: Nothing of the gradient follows from the inputs.
        RuntimeError: There are no such derivatives.
    """
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        leaves = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
        gradients = torch.autograd.grad(
            loss_at(model, leaves, x, y), list(leaves.values()), create_graph=True
        )
        slopes = [torch.autograd.grad(g.sum(), x, retain_graph=True, allow_unused=True)[0] for g in gradients]
    if all(slope is None for slope in slopes):
        raise PluginError("there are none: inputs are rounded to tokens")
    nothing = torch.zeros_like(x)
    norms = [(nothing if slope is None else slope).flatten(1).norm(dim=1).mean() for slope in slopes]
    return torch.stack(norms).detach()
