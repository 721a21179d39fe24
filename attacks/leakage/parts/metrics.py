"""How close a reconstruction comes to the truth.

Tokens are right or wrong. Other values are mapped from the observation's range to [0, 1] and clamped. Rebuilt
batches have no order: they are matched with the true one first, each example used once.

Source: SSIM: Wang, Bovik, Sheikh, Simoncelli. Image Quality Assessment: From Error Visibility to Structural
Similarity. IEEE TIP 2004. Matching: Kuhn. The Hungarian Method for the Assignment Problem. 1955.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ....core.observation import Artefact, Reconstruction, Truth
from .rouge import rouge

CAP_DB = 120.0  # the PSNR of identical images
TOLERANCE = 0.05  # of the range of values, within which a value counts as found


@dataclass(frozen=True)
class Scores:
    """How well each example of a batch was rebuilt, in the order of the truth.

    Attributes:
        psnr: Peak signal-to-noise ratio, in dB, at most 120.  # [B]
        ssim: Structural similarity, at most 1; NaN for inputs that are no images.  # [B]
        mse: Mean squared error, values in [0, 1].  # [B]
        token_accuracy: Of tokens, the share of positions that are right, between 0 and 1 (1: the example was
            rebuilt exactly); NaN of others.  # [B]
        within_tolerance: Of rows, the share of values that are off by at most 5 % of the range of values,
            between 0 and 1; NaN of images, and where the range is not finite.  # [B]
        label_accuracy: Share of the labels found, order aside, between 0 and 1; NaN for a baseline.
        order: For each true example, the rebuilt one matched with it.  # [B]
        rouge: Of tokens, ROUGE-1, ROUGE-2 and ROUGE-L, between 0 and 1; NaN of others.  # [B, 3]
        overlap: Of tokens, precision and recall of the different ones of an example, wherever they stand,
            between 0 and 1; NaN of others.  # [B, 2]
    """

    psnr: Tensor
    ssim: Tensor
    mse: Tensor
    within_tolerance: Tensor
    label_accuracy: float
    order: Tensor
    token_accuracy: Tensor
    rouge: Tensor
    overlap: Tensor


def mse(rebuilt: Tensor, truth: Tensor) -> Tensor:
    """Return the mean squared error of each example [B, ...].  # [B]"""
    return (rebuilt - truth).square().flatten(1).mean(dim=1)


def psnr(rebuilt: Tensor, truth: Tensor) -> Tensor:
    """Return 10 log10(1 / MSE) of each example [B, ...] with values in [0, 1], in dB, at most 120.  # [B]"""
    return -10 * mse(rebuilt, truth).clamp(min=10 ** (-CAP_DB / 10)).log10()


def ssim(rebuilt: Tensor, truth: Tensor) -> Tensor:
    """Return the structural similarity of each image [B, channels, height, width] in [0, 1].  # [B]

    The Gaussian window is 11 x 11 with a standard deviation of 1.5 pixels, or the largest odd one that fits,
    with a standard deviation in proportion. NaN for anything but images of at least 3 x 3.
    """
    if truth.ndim != 4 or min(truth.shape[2:]) < 3:
        return torch.full((len(truth),), torch.nan)
    from torchmetrics.functional.image import structural_similarity_index_measure

    side = min(truth.shape[2:])
    window = min(11, side - 1 + side % 2)
    values = structural_similarity_index_measure(
        rebuilt, truth, sigma=1.5 * window / 11, kernel_size=window, reduction="none", data_range=1.0
    )
    return torch.as_tensor(values).reshape(len(truth))


def match(rebuilt: Tensor, truth: Tensor) -> Tensor:
    """Return, for each true example, its rebuilt one, so that the sum of MSEs is least.  # [B]

    ``rebuilt[match(rebuilt, truth)]`` stands in the order of ``truth``.

    Raises:
        ValueError: The batches differ in shape.
    """
    from scipy.optimize import linear_sum_assignment

    if rebuilt.shape != truth.shape:
        raise ValueError(f"expected a reconstruction of shape {list(truth.shape)}, got {list(rebuilt.shape)}")
    errors = torch.cdist(truth.flatten(1).double(), rebuilt.flatten(1).double()).square()  # [B, B]
    return torch.from_numpy(linear_sum_assignment(errors.numpy())[1])


def label_accuracy(rebuilt: Tensor, truth: Tensor) -> float:
    """Return the share of the labels [B, ...] that both batches hold, whatever their order."""
    rebuilt, truth = rebuilt.flatten(), truth.flatten()
    classes = int(max(rebuilt.max(), truth.max())) + 1
    both = torch.minimum(rebuilt.bincount(minlength=classes), truth.bincount(minlength=classes))
    return float(both.sum() / len(truth))


def score(
    reconstruction: Reconstruction, truth: Truth, value_range: tuple[float, float] = (0.0, 1.0)
) -> Scores:
    """Return how well ``reconstruction`` meets ``truth``; a value that is NaN counts as the least one.

    Raises:
        ValueError: The batches differ in shape.
    """
    accuracy = label_accuracy(reconstruction.y, truth.y)
    return scores_of(reconstruction.x, truth.x, value_range, accuracy, artefact_of(reconstruction))


def artefact_of(reconstruction: Reconstruction) -> Artefact:
    """Return what was rebuilt: what the attack says, or by type tokens, by shape images, or else rows."""
    if reconstruction.artefact is not None:
        return reconstruction.artefact
    if not reconstruction.x.is_floating_point():
        return "tokens"
    return "images" if reconstruction.x.ndim == 4 else "rows"


def within_tolerance(rebuilt: Tensor, truth: Tensor) -> Tensor:
    """Return the share of the values in [0, 1] of examples [B, ...] that are off by at most 0.05.  # [B]"""
    return ((rebuilt - truth).abs() <= TOLERANCE).float().flatten(1).mean(dim=1)


def scores_of(
    rebuilt: Tensor,
    truth: Tensor,
    value_range: tuple[float, float],
    accuracy: float,
    artefact: Artefact,
    order: Tensor | None = None,
) -> Scores:
    """Return the scores of an artefact: similarity of images alone, tolerance of rows alone.

    ``order`` [B] says which rebuilt example stands beside each true one; by default they are matched.
    """
    if artefact == "tokens":
        return _token_scores(rebuilt, truth, accuracy, order)
    low, high = value_range
    bounded = math.isfinite(high - low)

    def unit(x: Tensor) -> Tensor:
        x = x.detach().float().nan_to_num(nan=low if bounded else 0.0)
        return ((x - low) / (high - low)).clamp(0, 1) if bounded else x

    rebuilt, truth = unit(rebuilt), unit(truth)
    order = match(rebuilt, truth) if order is None else order
    rebuilt = rebuilt[order]
    nothing = torch.full((len(truth),), torch.nan)
    similar = ssim(rebuilt, truth) if artefact == "images" else nothing
    found = within_tolerance(rebuilt, truth) if artefact == "rows" and bounded else nothing
    errors = psnr(rebuilt, truth), similar, mse(rebuilt, truth), found
    none = nothing[:, None]
    return Scores(*errors, accuracy, order, nothing, none.expand(-1, 3), none.expand(-1, 2))


def token_overlap(rebuilt: Tensor, truth: Tensor) -> Tensor:
    """Return precision and recall of the different tokens of each sequence, between 0 and 1.  # [B, 2]

    Of the tokens that were rebuilt, the share that is in the truth, and the other way round.

    Args:
        rebuilt: The sequences that are judged.  # [B, S], S at least 1
        truth: The true ones.  # [B, S']
    """
    pairs = [(set(a), set(b)) for a, b in zip(rebuilt.tolist(), truth.tolist(), strict=True)]
    shares = [[len(a & b) / len(a), len(a & b) / len(b)] for a, b in pairs]
    return torch.tensor(shares).reshape(-1, 2)


def match_tokens(rebuilt: Tensor, truth: Tensor) -> Tensor:
    """Return ``match`` of sequences of tokens: so that the sum of wrong positions is least.  # [B]

    Raises:
        ValueError: The batches differ in shape.
    """
    from scipy.optimize import linear_sum_assignment

    if rebuilt.shape != truth.shape:
        raise ValueError(f"expected a reconstruction of shape {list(truth.shape)}, got {list(rebuilt.shape)}")
    wrong = (truth.flatten(1)[:, None] != rebuilt.flatten(1)[None]).sum(dim=2)  # [B, B]
    return torch.from_numpy(linear_sum_assignment(wrong.numpy())[1])


def _token_scores(rebuilt: Tensor, truth: Tensor, accuracy: float, order: Tensor | None) -> Scores:
    """Return the scores of tokens, which are right or wrong: how far off they are says nothing."""
    order = match_tokens(rebuilt, truth) if order is None else order
    right = (rebuilt[order] == truth).float().flatten(1).mean(dim=1)
    nothing = torch.full((len(truth),), torch.nan)
    parts, overlap = rouge(rebuilt[order], truth), token_overlap(rebuilt[order].flatten(1), truth.flatten(1))
    return Scores(nothing, nothing, nothing, nothing, accuracy, order, right, parts, overlap)
