"""How far the gradients of dummy examples are from what was sent, one number a search.

Source: squared distance: Zhu, Liu, Han. Deep Leakage from Gradients. NeurIPS 2019, Algorithm 1.
arXiv:1906.08935. Cosine: Geiping, Bauermeister, Droege, Moeller. Inverting Gradients. NeurIPS 2020,
Equation 4. arXiv:2003.14053.
"""

from collections.abc import Callable

from torch import Tensor

Distance = Callable[[Tensor], Tensor]
"""From gradients [R, P] to how far each is from what was sent [R], least at the truth."""


def squared(target: Tensor, counts: Tensor | None = None, resized: bool = False) -> Distance:
    """Return ||g - G||^2 / ||G||^2, so that 1 is what a zero gradient scores, for every model.

    Of a target of zeros, which says nothing of examples, it is infinite or no number.

    Args:
        target: The gradient G behind the message.  # [P]
        counts: Which entries count; by default all.  # [P]
        resized: Whether gradients are brought to the length of G first: what was clipped is of another.
    """
    scale = float(target.square().sum())

    def distance(gradients: Tensor) -> Tensor:
        if resized:
            gradients = _resized(gradients, target, counts)
        difference = gradients - target
        return (difference if counts is None else difference * counts).square().sum(dim=1) / scale

    return distance


def residual(target: Tensor, counts: Tensor | None = None, resized: bool = False) -> Distance:
    """Return (g - G) / ||G|| for one gradient g [P], of which ``squared`` is the squared norm.  # [P]

    Args:
        target: The gradient G behind the message.  # [P]
        counts: Which entries count; by default all.  # [P]
        resized: As for ``squared``.
    """
    scale = float(target.double().norm())

    def difference(gradient: Tensor) -> Tensor:
        if resized:
            gradient = _resized(gradient, target, counts)
        found = (gradient - target) / scale
        return found if counts is None else found * counts

    return difference


def _resized(gradients: Tensor, target: Tensor, counts: Tensor | None) -> Tensor:
    """Return gradients [..., P] of which the entries that count are as long as the target's [P]."""
    seen, wanted = (gradients, target) if counts is None else (gradients * counts, target * counts)
    factors: Tensor = wanted.norm() / seen.norm(dim=-1, keepdim=True).clamp(min=1e-30)
    return gradients * factors


def cosine(target: Tensor, counts: Tensor | None = None) -> Distance:
    """Return 1 - <g, G> / (||g|| ||G||), all parameters as one vector; the size of G is free.

    Args:
        target: Any positive multiple of the gradient G behind the message.  # [P]
        counts: Which entries count; by default all.  # [P]
    """
    wanted = target if counts is None else target * counts
    wanted = wanted / (float(wanted.double().norm()) or 1.0)

    def distance(gradients: Tensor) -> Tensor:
        seen = gradients if counts is None else gradients * counts
        along: Tensor = seen @ wanted  # [R]
        sizes: Tensor = seen.norm(dim=1)
        return 1 - along / sizes.clamp(min=1e-30)

    return distance
