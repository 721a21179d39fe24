"""CRFL: clip the global model and add noise to it; certify what a vote of noisy models says.

Source: Xie, Chen, Chen, Li. CRFL: Certifiably Robust Federated Learning against Backdoor Attacks. ICML 2021,
Algorithms 1 and 2 and Theorem 1, and the authors' code. arXiv:2106.08283
The radius here is in the parameters. The paper's, in the examples of R attackers, is this one over
2 L sqrt(R sum_i (p_i gamma_i tau_i eta_i q_i / n_i)^2), and holds for losses that are convex, smooth and
Lipschitz in their examples. Its factors 2 Phi(rho_t / sigma) - 1 of later rounds are 1 in float64 at the
paper's own bounds and noise. ``reach`` and ``certified`` are this package's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import ClassVar

import torch
from torch import Tensor

from ..core.contracts import EvaluatedModel, Verdict
from ..core.seeds import generator
from ..core.updates import Updates, row_norms, weighted_sum
from .clipping import clip_factors
from .parts.screening import needed, stream, uniform

_SLACK = 1 + 1e-5  # what float32 may add to a step
_NUMBERS = 2**22  # of the noisy models, or of their outputs, that are written down together: 16 MiB


@dataclass(frozen=True)
class CRFL:
    """Average, clip the model to ``clip_norm`` + ``clip_growth`` t in round t, add noise; certify by votes.

    The model that is scored and sent down is w, with one draw of noise on it. What is certified is the vote
    of ``votes`` models w + N(0, ``noise_std``^2): its class stays while w moves by at most the example's
    ``radius`` in L2 norm, whatever moves it. With p_a and p_b the shares of votes of the first and second
    class, sqrt(log(1 / alpha) / (2 M)) taken off the one and added to the other (Hoeffding),

        radius = noise_std * sqrt(-2 log(1 - (sqrt(p_a) - sqrt(p_b))^2)),

    and 0 where p_a is no larger than p_b, or where w itself answers otherwise than the vote. Each of the two
    shares is wrong with a chance of at most ``alpha`` an example.

    With ``update_clip_norm`` C, updates are clipped to it and divided by the expected cohort, so that f
    clients move w by at most ``reach`` = gain * f * C / K in a round; an example is ``certified`` where its
    radius is above that. It says nothing of two rounds, nor of what honest clients move meanwhile: votes are
    asked about one model, and not about those that other noise in earlier rounds would have led to.

    Attributes:
        clip_norm: rho_0, in units of the model's L2 norm, above 0 (the paper's 2 on MNIST).
        clip_growth: What is added to it every round, at least 0 (0.1 on MNIST).
        noise_std: sigma, in units of a parameter, above 0.
        update_clip_norm: C, in units of the update's L2 norm, above 0; None as in the paper: no bound.
        num_byzantine: Clients of one cohort that lie (f), at least 0.
        votes: Noisy models that vote (M), at least 1.
        alpha: Above 0 and below 1.
    """

    clip_norm: float = 2.0
    clip_growth: float = 0.1
    noise_std: float = 0.01
    update_clip_norm: float | None = None
    num_byzantine: int = 0
    votes: int = 1000
    alpha: float = 0.001

    beside_params: ClassVar[bool] = True
    exempt: ClassVar[tuple[str, ...]] = ("equal_updates_come_back_unchanged",)

    def __post_init__(self) -> None:
        if not (0 < self.clip_norm < inf and 0 < self.noise_std < inf and 0 <= self.clip_growth < inf):
            raise ValueError(
                "clip_norm and noise_std must be above 0, clip_growth at least 0, all finite, got "
                f"{self.clip_norm}, {self.noise_std}, {self.clip_growth}"
            )
        if self.update_clip_norm is not None and not 0 < self.update_clip_norm < inf:
            raise ValueError(f"update_clip_norm must be finite, above 0 or None, got {self.update_clip_norm}")
        if self.num_byzantine < 0 or self.votes < 1 or not 0 < self.alpha < 1:
            raise ValueError(
                "num_byzantine must be at least 0, votes at least 1, alpha in (0, 1), got "
                f"{self.num_byzantine}, {self.votes}, {self.alpha}"
            )

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        context, norms = needed(updates, "crfl", "the global parameters"), row_norms(updates.vectors)
        weights = uniform(torch.ones(len(updates), dtype=torch.bool))
        if self.update_clip_norm is not None:
            weights = clip_factors(norms, self.update_clip_norm) / updates.expected_size
        model = weighted_sum(updates.vectors, weights) + context.params  # [P]
        bound = self.clip_norm + self.clip_growth * context.round
        model *= clip_factors(row_norms(model[None]), bound)
        noise = torch.from_numpy(stream(updates, "crfl").standard_normal(len(model)))
        step = model + self.noise_std * noise - context.params
        scores = dict(zip(updates.client_ids.tolist(), norms.tolist(), strict=True))
        return Verdict(step.to(updates.vectors.dtype), weights, scores=scores), state

    def evaluate(self, params: Tensor, x: Tensor, model: EvaluatedModel) -> Mapping[str, Tensor | float]:
        outputs = model.forward(params[None], x)[0]  # [m, C]
        if outputs.ndim != 2 or model.num_classes < 2:
            raise ValueError(
                "crfl needs a model with one output a class, of two classes or more, got outputs "
                f"{list(outputs.shape[1:])} for {model.num_classes} classes"
            )
        counts = self._counted(params, x, model)
        told = outputs.argmax(dim=1)  # [m]
        radius = self.noise_std * self.radii(counts)
        columns: dict[str, Tensor | float] = {"radius": radius.where(counts.argmax(dim=1) == told, 0.0)}
        if model.gain is None or self.update_clip_norm is None:
            return columns
        clipped = self.num_byzantine * self.update_clip_norm / model.expected_size
        reach = _SLACK * abs(model.gain) * clipped
        return columns | {"reach": reach, "certified": columns["radius"] > reach}

    def radii(self, counts: Tensor) -> Tensor:
        """Return how far the models may move, in units of ``noise_std``, from their votes [m, C].  # [m]"""
        ordered = counts.to(torch.float64).sort(dim=1, descending=True).values / self.votes
        slack = sqrt(log(1 / self.alpha) / (2 * self.votes))
        first, second = (ordered[:, 0] - slack).clamp(min=0.0), (ordered[:, 1] + slack).clamp(max=1.0)
        gap = (first.sqrt() - second.sqrt()).clamp(min=0.0)
        return (-2 * torch.log1p(-gap.square())).sqrt()

    def _counted(self, params: Tensor, x: Tensor, model: EvaluatedModel) -> Tensor:
        """Return how many noisy models take each example for each class.  # [m, C]"""
        classes = model.num_classes
        draws = generator(model.seed, "crfl votes", model.round)
        height = max(1, _NUMBERS // max(len(params), len(x) * classes))
        counts = torch.zeros(len(x), classes, dtype=torch.int64)
        for at in range(0, self.votes, height):
            size = min(height, self.votes - at), len(params)
            noise = torch.from_numpy(draws.standard_normal(size, dtype="float32"))
            told = model.forward(params + self.noise_std * noise, x).argmax(dim=-1)  # [l, m]
            counts += torch.nn.functional.one_hot(told, classes).sum(dim=0)
        return counts
