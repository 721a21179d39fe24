"""MGDA: the shortest average of the updates, which no client's update points against.

Source: Desideri. Multiple-Gradient Descent Algorithm (MGDA) for Multiobjective Optimization. Comptes Rendus
Mathematique 350, 2012; as minimum over a hull: Sener, Koltun. Multi-Task Learning as Multi-Objective
Optimization. NeurIPS 2018, Section 3.2. arXiv:1810.04650. Clients in the place of tasks: Hu, Shaloudegi,
Zhang, Yu. Federated Learning Meets Multi-Objective Optimization (FedMGDA+). 2020. arXiv:2006.11489 (its bound
on how far weights leave the average is not here). Steps between pairs: Lacoste-Julien, Jaggi. On the Global
Linear Convergence of Frank-Wolfe Optimization Variants. NeurIPS 2015. arXiv:1511.05932
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..core.contracts import Verdict
from ..core.updates import Updates, weighted_sum
from .parts.columns import Array
from .parts.geometry import NO_LENGTH, gram_of
from .parts.memory import stored

TOLERANCE = 1e-12
MOST_STEPS = 20_000


@dataclass(frozen=True)
class MGDA:
    """Aggregate with the weights, at least 0 and summing to 1, that make the aggregate shortest.

    Its product with every update is then at least its squared length, so that to first order it is an
    improvement for everybody. Where clients disagree it is short, and 0 once 0 is an average of the updates.
    Scores are these products over the squared length of the longest update.

    Attributes:
        normalize: Look for the weights among updates brought to length 1, and average these.
        rescale: Bring the aggregate to the mean length of the updates; one shorter than 1e-6 of the longest
            stays, since what is found of it is rounding.
    """

    normalize: bool = False
    rescale: bool = False

    @property
    def exempt(self) -> tuple[str, ...]:
        """Normalized alone, equal updates come back at length 1."""
        return ("equal_updates_come_back_unchanged",) if self.normalize and not self.rescale else ()

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        gram = gram_of(updates.vectors)
        lengths = np.sqrt(np.diagonal(gram))  # [K]
        scale = np.ones_like(lengths)
        if self.normalize:
            scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths >= NO_LENGTH)
        gram = gram * scale[:, None] * scale
        shares = shortest(gram)
        products = gram @ shares  # [K]
        factor = 1.0
        if self.rescale:
            mean, length = float(lengths.mean()), float(np.sqrt(max(shares @ products, 0.0)))
            factor = mean / length if length > np.sqrt(TOLERANCE * np.diagonal(gram).max()) else 1.0
        combined = weighted_sum(updates.vectors, torch.from_numpy(shares * scale * factor))
        longest = float(np.diagonal(gram).max()) or 1.0
        scores = dict(zip(updates.client_ids.tolist(), (products / longest).tolist(), strict=True))
        aggregate = stored(combined, updates.vectors.dtype)
        return Verdict(aggregate, torch.from_numpy(shares), scores=scores), state


def shortest(gram: Array) -> Array:
    """Return the weights of the shortest point in the hull of vectors with these inner products.  # [K]

    In each step weight goes from the vector with the largest product to that with the least, as far as
    shortens the point; it ends where the two are within 1e-12 of the longest vector's squared length.
    """
    shares = np.full(len(gram), 1 / len(gram))
    bound = TOLERANCE * float(np.diagonal(gram).max())
    for _ in range(MOST_STEPS):
        products = gram @ shares
        there = int(products.argmin())
        here = int(np.where(shares > 0, products, -np.inf).argmax())
        gap = products[here] - products[there]
        if gap <= bound:
            break
        curve = gram[here, here] + gram[there, there] - 2 * gram[here, there]
        going = min(shares[here], gap / curve) if curve > 0 else shares[here]
        shares[there] += going
        shares[here] = shares[here] - going if going < shares[here] else 0.0
    return np.asarray(shares / shares.sum())
