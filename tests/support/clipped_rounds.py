"""The Gaussian mechanism with a clipping inside, and one round of it."""

import torch

from gauntlet.core.declarations import clipped_at
from gauntlet.core.seeds import generator
from gauntlet.privacy.gaussian import Gaussian


def gaussian(clipping="quantile", z=1.0, clip_norm=0.7, relation="add_remove", **options) -> Gaussian:
    chosen = {"name": clipping, **options} if options else clipping
    return Gaussian(clip_norm, noise_multiplier=z, delta=1e-3, relation=relation, clipping=chosen)


def one_round(mechanism, updates, state, expected_size, stream=None):
    """Return the mean of what was let in, the state after the round, and the event."""
    clipped, state = mechanism.clip(updates, state)
    mean = clipped.vectors.double().sum(dim=0).float() / expected_size
    stream = stream or generator(0, "noise")
    noised, state = mechanism.noise(mean, expected_size, state, stream)
    sensitivity = clipped_at(mechanism, state) / expected_size
    return noised, state, mechanism.event(sensitivity, expected_size, state)


def rows_of(norms, size=4) -> torch.Tensor:
    vectors = torch.zeros(len(norms), size)
    vectors[:, 0] = torch.as_tensor(norms, dtype=torch.float32)
    return vectors
