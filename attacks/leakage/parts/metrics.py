"""How close a reconstruction comes to the truth.

Tokens are right or wrong (``token_scores``). Other values are mapped from the observation's range to [0, 1]
and clamped. Rebuilt batches have no order: they are matched with the true one first, each example used once.

Source: SSIM: Wang, Bovik, Sheikh, Simoncelli. Image Quality Assessment: From Error Visibility to Structural
Similarity. IEEE TIP 2004. Matching: Kuhn. The Hungarian Method for the Assignment Problem. 1955.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ....core.observation import Artefact, Reconstruction, Truth
from .token_scores import token_scores, words_of

CAP_DB = 120.0  # the PSNR of identical images
TOLERANCE = 0.05  # of the range of values, within which a value counts as found


@dataclass(frozen=True)
class Scores:
    """How well each example of a batch was rebuilt, in the order of the truth.

    Attributes:
        psnr: Peak signal-to-noise ratio, in dB, at most 120.  # [B]
        ssim: Structural similarity, at most 1; NaN for inputs that are no images.  # [B]
        mse: Mean squared error, values in [0, 1].  # [B]
        token_accuracy: Of tokens, the share of positions with a word that are right, between 0 and 1 (1: all
            words of the example were rebuilt exactly); NaN of others.  # [B]
        within_tolerance: Of rows, the share of values that are off by at most 5 % of the range of values,
            between 0 and 1; NaN of images, and where the range is not finite.  # [B]
        label_accuracy: Share of the labels found, order aside, between 0 and 1; NaN for a baseline.
        order: For each true example, the rebuilt one matched with it.  # [B]
        rouge: Of words, ROUGE-1, ROUGE-2 and ROUGE-L, between 0 and 1; NaN of others.  # [B, 3]
        overlap: Of words, precision and recall of the different ones of an example, wherever they stand,
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
    """Return the share of the labels [B, ...] that both batches hold, whatever their order.

    It is of the batch with more labels, and 1 of two without any.
    """
    rebuilt, truth = rebuilt.flatten(), truth.flatten()
    most = max(len(rebuilt), len(truth))
    if not most:
        return 1.0
    classes = int(torch.cat([rebuilt, truth]).max()) + 1
    both = torch.minimum(rebuilt.bincount(minlength=classes), truth.bincount(minlength=classes))
    return float(both.sum() / most)


def score(
    reconstruction: Reconstruction, truth: Truth, value_range: tuple[float, float] = (0.0, 1.0)
) -> Scores:
    """Return how well ``reconstruction`` meets ``truth``; a value that is NaN counts as the least one.

    Raises:
        ValueError: The batches differ in shape.
    """
    labels = [reconstruction.y, truth.y]
    if truth.framing and truth.y.shape == truth.x.shape:  # labels are words
        labels = [y[words_of(y, truth.framing)] for y in labels]
    accuracy = label_accuracy(*labels)
    artefact = artefact_of(reconstruction)
    return scores_of(reconstruction.x, truth.x, value_range, accuracy, artefact, framing=truth.framing)


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
    framing: Sequence[int] = (),
) -> Scores:
    """Return the scores of an artefact: similarity of images alone, tolerance of rows alone.

    ``order`` [B] says which rebuilt example stands beside each true one; by default they are matched.
    ``framing`` are tokens that are no words, and are not scored.
    """
    if artefact == "tokens":
        said, none = token_scores(rebuilt, truth, framing, order), torch.full((len(truth),), torch.nan)
        return Scores(none, none, none, none, accuracy, said.order, said.accuracy, said.rouge, said.overlap)
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
