"""What no attack at all would score: what every reconstruction is to be held against."""

import math

import numpy as np
import torch
from torch import Tensor

from ....core.observation import Artefact, Truth
from .metrics import Scores, scores_of
from .token_scores import words_of


def baselines(
    truth: Truth, generator: np.random.Generator, value_range: tuple[float, float] = (0.0, 1.0)
) -> dict[str, Scores]:
    """Return the scores of what is drawn without a look at the message.

    ``"constant"`` knows each channel's mean over the true batch (the mean over all values, where there are no
    channels) and nothing else; ``"noise"`` is uniform over the range of values. Of tokens, ``"constant"`` is
    the word that is most frequent in the true batch, and both know where words stand. ``"permuted"``, of two
    examples or more, is the true batch in an order that leaves none in its place: see ``displaced``. It is
    not matched again.
    """
    x = truth.x.float() if truth.x.is_floating_point() else truth.x
    artefact: Artefact = "tokens" if x.dtype == torch.int64 else "images" if x.ndim == 4 else "rows"
    framing, unknown = truth.framing, math.nan
    if artefact == "tokens":
        drawn = _token_guesses(x, generator, value_range, words_of(x, framing))
    else:
        drawn = _guesses(x, generator, value_range)
    found = {
        name: scores_of(guess, x, value_range, unknown, artefact, framing=framing)
        for name, guess in drawn.items()
    }
    if len(x) > 1:
        order = displaced(truth.y, generator)
        found["permuted"] = scores_of(x, x, value_range, unknown, artefact, order, framing)
    return found


def displaced(y: Tensor, generator: np.random.Generator) -> Tensor:
    """Return a random order that moves each example to the place of another, of its own class if any.  # [B]

    Examples whose class is in the batch once change places with each other; where one alone is so, it gets
    any other one. Labels of several numbers count as classes of their own where they are equal.

    Args:
        y: The labels of a batch of at least 2.  # [B, ...]
        generator: Draws the order.
    """
    classes = torch.unique(y.flatten(1) if y.ndim > 1 else y, dim=0, return_inverse=True)[1].numpy()
    shuffled = generator.permutation(len(classes))
    counts = np.bincount(classes)
    classes = np.where(counts[classes] == 1, -1, classes)  # those alone of their class are one group
    order = np.arange(len(classes))
    for group in np.unique(classes):
        members = shuffled[classes[shuffled] == group]
        order[members] = np.roll(members, 1)
    (alone,) = np.nonzero(order == np.arange(len(order)))
    for i in alone:
        order[i] = generator.choice(np.delete(np.arange(len(order)), i))
    return torch.from_numpy(order)


def _guesses(
    x: Tensor, generator: np.random.Generator, value_range: tuple[float, float]
) -> dict[str, Tensor]:
    axes = (0, *range(2, x.ndim)) if x.ndim > 2 else (0, 1)
    low, high = (0.0, 1.0) if not math.isfinite(value_range[1] - value_range[0]) else value_range
    noise = torch.from_numpy(generator.uniform(low, high, x.shape)).float()
    return {"constant": x.mean(dim=axes, keepdim=True).expand_as(x), "noise": noise}


def _token_guesses(
    x: Tensor, generator: np.random.Generator, value_range: tuple[float, float], words: Tensor
) -> dict[str, Tensor]:
    low, high = int(value_range[0]), int(value_range[1])
    noise = torch.from_numpy(generator.integers(low, high + 1, x.shape))
    usual = x[words] if bool(words.any()) else x.flatten()
    constant = torch.full_like(x, int(usual.mode().values))
    return {"constant": constant.where(words, x), "noise": noise.where(words, x)}
