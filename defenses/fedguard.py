"""FedGuard, a reconstruction: keep the updates that do better than average on examples that a decoder draws.

Source: Chelli, Prigent, Schubotz, Costan, Antoniu, Cudennec. FedGuard: Selective Parameter Aggregation for
Poisoning Attack Mitigation in Federated Learning. IEEE CLUSTER 2023 (abstract).
doi:10.1109/CLUSTER52292.2023.00014
There clients train conditional autoencoders and send their decoders along. Here messages are updates alone,
and the server trains one such decoder on examples of its own: the rule is theirs, the decoder is not, and
what it costs clients is left out. The rule's details are unverified.
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from math import inf
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.seeds import generator
from ..core.updates import Context, Updates
from .parts.cvae import Shape, decoded, trained_decoder
from .parts.screening import needed, own_classes, screened, stream, uniform

_NUMBERS = 2**22  # of the candidates that are written down together: 16 MiB
_KEPT: OrderedDict[tuple[Any, ...], list[Tensor]] = OrderedDict()
_MOST_KEPT = 8  # decoders


@dataclass(frozen=True)
class FedGuard:
    """Average the clients whose accuracy on drawn examples is at least the cohort's mean.

    A conditional variational autoencoder is trained once, in the first round, on the server's own examples;
    its decoder draws as many examples of each class, anew in every round. Scores are accuracies of w + x.
    Nobody needs to be told how many lie, but about half of an honest cohort are left out, and flagged.

    It fails where a lie leaves accuracy as it is, as a backdoor does, and where clients' classes differ.

    Attributes:
        num_drawn: Examples drawn in a round, at least one of each class.
        hidden: Hidden units of encoder and decoder, at least 1.
        latent: Dimensions of the code, at least 1.
        steps: Steps of Adam in which the autoencoder is trained, at least 1.
        lr: Their size, above 0.
    """

    num_drawn: int = 200
    hidden: int = 128
    latent: int = 8
    steps: int = 400
    lr: float = 0.005

    needs_root: ClassVar[bool] = True
    runs_models: ClassVar[bool] = True
    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if min(self.num_drawn, self.hidden, self.latent, self.steps) < 1 or not 0 < self.lr < inf:
            raise ValueError(
                "num_drawn, hidden, latent and steps must be at least 1, lr above 0 and finite, got "
                f"{self.num_drawn}, {self.hidden}, {self.latent}, {self.steps}, {self.lr}"
            )

    def init(self) -> list[Tensor]:
        return []

    def aggregate(self, updates: Updates, state: list[Tensor]) -> tuple[Verdict, list[Tensor]]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        context = needed(updates, "fedguard", "the server's own examples")
        own, run, classes = own_classes(context, "fedguard")
        if self.num_drawn < classes:
            raise ValueError(f"num_drawn must be at least {classes}, got {self.num_drawn}")
        decoder = state or self._trained(context, classes)
        y = torch.arange(self.num_drawn) % classes
        low, high = own.x.aminmax()
        drawn = low + (high - low) * decoded(decoder, y, classes, stream(updates, "fedguard"))
        x = drawn.reshape(-1, *own.x.shape[1:])
        height = max(1, _NUMBERS // max(1, updates.vectors.shape[1]))
        parts = torch.split(updates.vectors, height)
        hits = torch.cat([run(context.params + part, x).argmax(dim=-1) == y for part in parts])  # [K, n]
        scores = hits.to(torch.float64).mean(dim=1)
        keep = scores >= scores.mean() - 1e-12
        return screened(updates, uniform(keep), ~keep, scores), decoder

    def _trained(self, context: Context, classes: int) -> list[Tensor]:
        """Return the decoder; of the last few none is trained twice.

        An attacker that knows the rule asks it many times in the first round, and runs of a matrix share the
        examples and the seed.
        """
        own = context.examples
        assert own is not None
        low, high = own.x.aminmax()
        x = ((own.x - low) / (high - low).clamp(min=1e-12)).flatten(1).to(torch.float32)
        shape = Shape(self.hidden, self.latent, self.steps, self.lr)
        content = (_digest(x), x.shape, _digest(own.y), classes, shape, context.seed)
        decoder = _KEPT.pop(content, None)
        if decoder is None:
            decoder = trained_decoder(x, own.y, classes, shape, generator(context.seed, "fedguard decoder"))
        _KEPT[content] = decoder
        if len(_KEPT) > _MOST_KEPT:
            _KEPT.popitem(last=False)
        return [weights.clone() for weights in decoder]


def _digest(values: Tensor) -> bytes:
    return blake2b(values.contiguous().numpy().tobytes(), digest_size=16).digest()
