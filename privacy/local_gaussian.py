"""Local differential privacy: every client clips and noises its own update before sending it.

Source: Kasiviswanathan, Lee, Nissim, Raskhodnikova, Smith. What Can We Learn Privately? FOCS 2008, the
local model, arXiv:0803.0924; with the Gaussian mechanism of Dwork and Roth. The Algorithmic Foundations
of Differential Privacy. 2014, Appendix A.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from ..core.contracts import NoGuarantee, Release
from ..core.seeds import Streams, normal
from ..core.updates import Updates
from .clippings.parts import finite_or_zero
from .parts.bound import Bound, Choice, make_bound
from .parts.budget import check_budget, known_multiplier


@dataclass(frozen=True)
class LocalGaussian:
    """Clip to C on the client, add N(0, (z C)^2) to every coordinate there, and trust nobody.

    Whatever the server does with the messages is post-processing, so that any defense keeps the
    guarantee. Two updates can differ by 2C, hence the relation ``replace_one``; the server sees who
    sends, hence no amplification by sampling. The update is noised, and the number of examples is not:
    ``counts`` says whether that number is part of the secret.

    Attributes:
        clip_norm: C, in units of the update's L2 norm, above 0.
        noise_multiplier: Standard deviation of one client's noise over ``clip_norm`` (z), at least 0.
            0 clips only, and proves nothing. None where it follows from ``epsilon``.
        epsilon: What the whole run may cost one client, above 0, instead of ``noise_multiplier``.
        delta: The probability that epsilon may fail, between 0 and 1.
        counts: ``"public"``: everybody may know how many examples a client holds, and neighbours hold equally
            many; the number goes with the message in the clear, weighs it and decides how long the client
            computes. ``"private"``: neighbours may hold any number, and there is no epsilon where that number
            decides anything (reasons ``weights``, ``selection``, ``attackers_see_updates``).
        clipping: How updates are brought under C by the clients alone: ``fixed``, ``autos``, ``autov``,
            ``psac`` or a plug-in of yours; a table of ``name`` and options, or the name alone.
    """

    clip_norm: float
    noise_multiplier: float | None = None
    epsilon: float | None = None
    delta: float | None = None
    counts: Literal["public", "private"] = "public"
    clipping: Choice = "fixed"

    unit: ClassVar[str] = "client"
    trust_model: ClassVar[str] = "local"
    settled: ClassVar[bool] = True
    relation: ClassVar[str] = "replace_one"

    def __post_init__(self) -> None:
        check_budget(self.clip_norm, self.noise_multiplier, self.epsilon, self.delta)
        if self.counts not in ("public", "private"):
            raise ValueError(f"counts must be public or private, got {self.counts!r}")
        if not self._bound.on_clients:
            raise ValueError(
                "clipping must be one that a client can do alone (fixed, autos, autov, psac), "
                f"got {self.clipping!r}"
            )

    @cached_property
    def _bound(self) -> Bound:
        return make_bound(self.clipping, self.clip_norm, self.relation)

    @property
    def public(self) -> tuple[str, ...]:
        """What neighbours have in common."""
        return ("num_examples",) if self.counts == "public" else ()

    def init(self) -> None:
        return None

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        """Clip and noise; an update with NaN or infinity counts as zero, since nobody else may check."""
        std = known_multiplier(self.noise_multiplier) * self.clip_norm
        messages = self._bound.send(updates.with_vectors(finite_or_zero(updates.vectors))).vectors
        if std > 0:
            for message, client_id in zip(messages, updates.client_ids.tolist(), strict=True):
                message += normal(streams(client_id), len(message), std).to(message.device)
        return updates.with_vectors(messages)

    def clip(self, updates: Updates, state: None) -> tuple[Updates, None]:
        """Leave the noised messages alone: clipping them would only bias the mean."""
        return updates, state

    def noise(
        self, aggregate: Tensor, expected_size: float, state: None, generator: np.random.Generator
    ) -> tuple[Tensor, None]:
        return aggregate, state

    def event(self, sensitivity: float | None, expected_size: float, state: None) -> Release | NoGuarantee:
        z = known_multiplier(self.noise_multiplier)
        return Release(z, self.relation, amplified=False) if z > 0 else NoGuarantee("no_mechanism")
