"""The canaries of an audit: made-up clients behind the population, and what the release says about them.

Canary j is client N + j. It has no data: it always sends the same random direction, much too long, so that
clipping brings it to norm C. It is sampled, encoded, delivered, clipped and averaged like everybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...core.seeds import generator
from ...core.updates import Context, Updates, concatenate

if TYPE_CHECKING:
    from ...clients.exchange.messages import Trained
    from ...core.contracts import Privacy

Array = np.ndarray[Any, Any]

TOO_LONG = 1e4  # length of what a canary would like to send, in units of the clip norm
_FLOATS = 1 << 22  # of directions in memory at a time


@dataclass(frozen=True, eq=False)
class Canaries:
    """Who is a canary, what each sends, and how to find it again.

    Attributes:
        seed: The run's seed.
        first: The first canary's client id: N, the number of real clients.
        present: Which canaries send anything.  # [k]
        num_unseen: Directions beyond those, which belong to nobody.
        num_parameters: P.
        privacy: The mechanism whose client-side half canaries obey.
        clip_norm: C; 1 where there is no canary.
    """

    seed: int
    noise_seed: int
    first: int
    present: Array
    num_unseen: int
    num_parameters: int
    privacy: Privacy
    clip_norm: float

    def __len__(self) -> int:
        return len(self.present)

    def cohort(self, drawn: Array) -> Array:
        """Return the drawn clients without the canaries that are absent."""
        if not len(self):
            return drawn
        canary = drawn >= self.first
        silent = np.zeros(len(drawn), dtype=bool)
        silent[canary] = ~self.present[drawn[canary] - self.first]
        return drawn[~silent]

    def clients(self, cohort: Array) -> Array:
        """Return those of a cohort that have data to train on."""
        return cohort[cohort < self.first]

    def join(self, trained: Trained, cohort: Array, context: Context) -> Trained:
        """Return the cohort's updates with those of its canaries behind the clients'.

        A canary holds one example and no loss (NaN). ``context`` is the round's.
        """
        ids = cohort[cohort >= self.first]
        if not len(ids):
            return trained
        wishes = torch.stack([self.direction(i - self.first) for i in ids.tolist()])  # [k, P]
        wishes *= TOO_LONG * self.clip_norm
        nothing = torch.zeros(len(ids), trained.updates.buffers.shape[1])
        ones = torch.ones(len(ids), dtype=torch.int64)
        own = Updates(wishes, torch.from_numpy(ids), ones, buffers=nothing, context=context)
        sent = self.privacy.privatize(
            own, lambda i: generator(self.noise_seed, "client noise", context.round, i)
        )
        everybody = concatenate([trained.updates, sent], trained.updates.expected_size)
        losses = torch.cat([trained.losses, torch.full((len(ids),), float("nan"))])
        norms = torch.cat([trained.norms, torch.full((len(ids),), float("nan"), dtype=torch.float64)])
        return replace(trained, updates=everybody, losses=losses, norms=norms)

    def direction(self, number: int) -> Tensor:
        """Return the unit vector of canary (or unseen direction) ``number``, float32.  # [P]"""
        stream = generator(self.seed, "canary", number)
        drawn = torch.from_numpy(stream.standard_normal(self.num_parameters, dtype=np.float32))
        unit: Tensor = drawn / torch.linalg.vector_norm(drawn, dtype=torch.float64).float()
        return unit

    def cosines(self, change: Tensor) -> Array:
        """Return the cosine of every direction with a change of the model [P]; 0 where nothing changed.

        Memory holds some directions at a time, never all of them.  # [k + num_unseen]
        """
        length = float(torch.linalg.vector_norm(change, dtype=torch.float64))
        if length == 0:
            return np.zeros(len(self) + self.num_unseen)
        unit = (change.double() / length).float()
        return np.concatenate([(rows @ unit).double().numpy() for rows in self._blocks()])

    def _blocks(self) -> Iterator[Tensor]:
        total, size = len(self) + self.num_unseen, max(1, _FLOATS // self.num_parameters)
        for at in range(0, total, size):
            yield torch.stack([self.direction(i) for i in range(at, min(at + size, total))])
