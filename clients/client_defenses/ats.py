"""ATS: a client trains on images that a policy transforms, chosen so that gradients tell little of them.

Source: Gao, Guo, Zhang, Qiu, Wen, Liu. Privacy-preserving Collaborative Learning with Automatic
Transformation Search. CVPR 2021, arXiv:2011.12505, and the authors' code, which lists the 50 transforms. The
attacker: Balunovic, Dimitrov, Staab, Vechev. Bayesian Framework for Gradient Leakage. ICLR 2022,
arXiv:2111.04706.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import PluginError, shown
from .parts.image_transforms import SIGNED, STEPPED, TRANSFORMS
from .parts.untransforming import untransformed

_MAGNITUDES: Mapping[str, tuple[float, float]] = {  # at index 0 and at index 9, evenly between
    **dict.fromkeys(("shear_x", "shear_y"), (0.0, 0.3)),
    **dict.fromkeys(("translate_x", "translate_y"), (0.0, 150 / 331)),
    **dict.fromkeys(("color", "contrast", "sharpness", "brightness"), (0.0, 0.5)),
    **dict.fromkeys(("autocontrast", "equalize", "invert"), (0.0, 0.0)),
    "rotate": (0.0, 30.0),
    "posterize": (8.0, 4.0),
    "solarize": (256.0, 0.0),
}
_PUBLISHED = (
    "invert 7, contrast 6, rotate 2, translate_x 9, sharpness 1, sharpness 3, shear_y 2, translate_y 2, "
    "autocontrast 5, equalize 2, shear_y 5, posterize 5, color 3, brightness 5, sharpness 9, brightness 9, "
    "equalize 5, equalize 1, contrast 7, sharpness 5, color 5, translate_x 5, equalize 7, autocontrast 8, "
    "translate_y 3, sharpness 6, brightness 6, color 8, solarize 0, invert 0, equalize 0, autocontrast 0, "
    "equalize 8, equalize 4, color 9, equalize 5, autocontrast 4, solarize 4, brightness 3, color 0, "
    "solarize 1, autocontrast 0, translate_y 3, translate_y 3, autocontrast 1, solarize 1, equalize 5, "
    "invert 0, translate_y 3, autocontrast 1"
)
_MOST_WAYS = 1024
POLICIES = tuple((name, int(at)) for name, at in (entry.split() for entry in _PUBLISHED.split(", ")))


def magnitude(name: str, index: int) -> float:
    """Return a transform's magnitude at an index from 0 to 9; bits of ``posterize`` are whole."""
    low, high = _MAGNITUDES[name]
    found = low + (high - low) * index / 9
    return round(found) if name == "posterize" else found


@dataclass(frozen=True)
class Ats:
    """Train on images transformed by a public policy, drawn anew in every round.

    A policy is a list of transforms one after the other, by their numbers in the authors' list of 50; of
    several lists each image draws one, and a sign where a transform has two. Images are in [0, 1].

    The search for a policy is left out: it needs a half-trained network, and its result is public. The
    default is a published one (for ResNet20 on CIFAR-100, hybrid). Nothing tells that it suits other data.

    An attack rebuilds what the client trained on. Since policies are public, it then tries every list and
    every choice of signs, and keeps the one that explains an image (``undo``). What a translation moved out
    of the image is gone.

    Attributes:
        policy: Numbers from 0 to 49 joined by "-", lists of them by "+"; with at most 1,024 ways in which
            its lists and the signs in them can be chosen, since an attacker who knows of it tries all.
    """

    policy: str = "3-1-7+43-18-18"

    looks_at_examples: ClassVar[bool] = False
    adaptive: ClassVar[Mapping[str, object]] = {"name": "altered_examples"}

    def __post_init__(self) -> None:
        count = sum(2 ** sum(POLICIES[n][0] in SIGNED for n in one) for one in self._lists())
        if count > _MOST_WAYS:
            came = count if count < 10**12 else "more than 10^12"
            raise ValueError(f"policy must have at most {_MOST_WAYS} ways to undo it, got {came}")

    def _lists(self) -> list[list[int]]:
        """Return the policy's lists of transforms.

        Raises:
            ValueError: It is none.
        """
        parts = [part.split("-") for part in self.policy.split("+")]
        digits = all(n.isascii() and n.isdigit() and len(n) < 5 for part in parts for n in part)
        if not digits or any(int(n) >= len(POLICIES) for part in parts for n in part):
            raise ValueError(
                f"policy must be numbers from 0 to {len(POLICIES) - 1}, such as '3-1-7+43-18-18', "
                f"got {shown(self.policy)}"
            )
        return [[int(n) for n in part] for part in parts]

    def check(self, model: nn.Module, input_shape: Sequence[int]) -> None:
        if len(input_shape) != 3 or input_shape[0] not in (1, 3):
            raise PluginError(f"ats transforms images [1 or 3, height, width], got {list(input_shape)}")

    def examples(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        lists = self._lists()
        longest = max(map(len, lists))
        chosen = torch.from_numpy(generator.integers(len(lists), size=len(y)))
        signs = torch.from_numpy(generator.integers(2, size=(len(y), longest)) * 2 - 1).to(x)
        found = x.clone()
        for number, transforms in enumerate(lists):
            rows = chosen == number
            for at, (name, index) in enumerate(POLICIES[n] for n in transforms):
                if bool(rows.any()):
                    found[rows] = TRANSFORMS[name](found[rows], magnitude(name, index), signs[rows, at])
        return found.clamp(0, 1), y

    def undo(
        self, seen: Sequence[Tensor], _: tuple[float, float], __: np.random.Generator
    ) -> tuple[Tensor, float]:
        """Try every list of the policy with every choice of the signs that it looks at."""
        lists = [[POLICIES[n] for n in numbers] for numbers in self._lists()]
        choices = [product(*((1.0, -1.0) if name in SIGNED else (1.0,) for name, _ in one)) for one in lists]
        ways = [(one, signs) for one, some in zip(lists, choices, strict=True) for signs in some]

        def transform(x: Tensor, numbers: Tensor) -> Tensor:
            found = x
            for one in lists:
                own = [number for number, (of, _) in enumerate(ways) if of is one]
                rows = torch.isin(numbers, torch.tensor(own))
                if bool(rows.any()):
                    signs = torch.tensor([ways[n][1] for n in numbers[rows].tolist()])
                    found = found.index_put((rows,), _along(one, signs, x[rows]))
            return found

        return untransformed(seen, transform, len(ways), (0.0, 1.0))


def _along(transforms: Sequence[tuple[str, int]], signs: Tensor, x: Tensor) -> Tensor:
    """Return images after some transforms; derivatives go through levels as if there were none.

    Args:
        transforms: One after the other.
        signs: Of each image for each of them.  # [n, number]
        x: Images.  # [n, C, H, W]
    """
    for at, (name, index) in enumerate(transforms):
        made = TRANSFORMS[name](x, magnitude(name, index), signs[:, at])
        x = x + (made - x).detach() if name in STEPPED else made
    return x.clamp(0, 1)
