"""Small runs that every test of this floor can vary."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from level_runs import TRAINING, UNIFORM, hetero

from gauntlet.clients.algorithms import ALGORITHMS
from gauntlet.core.contracts import LocalTraining
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec


@pytest.fixture
def small() -> Callable[..., RunSpec]:
    """Return a spec of 3 rounds on digits with 8 clients; keywords replace its fields.

    Without momentum where an algorithm takes steps of its own, which know none.
    """
    base = RunSpec(
        seed=7,
        rounds=3,
        num_clients=8,
        data=PluginSpec("digits"),
        partition=PluginSpec("iid"),
        model=PluginSpec("mlp", {"hidden": [8], "dropout": 0.2}),
        training=LocalTraining(local_epochs=1, batch_size=16, lr=0.1, momentum=0.5),
        rows=True,
    )
    plain = replace(base.training, momentum=0.0)

    def spec(**changes) -> RunSpec:
        algorithm = changes.get("algorithm", base.algorithm)
        own = hasattr(ALGORITHMS.find(algorithm.name), "work")
        return replace(base, **{"training": plain if own else base.training, **changes})

    return spec


@pytest.fixture
def busy(small) -> RunSpec:
    """A run in which everything that has a state or draws random numbers takes part."""
    return small(
        rounds=4,
        sampler=PluginSpec("poisson", {"sample_rate": 0.7}),
        codec=PluginSpec("terngrad"),
        network=PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.2}),
        privacy=PluginSpec("gaussian", {"clip_norm": 0.5, "noise_multiplier": 0.4, "delta": 0.01}),
        defense=PluginSpec("mean", {"weighting": "fixed"}),
        server_optimizer=PluginSpec("adam", {"lr": 0.01}),
        roles=(
            RoleSpec(PluginSpec("additive_noise", {"std": 0.1}), count=1),
            RoleSpec(PluginSpec("label_flip", {"source": 1, "target": 7}), clients=(2,)),
        ),
    )


@pytest.fixture
def levels(small) -> Callable[..., RunSpec]:
    """Return a spec of nine clients at three levels on two hidden layers; keywords replace its fields."""
    base = small(
        num_clients=9,
        training=TRAINING,
        vectorize="off",
        model=PluginSpec("mlp", {"hidden": [12, 6]}),
        partition=PluginSpec("pathological", {"classes_per_client": 4}),
        algorithm=hetero(),
        defense=UNIFORM,
    )
    return lambda **changes: replace(base, **changes)
