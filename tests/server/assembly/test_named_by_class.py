"""Plug-ins from outside that go with each other alone name each other, wherever their file lies."""

import numpy as np
import pytest

from gauntlet.core.contracts import Sampling
from gauntlet.core.errors import ScenarioError
from gauntlet.privacy.no_privacy import NoPrivacy
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec


class NeedsAll:
    """A procedure from outside that needs every client, and goes with a mechanism of its own file alone."""

    full_participation = True
    mechanisms = ("Bounded",)

    def schedule(self, training):
        return training

    def work(self, visit):
        gradient, loss = visit.gradient(visit.received)
        return -0.1 * gradient, loss

    def init(self):
        return None

    def step(self, params, aggregate, state):
        return params + aggregate, state


class Bounded(NoPrivacy):
    """A mechanism from outside for that procedure alone."""

    algorithms = ("NeedsAll",)


class Everyone:
    """A sampler from outside that takes everybody."""

    def sampling(self, num_clients):
        return Sampling("full", num_clients, 1.0, float(num_clients))

    def sample(self, num_clients, generator):
        return np.arange(num_clients)


def test_plug_ins_from_outside_name_each_other_by_their_class_and_are_taken_by_what_they_say(small):
    """Wherever their file lies; and who needs everybody goes with any sampler that takes everybody."""
    fits = {"model": PluginSpec("logistic_regression"), "defense": PluginSpec("mean", {"weighting": "fixed"})}
    algorithm, mechanism, everyone = (
        PluginSpec(f"{__file__}:{name}") for name in ("NeedsAll", "Bounded", "Everyone")
    )
    prepare(small(**fits, algorithm=algorithm, privacy=mechanism, sampler=everyone))

    for changes, words in (
        (
            {"algorithm": PluginSpec("fedavg"), "privacy": mechanism},
            "goes with algorithm NeedsAll, got 'fedavg'",
        ),
        ({"algorithm": algorithm, "privacy": PluginSpec("none")}, "goes with privacy Bounded, got 'none'"),
        (
            {
                "algorithm": algorithm,
                "privacy": mechanism,
                "sampler": PluginSpec("fixed_size", {"cohort_size": 2}),
            },
            "every client in every round",
        ),
    ):
        with pytest.raises(ScenarioError, match=words):
            prepare(small(**fits, **changes))
