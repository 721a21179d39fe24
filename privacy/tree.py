"""DP-FTRL with tree aggregation: noise on partial sums over the rounds, and no sampling to rely on.

Source: Kairouz, McMahan, Song, Thakkar, Thakurta, Xu. Practical and Private (Deep) Learning Without
Sampling or Shuffling. ICML 2021, Algorithm 1, arXiv:2103.00039. Tree: Chan, Shi, Song. Private and
Continual Release of Statistics. TISSEC 2011.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np
from torch import Tensor

from ..core import seeds
from ..core.contracts import NoGuarantee, Release
from ..core.seeds import Streams
from ..core.trees import State
from ..core.updates import Updates
from .clippings.parts import clip_finite_rows, clip_rows
from .parts.budget import check_budget, check_participation, known_multiplier


@dataclass(frozen=True)
class Tree:
    """Noise every prefix sum of the clipped means with the few nodes of a binary tree that make it up.

    Leaf t is round t. Of all nodes only left children are ever read: the one that ends with leaf t (counted
    from 1) covers the last 2^j leaves, 2^j being the largest power of two that divides t. A prefix of t
    rounds is the sum of popcount(t) nodes, each with noise z * C on the sum, so that the noise in the model
    grows with log(t) instead of t. What round t adds is the difference of two prefixes; a node's noise is
    drawn again from its own stream when its turn ends, and never stored.

    Whoever is drawn, the guarantee holds (``zero_out``); the ledger charges every client for the nodes that
    its rounds really fell into.

    Attributes:
        clip_norm: C, in units of the update's L2 norm, above 0.
        noise_multiplier: Standard deviation of a node's noise over ``clip_norm`` (z), at least 0. 0 clips
            only, and proves nothing. None where it follows from ``epsilon``.
        epsilon: What the whole run may cost, above 0, instead of ``noise_multiplier``.
        delta: The probability that epsilon may fail, between 0 and 1.
        restart_every: Rounds after which a new tree is begun, at least 1; None never begins one.
        min_separation: How many rounds apart two rounds of one client must be at least; a sampler that does
            not promise it is refused.
        max_participations: In how many rounds one client may take part at most; likewise. None: any.
    """

    clip_norm: float
    noise_multiplier: float | None = None
    epsilon: float | None = None
    delta: float | None = None
    restart_every: int | None = None
    min_separation: int = 1
    max_participations: int | None = None

    unit: ClassVar[str] = "client"
    trust_model: ClassVar[str] = "central"
    relation: ClassVar[str] = "zero_out"

    def __post_init__(self) -> None:
        check_budget(self.clip_norm, self.noise_multiplier, self.epsilon, self.delta)
        check_participation(self.min_separation, self.max_participations)
        if self.restart_every is not None and self.restart_every < 1:
            raise ValueError(f"restart_every must be at least 1, got {self.restart_every}")

    def init(self) -> State:
        """Return the rounds noised so far, and the key of the nodes' streams, not drawn yet."""
        return {"round": 0, "key": None}

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        """Clip; a row with NaN or infinity stays, so that the server's finite check finds it."""
        return updates.with_vectors(clip_finite_rows(updates.vectors, self.clip_norm))

    def clip(self, updates: Updates, state: State) -> tuple[Updates, State]:
        """Clip again what came. Raises ``ValueError`` on rows that are not finite."""
        return updates.with_vectors(clip_rows(updates.vectors, self.clip_norm)), state

    def noise(
        self, aggregate: Tensor, expected_size: float, state: State, generator: np.random.Generator
    ) -> tuple[Tensor, State]:
        """Add this prefix's noise, and take away the last one's."""
        std = known_multiplier(self.noise_multiplier) * self.clip_norm / expected_size
        key = int(generator.integers(2**62)) if state["key"] is None else state["key"]
        after = {"round": state["round"] + 1, "key": key}
        if std == 0:
            return aggregate, after
        epoch, leaf = self._leaf(state["round"])
        noised = aggregate.clone()
        for end, sign in changed_nodes(leaf):
            node = seeds.generator(key, "tree node", epoch, end)
            noised += sign * seeds.normal(node, len(aggregate), std).to(aggregate.device)
        return noised, after

    def event(self, sensitivity: float | None, expected_size: float, state: State) -> Release | NoGuarantee:
        """Charge the node that the last round completed."""
        z = known_multiplier(self.noise_multiplier)
        if z == 0:
            return NoGuarantee("no_mechanism")
        if sensitivity is None or not (isfinite(sensitivity) and sensitivity > 0):
            return NoGuarantee("aggregator")
        multiplier = z * (self.clip_norm / expected_size / sensitivity)
        mixing = self._mixing(max(state["round"], 1) - 1)
        return Release(multiplier, self.relation, amplified=False, mixing=mixing)

    def mixings(self, rounds: int) -> Iterator[tuple[float, ...]]:
        """Yield the ``Release.mixing`` of every round."""
        return (self._mixing(t) for t in range(rounds))

    def _mixing(self, round_: int) -> tuple[float, ...]:
        _, leaf = self._leaf(round_)
        return (1.0,) * (leaf & -leaf)

    def _leaf(self, round_: int) -> tuple[int, int]:
        """Return (the tree, the leaf from 1) of a round."""
        epoch, leaf = divmod(round_, self.restart_every or round_ + 1)
        return epoch, leaf + 1


def changed_nodes(leaf: int) -> list[tuple[int, float]]:
    """Return the nodes, by their last leaf, that enter (+1) or leave (-1) the prefix with ``leaf``."""
    leaving = [2**j for j in range((leaf & -leaf).bit_length() - 1)]
    return [(leaf, 1.0), *((leaf - step, -1.0) for step in leaving)]
