"""LoRA by products: average what clients' adapters add to the weights, and not their factors.

The mean of products B_k A_k is not the product of mean B_k and mean A_k. Here the mean product's best
approximation of rank r is written as factors again.

Source: Bai, Chen, Qian, Yao, Li. Federated Fine-tuning of Large Language Models under Heterogeneous Tasks and
Client Resources (FlexLoRA). NeurIPS 2024, Section 3 (products, singular values). arXiv:2402.11505, recalled
and not read again. That A stays as near as can be to the clients' mean is ours.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates, weighted_sum
from .mean import check_weighting, client_shares
from .parts.memory import stored

DOWN, UP = ".lora_down.weight", ".lora_up.weight"
_NONE = 1e-7  # of the largest singular value: what float32 may have made of nothing


@dataclass(frozen=True)
class LoraProduct:
    """Average adapters of model ``lora`` layer by layer as products, and everything else as ``mean`` does.

    With A [r, n] and B [m, r] of each client, the new global B A is the best approximation of rank r of
    sum_k p_k B_k A_k. Of all its factors those are taken whose A is nearest to the mean A, so that a server
    optimizer goes on along what it went before. ``details`` has ``factor_gap``: how far the product of the
    mean factors is from the mean product, over the latter's length, the largest of all layers; the same for
    every client. A model without adapters is averaged as by ``mean``. No defense: one liar moves it.

    Attributes:
        weighting: p_k: ``"num_examples"``, or ``"uniform"``.
    """

    weighting: Literal["num_examples", "uniform"] = "num_examples"

    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_weighting(self.weighting)

    @property
    def weighs_examples(self) -> bool:
        """Whether clients weigh by the examples that they claim."""
        return self.weighting == "num_examples"

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        shares = client_shares(updates, self.weighting)
        mean = stored(weighted_sum(updates.vectors, shares), updates.vectors.dtype)  # [P]
        context = updates.context
        names = [] if context is None else [slot.name for slot in context.layout.parameters]
        layers = [name.removesuffix(DOWN) for name in names if name.endswith(DOWN)]
        if context is None or not (layers := [name for name in layers if name + UP in names]):
            return Verdict(mean), state
        own, before = context.layout.views(mean), context.layout.views(context.params.double())
        sent, gap = context.layout.views(updates.vectors), 0.0
        for layer in layers:
            a, b = (before[layer + leaf] for leaf in (DOWN, UP))
            each = (b + sent[layer + UP].double(), a + sent[layer + DOWN].double())
            product = torch.einsum("k,kmr,krn->mn", shares, *each)
            mean_b, mean_a = (torch.einsum("k,kij->ij", shares, factor) for factor in each)
            length = product.norm().clamp(min=1e-300)
            gap = max(gap, float((mean_b @ mean_a - product).norm() / length))
            new_a, new_b = factors(product, mean_a)
            own[layer + DOWN].copy_(new_a - a)
            own[layer + UP].copy_(new_b - b)
        details = {int(client): {"factor_gap": gap} for client in updates.client_ids}
        return Verdict(mean, details=details), state


def factors(product: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    """Return A [r, n] and B [m, r] whose product is the best approximation of rank r of ``product`` [m, n].

    A's rows span what the product needs, and where that has fewer dimensions what is left of ``near`` [r, n];
    it is ``near`` projected on that, so that the product of factors of the same A is given back as it was.
    """
    rank = len(near)
    values, right = torch.linalg.svd(product, full_matrices=False)[1:]
    needed = right[:rank][values[:rank] > _NONE * values[0].clamp(min=1e-300)]  # [q, n]
    rest = near - (near @ needed.T) @ needed
    free = torch.linalg.svd(rest, full_matrices=False)[2][: rank - len(needed)]
    space = torch.cat([needed, free])  # [r, n]
    small = near @ space.T  # [r, r]
    a = small @ space
    b = (product @ needed.T) @ needed @ space.T @ torch.linalg.pinv(small, rtol=1e-9)
    return a, b
