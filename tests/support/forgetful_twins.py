"""Mechanisms that are right for nearly everybody: each leaves out one client, tensor, coordinate or round."""

from typing import Any

import torch
from central_twins import Twin
from client_twins import ExampleTwin, LocalTwin

from gauntlet.core.seeds import normal


def kept(updates, clipped, rows):
    """Return the clipped cohort with these rows as they came."""
    vectors = clipped.vectors.clone()
    vectors[rows] = updates.vectors[rows]
    return clipped.with_vectors(vectors)


class LeavesRow(Twin):
    """Lets one row of every cohort through."""

    row = 0

    def clip(self, updates, state):
        clipped, _ = super().clip(updates, None)
        return (kept(updates, clipped, [self.row]) if len(updates) else clipped), state


class LeavesTheLastRow(LeavesRow):
    row = -1


class LeavesOneOfALargeCohort(Twin):
    def clip(self, updates, state):
        clipped, _ = super().clip(updates, None)
        return (kept(updates, clipped, [17]) if len(updates) > 32 else clipped), state


class LeavesEverybodyInTheSecondRound(Twin):
    def init(self) -> Any:
        return {"round": 0}

    def clip(self, updates, state):
        clipped, _ = super().clip(updates, None)
        return (updates if state["round"] == 1 else clipped), {"round": state["round"] + 1}


class LeavesOneClient(Twin):
    """Client 0, who may be the mechanism's author."""

    def clip(self, updates, state):
        clipped, _ = super().clip(updates, None)
        return kept(updates, clipped, updates.client_ids == 0), state


class LeavesALayer(Twin):
    """Clips all but the last ten coordinates, a layer's bias."""

    def clip(self, updates, state):
        front = updates.with_vectors(updates.vectors[:, :-10])
        clipped = super().clip(front, None)[0].vectors
        return updates.with_vectors(torch.cat([clipped, updates.vectors[:, -10:]], dim=1)), state


class SendsOneRowUnclipped(Twin):
    def privatize(self, updates, streams):
        return kept(updates, super().privatize(updates, streams), [len(updates) - 1])


class SendsALargeCohortUnclipped(LocalTwin):
    def privatize(self, updates, streams):
        sent = super().privatize(updates, streams)
        if len(updates) < 100:
            return sent
        vectors = sent.vectors.clone()
        vectors[63] = updates.vectors[63] + normal(streams(int(updates.client_ids[63])), 301, 0.91)
        return sent.with_vectors(vectors)


class LeavesABlockBare(Twin):
    """Noises all coordinates but a fiftieth of them: the variance of all is hardly less."""

    def noise(self, aggregate, expected_size, state, generator):
        noised, _ = super().noise(aggregate, expected_size, None, generator)
        few = slice(0, max(1, len(aggregate) // 50))
        noised[few] = aggregate[few]
        return noised, state


class LeavesABlockBareOnClients(LocalTwin):
    def privatize(self, updates, streams):
        sent = super().privatize(updates, streams)
        few = updates.vectors.shape[1] // 50
        vectors = sent.vectors.clone()
        vectors[:, -few:] = self.inner.privatize(updates, streams).vectors[:, -few:]
        return sent.with_vectors(vectors)


class RepeatsItsNoise(Twin):
    """Keeps the noise of its first round and adds it again in every later one."""

    def init(self) -> Any:
        return {"noise": None}

    def noise(self, aggregate, expected_size, state, generator):
        noised, _ = super().noise(aggregate, expected_size, None, generator)
        if state["noise"] is None or len(state["noise"]) != len(aggregate):
            return noised, {"noise": noised - aggregate}
        return aggregate + state["noise"], state


class RepeatsHalfOfItsNoise(Twin):
    """Half of each round's variance is that of the round before."""

    def init(self) -> Any:
        return {"noise": None}

    def noise(self, aggregate, expected_size, state, generator):
        fresh = super().noise(torch.zeros_like(aggregate), expected_size, None, generator)[0]
        old = state["noise"]
        if old is None or len(old) != len(aggregate):
            return aggregate + fresh, {"noise": fresh}
        return aggregate + 0.5**0.5 * (fresh + old), {"noise": fresh}


class LeavesOneExampleOfABatch(ExampleTwin):
    def weigh(self, squares, sizes):
        weights = super().weigh(squares, sizes).clone()
        if squares.shape[-1] > 32:
            weights[..., 20] = 1.0
        return weights
