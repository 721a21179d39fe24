"""Transforms of images in [0, 1], each image with a sign of its own: those that policies of images name.

Source: Cubuk, Zoph, Mane, Vasudevan, Le. AutoAugment. CVPR 2019, Table 6, arXiv:1805.09501, and PIL, which
works on bytes; here values stay floats but where a transform needs levels, of which there are 256. Affine
transforms are bilinear, where PIL has them bicubic or nearest.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

Transform = Callable[[Tensor, float, Tensor], Tensor]
"""From images [B, C, H, W], a magnitude and signs [B] to images."""
SIGNED = frozenset(
    ("shear_x", "shear_y", "translate_x", "translate_y", "color", "contrast", "sharpness", "brightness")
)
"""Those that look at signs."""
STEPPED = frozenset(("equalize", "posterize"))
"""Those that work on levels, so that they have no derivative."""
_GREY, _ROTATED_FILL = (0.299, 0.587, 0.114), 128 / 255


def _affine(x: Tensor, matrices: Tensor, fill: float = 0.0) -> Tensor:
    """Return what lies at ``matrices`` [B, 2, 3] of each place, in coordinates from -1 to 1."""
    grid = functional.affine_grid(matrices, list(x.shape), align_corners=False)
    return functional.grid_sample(x - fill, grid, align_corners=False) + fill


def _entry(row: int, column: int, values: Tensor) -> Tensor:
    """Return identities with an entry of each one's own.  # [B, 2, 3]"""
    found = torch.eye(2, 3).repeat(len(values), 1, 1)
    found[:, row, column] = values
    return found


def _rotated(x: Tensor, degrees: float, _: Tensor) -> Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    cos, sin, ratio = angle.cos(), angle.sin(), x.shape[2] / x.shape[3]
    matrix = torch.tensor([[cos, -sin * ratio, 0], [sin / ratio, cos, 0]])  # counter-clockwise, in pixels
    return _affine(x, matrix.expand(len(x), 2, 3), _ROTATED_FILL)


def _blended(x: Tensor, dull: Tensor, magnitude: float, signs: Tensor) -> Tensor:
    """Return dull + (1 + magnitude sign) (x - dull), as PIL enhances."""
    return (dull + (1 + magnitude * signs)[:, None, None, None] * (x - dull)).clamp(0, 1)


def _grey(x: Tensor) -> Tensor:
    """Return the brightness of each pixel.  # [B, 1, H, W]"""
    if x.shape[1] == 1:
        return x
    return (x * torch.tensor(_GREY)[:, None, None]).sum(dim=1, keepdim=True)


def _smooth(x: Tensor) -> Tensor:
    """Return PIL's SMOOTH: a mean over 3 x 3 with 5 in the middle; the border stays."""
    if min(x.shape[2:]) < 3:
        return x
    kernel = torch.ones(3, 3)
    kernel[1, 1] = 5.0
    found, channels = x.clone(), x.shape[1]
    weight = (kernel / 13).expand(channels, 1, 3, 3)
    found[:, :, 1:-1, 1:-1] = functional.conv2d(x, weight, groups=channels)
    return found


def _levels(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round().long()


def _equalized(x: Tensor, _: float, __: Tensor) -> Tensor:
    """Return each channel with an even histogram, by PIL's table: of one level alone it stays."""
    levels = _levels(x).flatten(2)  # [B, C, N]
    counts = functional.one_hot(levels, 256).sum(dim=2)  # [B, C, 256]
    last = levels.max(dim=2, keepdim=True).values
    step = (counts.sum(dim=2, keepdim=True) - counts.gather(2, last)) // 255  # [B, C, 1]
    before = counts.cumsum(dim=2) - counts
    table = ((step // 2 + before) // step.clamp(min=1)).clamp(max=255)
    found = table.gather(2, levels).reshape(x.shape).to(x) / 255
    return found.where((step > 0)[..., None], x)


def _stretched(x: Tensor, _: float, __: Tensor) -> Tensor:
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    return ((x - low) / (high - low).clamp(min=1e-12)).where(high > low, x)


def _posterized(x: Tensor, bits: float, _: Tensor) -> Tensor:
    step = 1 << (8 - int(bits))
    return (_levels(x) // step * step).to(x) / 255


TRANSFORMS: Mapping[str, Transform] = {
    "shear_x": lambda x, m, s: _affine(x, _entry(0, 1, m * s * x.shape[2] / x.shape[3])),
    "shear_y": lambda x, m, s: _affine(x, _entry(1, 0, m * s * x.shape[3] / x.shape[2])),
    "translate_x": lambda x, m, s: _affine(x, _entry(0, 2, 2 * m * s)),
    "translate_y": lambda x, m, s: _affine(x, _entry(1, 2, 2 * m * s)),
    "rotate": _rotated,
    "color": lambda x, m, s: _blended(x, _grey(x), m, s),
    "contrast": lambda x, m, s: _blended(x, _grey(x).mean(dim=(1, 2, 3), keepdim=True), m, s),
    "sharpness": lambda x, m, s: _blended(x, _smooth(x), m, s),
    "brightness": lambda x, m, s: _blended(x, torch.zeros_like(x), m, s),
    "posterize": _posterized,
    "solarize": lambda x, m, _: x.where(x * 255 < m, 1 - x),
    "autocontrast": _stretched,
    "equalize": _equalized,
    "invert": lambda x, _, __: 1 - x,
}
