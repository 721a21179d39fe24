"""Corrected losses: clients whose labels are wrong at known rates learn as if they were right.

Source: Patrini, Rozza, Menon, Nock, Qu. Making Deep Neural Networks Robust to Label Noise: a Loss Correction
Approach. CVPR 2017, Theorems 1 and 2. arXiv:1609.03683. The backward form for rewards of a noisy verifier:
Reinforcement Learning with Verifiable yet Noisy Rewards, arXiv:2510.00915 (abstract, id unverified).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from ...core.contracts import Activations, LocalTraining


@dataclass(frozen=True)
class LabelCorrection:
    """Train on -log (T^T p)_y (``forward``) or (T^-1 l)_y (``backward``) in the place of l_y = -log p_y.

    T[i, j] is the probability that what is i is called j, p the model's probabilities, y the label. Backward
    losses are unbiased: their mean over wrong labels is the loss of the right one. They are unbounded below,
    and ``least`` bounds them. All clients use one T, also those whose labels are right. The loss that a run
    reports for clients is the uncorrected one. A model of one layer is refused, as of every rule that adds
    to the loss.

    Attributes:
        form: See above.
        rate: Symmetric noise: a label is wrong with this probability, any other being as likely, at least 0
            and below (C - 1) / C, where nothing is left to be learnt.
        matrix: T itself, C rows that sum to 1, in the place of ``rate``; with an inverse for ``backward``.
        least: The least a backward loss may be; None: unbounded.
    """

    form: Literal["forward", "backward"] = "forward"
    rate: float = 0.2
    matrix: tuple[tuple[float, ...], ...] | None = None
    least: float | None = 0.0

    plain: ClassVar[bool] = True
    losses: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    frozen_models: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.form not in ("forward", "backward"):
            raise ValueError(f"form must be forward or backward, got {self.form!r}")
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate must be at least 0 and below (C - 1) / C, got {self.rate}")
        if self.least is not None and not isfinite(self.least):
            raise ValueError(f"least must be finite, or left out; got {self.least}")
        if self.matrix is not None:
            self._check(self.matrix)

    @staticmethod
    def _chances(row: tuple[float, ...]) -> bool:
        return all(chance >= 0 for chance in row) and abs(sum(row) - 1) <= 1e-6

    def _check(self, matrix: tuple[tuple[float, ...], ...]) -> None:
        square = len(matrix) > 1 and all(len(row) == len(matrix) for row in matrix)
        if not square or not all(self._chances(row) for row in matrix):
            raise ValueError("matrix must be square, of probabilities at least 0, rows summing to 1")
        if self.form == "backward" and np.linalg.matrix_rank(np.array(matrix)) < len(matrix):
            raise ValueError("matrix must have an inverse, for form = 'backward'")

    def _noise(self, classes: int) -> np.ndarray[Any, Any]:
        """Return T, float64.  # [C, C]

        Raises:
            ValueError: A matrix of other classes, or a rate that leaves nothing to be learnt of so many.
        """
        if self.matrix is not None:
            if len(self.matrix) != classes:
                raise ValueError(
                    f"matrix must have a row for each of {classes} classes, got {len(self.matrix)}"
                )
            return np.array(self.matrix)
        if self.rate >= (classes - 1) / classes:
            raise ValueError(
                f"rate must be below {(classes - 1) / classes:g} of {classes} classes, got {self.rate}"
            )
        wrong = self.rate / (classes - 1)
        return np.where(np.eye(classes) > 0, 1 - self.rate, wrong)

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient

    @property
    def added_loss(self) -> Callable[[Activations, Mapping[str, Activations], Tensor], Tensor] | None:
        """By how much the corrected loss is more than the plain one; None where T is the identity."""
        return self._added if self.rate or self.matrix is not None else None

    def _added(self, local: Activations, frozen: Mapping[str, Activations], targets: Tensor) -> Tensor:
        logs = log_softmax(local.outputs, dim=-1)  # [B, C]
        plain = -logs.gather(-1, targets[..., None])[..., 0]
        return self._corrected(logs, targets) - plain

    def _corrected(self, logs: Tensor, targets: Tensor) -> Tensor:
        """Return the corrected losses from log probabilities [B, C] and labels [B].  # [B]"""
        noise = self._noise(logs.shape[-1])  # in NumPy: no trace could follow an inverse
        if self.form == "forward":
            with np.errstate(divide="ignore"):
                columns = torch.from_numpy(np.log(noise.T)).to(logs)  # log P(label | each class)
            return -(logs + columns[targets]).logsumexp(dim=-1)
        inverse = torch.from_numpy(np.linalg.inv(noise)).to(logs)
        found = -(inverse[targets] * logs).sum(dim=-1)
        return found if self.least is None else found.clamp(min=self.least)
