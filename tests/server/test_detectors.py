"""Each filter and detector in a whole run: against an attack that it was made for it beats the plain mean.

Oracle: the plain mean in the same run, and the truth about who lies.
"""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from gauntlet.core.contracts import LocalTraining
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec

SPEC = RunSpec(
    seed=3,
    rounds=7,
    num_clients=12,
    data=PluginSpec("digits"),
    partition=PluginSpec("iid"),
    model=PluginSpec("mlp", {"hidden": [16]}),
    training=LocalTraining(local_epochs=2, batch_size=16, lr=0.2),
    evaluate_every=100,
)
FLIP = PluginSpec("sign_flip", {"scale": 5.0})


@dataclass(frozen=True)
class Trigger:
    """A backdoor: half of the examples get a bright corner and are called a 7."""

    def poison(self, x: torch.Tensor, y: torch.Tensor, generator: Any) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = x.clone(), y.clone()
        x[: len(y) // 2, ..., :2, :2] = 1.0
        y[: len(y) // 2] = 7
        return x, y


def play(defense, options=None, attack=FLIP, liars=3, start_round=0, **changes):
    """Return the simulation and its last step."""
    roles = (RoleSpec(attack, tuple(range(liars)), start_round=start_round),)
    simulation = prepare(replace(SPEC, defense=PluginSpec(defense, options or {}), roles=roles, **changes))
    return simulation, list(simulation.steps(simulation.serial_pool()))[-1]


@pytest.mark.parametrize(
    ("name", "options", "setting", "missed"),
    [
        ("fltrust", {}, {"liars": 7, "root_examples": 100}, 0),
        ("flame", {}, {}, 0),
        ("dnc", {"num_byzantine": 3}, {}, 0),
        ("signguard", {}, {}, 0),
        ("clipped_clustering", {}, {}, 0),
        ("lasa", {}, {}, 2),  # it judges layers: a liar that fails in half of them is not flagged
        ("flanders", {"num_byzantine": 3}, {"start_round": 3}, 0),
        ("fldetector", {"start_round": 2}, {"start_round": 3}, 0),
        (
            "foolsgold",
            {},
            {
                "attack": PluginSpec("mean_sign_flip"),  # all liars send the same
                "liars": 7,
                "partition": PluginSpec("pathological", {"classes_per_client": 3}),
            },
            0,
        ),
    ],
)
def test_a_detector_beats_the_mean_and_names_the_liars(name, options, setting, missed):
    _, undefended = play("mean", **setting)
    _, defended = play(name, options, **setting)
    liars = set(range(setting.get("liars", 3)))
    assert defended.score.accuracy > undefended.score.accuracy + 0.2
    assert len(liars - set(defended.outcome.verdict.flags)) <= missed


def test_rlr_keeps_a_backdoor_out_that_the_mean_lets_in():
    """Share of triggered test images, 7s aside, that are taken for a 7; two of ten clients are malicious."""
    succeeded = {}
    for name in ("mean", "rlr"):
        simulation, last = play(
            name, attack=PluginSpec(f"{__file__}:Trigger"), liars=2, num_clients=10, rounds=10
        )
        x, y = simulation.data.test()
        x[..., :2, :2] = 1.0
        model = simulation.kernel.model.eval()
        with torch.no_grad():
            for parameter, value in zip(
                model.parameters(), simulation.plan.layout.views(last.state.params).values(), strict=True
            ):
                parameter.copy_(value)
            taken = model(x).argmax(dim=1)[y != 7] == 7
        succeeded[name] = float(taken.float().mean())
        assert last.score.accuracy > 0.85
    assert succeeded["mean"] > 0.5
    assert succeeded["rlr"] < 0.05
