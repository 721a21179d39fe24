"""The mathematics of low-rank adapters: where they begin, and which gradients their factors get.

An adapter of a weight W [m, n] is s B A with B [m, r] and A [r, n]; g [m, n] is the gradient of the loss with
respect to W + s B A, so that plain gradients are s B^T g of A and s g A^T of B.

Source: Hu et al. LoRA. ICLR 2022, Section 4. arXiv:2106.09685. Wang, Yu, Li. LoRA-GA. NeurIPS 2024, Section
3 and the authors' code (its default ArB2r and scale "stable"). arXiv:2407.05000. Wang, Liang, He, Wang, Tan.
LoRA-Pro. ICLR 2025, Theorem 2.1, arXiv:2407.18242; derived anew, the authors' code was not read. The ridge
is ours.
"""

from typing import Any

import torch
from torch import Tensor

RIDGE = 1e-5  # of the mean eigenvalue: B is not of full rank where it begins at zero
_TINY = 1e-12


def gradient_factors(gradient: Tensor, rank: int, gamma: float) -> tuple[Tensor, Tensor]:
    """Return A [r, n] and B [m, r] of LoRA-GA: the first r right and the next r left singular vectors.

    Both times m^(1/4) / sqrt(gamma). One step of SGD then moves the weight along the best approximation of
    ``gradient`` of rank 2 r. Of each pair of vectors the right one's largest entry is above 0 (the sign is
    free, and libraries differ).

    Args:
        gradient: Of the loss with respect to the weight.  # [m, n]
        rank: r, at most half of m and of n.
        gamma: Above 0.

    Raises:
        ValueError: A larger rank.
    """
    if 2 * rank > min(gradient.shape):
        raise ValueError(
            f"lora_ga needs a rank of at most half of a layer's {min(gradient.shape)} inputs or outputs, "
            f"got {rank}"
        )
    left, _, right = torch.linalg.svd(gradient.double(), full_matrices=False)
    largest = right.gather(1, right.abs().argmax(dim=1, keepdim=True))  # [q, 1]
    sign = torch.where(largest < 0, -1.0, 1.0)
    left, right = left * sign.T, right * sign
    scale = gradient.shape[0] ** 0.25 / gamma**0.5
    return scale * right[:rank], scale * left[:, rank : 2 * rank]


def pro_gradients(
    a: Tensor, b: Tensor, gradient_a: Tensor, gradient_b: Tensor, scale: float, ridge: float = RIDGE
) -> tuple[Tensor, Tensor]:
    """Return the gradients of LoRA-Pro: with them a step moves s B A as near to g as the factors can.

    g - s (B g_A + g_B A) = (I - P_B) g (I - P_A) for the projections on the factors' spaces, and of all such
    pairs these two are nearest to the plain ones: X solves B^T B X + X A A^T = -(B^T B)^-1 g_A A^T / s^2.
    Linear in the gradients.

    Args:
        a, b: The factors.  # [r, n], [m, r]
        gradient_a, gradient_b: Their plain gradients.
        scale: s, above 0.
        ridge: What is added to eigenvalues that are divided by, in units of their mean.
    """
    inner, turn = torch.linalg.eigh((b.mT @ b).nan_to_num(0.0, 0.0, 0.0))  # a model that diverged stays so
    outer, spin = torch.linalg.eigh((a @ a.mT).nan_to_num(0.0, 0.0, 0.0))
    inverse = (turn / _lifted(inner, ridge).unsqueeze(-2)) @ turn.mT  # (B^T B)^-1  # [r, r]
    inverse_a = (spin / _lifted(outer, ridge).unsqueeze(-2)) @ spin.mT
    along = inverse @ gradient_a / scale**2  # [r, n]
    sums = _lifted(inner, 0.0).unsqueeze(-1) + _lifted(outer, 0.0).unsqueeze(-2)  # [r, r]
    x = turn @ (-(turn.mT @ along @ a.mT @ spin) / sums) @ spin.mT
    off = gradient_b - b @ (inverse @ (b.mT @ gradient_b))  # [m, r]
    return along + x @ a, off @ inverse_a / scale**2 - b @ x


def _lifted(values: Tensor, ridge: float) -> Tensor:
    """Return eigenvalues, at least 0, with the ridge."""
    values = values.clamp(min=0)
    return values + ridge * values.mean(dim=-1, keepdim=True) + _TINY


class Pro(torch.autograd.Function):
    """Hand on both factors, and turn their gradients into those of ``pro_gradients``.

    That map counts as constant where gradients are differentiated once more: it moves with the parameters
    alone, which no attack on one step changes.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor, _: float) -> tuple[Tensor, Tensor]:
        return a.clone(), b.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], _: Any) -> None:
        a, b, ctx.scale = inputs
        ctx.save_for_backward(a, b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b = (value.detach() for value in ctx.saved_tensors)
        return (*pro_gradients(a, b, gradients[0], gradients[1], ctx.scale), None)
