"""A certificate of norm clipping: how far a linear model's parameters must move to change a prediction.

Source: Xu et al. Automatic Perturbation Analysis for Scalable Certified Robustness and Beyond. NeurIPS 2020
(bounds under perturbed weights; abstract). arXiv:2002.12920. The closed form for one dense layer, and its use
with clipped updates, are this package's own; the rule is norm clipping: Sun, Kairouz, Suresh, McMahan. Can
You Really Backdoor Federated Learning? 2019. arXiv:1911.07963
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt
from typing import ClassVar

import torch
from torch import Tensor

from ..core.contracts import EvaluatedModel, Verdict
from ..core.updates import Updates, row_norms, weighted_sum
from .clipping import clip_factors

_SLACK = 1 + 1e-5  # what float32 may add to a step
_EXAMPLES = 1000  # whose features are written down together


@dataclass(frozen=True)
class ParameterCertificate:
    """Average updates of at most ``clip_norm``, over the expected cohort; certify predictions against liars.

    For logits z = W x + b (x as the layer sees it) a prediction a changes to b only if the parameters move by
    (z_a - z_b) / (sqrt(2) |(x, 1)|) in L2 norm; an example's ``radius`` is the least of these. In one round
    ``num_byzantine`` clients move them by at most ``reach`` = gain * f * C / K, whatever they send: what the
    server's step multiplies an aggregate by, times f clipped messages over the expected cohort. An example is
    ``certified`` where its radius is above that. Where the step is no multiple of the aggregate (``adam``),
    neither ``reach`` nor ``certified`` is told.

    It says: no f clients of one cohort take this prediction from this model by their own messages. It says
    nothing of what honest clients move meanwhile, nor of two rounds: over t rounds they have t times as far.
    It holds for one dense layer alone, and other models are refused.

    Attributes:
        clip_norm: C, in units of the update's L2 norm, above 0.
        num_byzantine: Clients of one cohort that lie (f), at least 0.
    """

    clip_norm: float
    num_byzantine: int

    beside_params: ClassVar[bool] = True
    exempt: ClassVar[tuple[str, ...]] = ("equal_updates_come_back_unchanged",)

    def __post_init__(self) -> None:
        if not 0 < self.clip_norm < inf:
            raise ValueError(f"clip_norm must be above 0 and finite, got {self.clip_norm}")
        if self.num_byzantine < 0:
            raise ValueError(f"num_byzantine must be at least 0, got {self.num_byzantine}")

    def init(self) -> None:
        return None

    def sensitivity(self, clip_norm: float, expected_size: float) -> float:
        return min(clip_norm, self.clip_norm) / expected_size

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        norms = row_norms(updates.vectors)
        weights = clip_factors(norms, self.clip_norm) / updates.expected_size
        aggregate = weighted_sum(updates.vectors, weights).to(updates.vectors.dtype)
        scores = dict(zip(updates.client_ids.tolist(), norms.tolist(), strict=True))
        return Verdict(aggregate, weights, scores=scores), state

    def evaluate(self, params: Tensor, x: Tensor, model: EvaluatedModel) -> Mapping[str, Tensor | float]:
        radius = torch.cat([_radii(params, part, model) for part in torch.split(x, _EXAMPLES)])
        if model.gain is None:
            return {"radius": radius}
        reach = _SLACK * abs(model.gain) * self.num_byzantine * self.clip_norm / model.expected_size
        return {"radius": radius, "reach": reach, "certified": radius > reach}


def _radii(params: Tensor, x: Tensor, model: EvaluatedModel) -> Tensor:
    """Return how far the parameters must move to change each prediction, L2, float64.  # [n]"""
    slots, classes = model.layout.parameters, model.num_classes
    if len(slots) != 2 or slots[0].shape[:1] != (classes,) or slots[1].shape != (classes,) or classes < 2:
        shapes = [list(slot.shape) for slot in slots[:2]]
        raise ValueError(
            "parameter_certificate needs a model of one dense layer with a bias and a logit a class, such as "
            f"logistic_regression, got {len(slots)} tensors, the first {shapes}, for {classes} classes"
        )
    seen = _features(x, model)  # [n, d]
    layer = model.layout.views(params.to(torch.float64))
    logits = seen @ layer[slots[0].name].flatten(1).T + layer[slots[1].name]  # [n, C]
    told = model.forward(params[None], x)[0].to(torch.float64)
    off = (told - logits).abs() > 1e-3 * (1 + logits.abs()) if told.shape == logits.shape else None
    if off is None or bool((off & told.isfinite()).any()):
        raise ValueError("parameter_certificate needs a model whose logits are linear in its parameters")
    best, at = logits.max(dim=1, keepdim=True)
    gaps = (best - logits).scatter(1, at, torch.inf)  # [n, C]
    return gaps.amin(dim=1) / (sqrt(2) * (1 + seen.square().sum(dim=1)).sqrt())


def _features(x: Tensor, model: EvaluatedModel) -> Tensor:
    """Return what the layer sees of inputs: logits of weights that pick one coordinate a class.  # [n, d]"""
    weight, classes = model.layout.parameters[0], model.num_classes
    width = weight.size // classes
    picks = -(-width // classes)
    rows = torch.zeros(picks, model.layout.num_parameters)
    for pick in range(picks):
        some = torch.arange(pick * classes, min((pick + 1) * classes, width))
        rows[pick, weight.start + (some % classes) * width + some] = 1.0
    shown = model.forward(rows, x)  # [picks, n, C]
    return shown.permute(1, 0, 2).flatten(1)[:, :width].to(torch.float64)
