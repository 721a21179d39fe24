"""4-bit NormalFloat: sixteen levels of which each is as likely as the others where values are normal.

Source: Dettmers, Pagnoni, Holtzman, Zettlemoyer. QLoRA: Efficient Finetuning of Quantized LLMs. NeurIPS 2023,
Section 3 (NF4, blocks of 64, scales in 8 bits with one float for 256 of them). arXiv:2305.14314. There the
scales' codes are 8-bit floats about their mean; here they are 255 even steps, rounded up, so that no value
is beyond its block's scale.
"""

from dataclasses import dataclass

import numpy as np
import torch

from .buckets import count, largest_sizes, spread
from .cells import nearest
from .packing import Array

OFFSET = 0.9677083  # of the quantiles: the mean of 1 - 1 / 32 and 1 - 1 / 30, so that both ends are finite
GROUP = 256  # scales
_SAME = 1e-3  # of a step, which is rounded down: a scale that is one already stays what it is


def _quantiles(shares: Array) -> Array:
    found: Array = torch.special.ndtri(torch.from_numpy(shares)).numpy()
    return found


def levels() -> Array:
    """Return the sixteen levels, ascending, float32: eight quantiles above 0, seven below it, and 0."""
    above, below = (_quantiles(np.linspace(OFFSET, 0.5, count)[:-1]) for count in (9, 8))
    found = np.sort(np.concatenate([above, [0.0], -below]))
    units: Array = (found / found.max()).astype(np.float32)
    return units


LEVELS = levels()


@dataclass(frozen=True)
class Coded:
    """Rows of values as codes and scales.

    Attributes:
        largest: The largest scale of each group of 256, float32.  # [K, G]
        steps: Each block's scale in 255ths of its group's largest, rounded up, uint8.  # [K, blocks]
        codes: Each value's level, uint8.  # [K, n]
    """

    largest: Array
    steps: Array
    codes: Array


def scales_from(largest: Array, steps: Array) -> Array:
    """Return the scale of each block, float32.  # [..., blocks]"""
    spread_out = np.repeat(largest, GROUP, axis=-1)[..., : steps.shape[-1]]
    found: Array = spread_out * (steps.astype(np.float32) / np.float32(255))
    return found


def coded(block: Array, size: int) -> Coded:
    """Return finite rows [K, n], float32, in blocks of ``size`` values, each by its largest size."""
    sizes = largest_sizes(block, size)  # [K, blocks]
    largest = largest_sizes(sizes, GROUP)  # [K, G]
    each = np.repeat(largest, GROUP, axis=1)[:, : sizes.shape[1]]
    shares = np.divide(sizes, each, out=np.zeros_like(sizes), where=each > 0).astype(np.float64)
    steps = np.ceil(255 * shares - _SAME).clip(0, 255).astype(np.uint8)
    scale = spread(scales_from(largest, steps), block.shape[1], size)  # [K, n]
    units = np.divide(block, scale, out=np.zeros_like(block), where=scale > 0)
    return Coded(largest, steps, nearest(units, LEVELS[None]))


def decoded(values: Coded, size: int) -> Array:
    """Return what codes stand for, float32.  # [K, n]"""
    scale = spread(scales_from(values.largest, values.steps), values.codes.shape[1], size)
    found: Array = LEVELS[values.codes] * scale
    return found


def groups(numel: int, size: int) -> tuple[int, int]:
    """Return the number of blocks of a tensor, and of groups of these."""
    blocks = count(numel, size)
    return blocks, count(blocks, GROUP)
