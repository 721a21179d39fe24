"""Classes from outside that inherit from one of ours and write a verb anew: that verb is asked, in every run.

What the one above declares of its own verb (that the aggregate is linear, say, so that workers may add up in
its place) is not theirs. Oracle: a verb that says aloud that it was asked.
"""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from gauntlet.attacks.servers.honest import Honest
from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.client_defenses.no_client_defense import NoClientDefense
from gauntlet.clients.codecs.identity import Identity
from gauntlet.clients.codecs.terngrad import TernGrad
from gauntlet.clients.tasks.classification import Classification
from gauntlet.core.contracts import Verdict
from gauntlet.core.errors import PluginError
from gauntlet.core.updates import Updates
from gauntlet.defenses.mean import Mean
from gauntlet.privacy.clippings.fixed import Fixed
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.server.networks.ideal import Ideal
from gauntlet.server.optimizers.sgd import SGD
from gauntlet.server.round import run_round
from gauntlet.server.schedules.synchronous import Synchronous
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

CENTRAL = {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}


def asked(*_: Any, **__: Any) -> Any:
    raise RuntimeError("I was asked")


class Rule(Mean):
    aggregate = asked


class Clips(Gaussian):
    clip = asked


class Privatizes(Gaussian):
    privatize = asked


class Shortens(Fixed):
    shorten = asked


class Encodes(Identity):
    encode = asked


class Decodes(TernGrad):
    decode = asked


class Loses(Classification):
    loss = asked


class Delivers(Ideal):
    deliver = asked


class Arrives(Synchronous):
    arrivals = asked


class Changes(NoClientDefense):
    change = asked


class Corrects(FedAvg):
    correct = asked


class Steps(SGD):
    step = asked


class Plants(Honest):
    plant = asked


CASES = {
    "defense": (Rule, {}),
    "privacy, clip": (Clips, CENTRAL),
    "privacy, privatize": (Privatizes, CENTRAL),
    "codec": (Encodes, {}),
    "codec, decode": (Decodes, {}),
    "task": (Loses, {}),
    "network": (Delivers, {}),
    "schedule": (Arrives, {}),
    "client_defense": (Changes, {}),
    "algorithm": (Corrects, {}),
    "server_optimizer": (Steps, {}),
    "server": (Plants, {}),
}


def one_round(scenario):
    simulation = prepare(scenario)
    return run_round(simulation.plan, simulation.first, simulation.serial_pool())


@pytest.mark.parametrize("case", CASES)
def test_the_verb_that_a_subclass_writes_is_asked(small, case):
    kind, options = CASES[case]
    plugin = PluginSpec(f"{__file__}:{kind.__name__}", options)
    scenario = small(rows=False, **{case.partition(",")[0]: plugin})
    with pytest.raises(PluginError, match="raised RuntimeError: I was asked"):
        one_round(scenario)


@pytest.mark.parametrize("mechanism", ["gaussian", "local_gaussian"])
def test_so_is_a_clippings(small, mechanism):
    options = {**CENTRAL, "clipping": f"{__file__}:Shortens"}
    with pytest.raises(PluginError, match="raised RuntimeError: I was asked"):
        one_round(small(rows=False, privacy=PluginSpec(mechanism, options)))


@dataclass(frozen=True)
class Doubled(Mean):
    """Twice the mean of equal clients: linear, and says so itself."""

    linear = True

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        verdict, _ = super().aggregate(updates, state)
        return replace(verdict, aggregate=2 * verdict.aggregate), state


def test_a_mean_of_ones_own_moves_the_model_as_it_says(small):
    """Whether single updates are asked for or not, and though it inherits what each client counts."""
    model = PluginSpec("mlp", {"hidden": [8]})
    moved = {}
    for name in ("mean", f"{__file__}:Doubled"):
        for rows in (True, False):
            simulation = prepare(small(rows=rows, model=model, defense=PluginSpec(name)))
            after, _ = run_round(simulation.plan, simulation.first, simulation.serial_pool())
            moved[name, rows] = after.params - simulation.first.params
    for rows in (True, False):
        torch.testing.assert_close(moved[f"{__file__}:Doubled", rows], 2 * moved["mean", rows])
