"""Each filter and detector in a whole run: against an attack that it was made for it beats the plain mean.

Oracle: the plain mean in the same run, and the truth about who lies.
"""

from functools import cache

import pytest

from gauntlet.core.contracts import LocalTraining
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec

CASES = {
    "fltrust": ("sign_flip", {"scale": 2.0}, 7, 0, {}),
    "flame": ("sign_flip", {"scale": 5.0}, 3, 0, {}),
    "dnc": ("sign_flip", {"scale": 5.0}, 3, 0, {"num_byzantine": 3}),
    "signguard": ("sign_flip", {"scale": 5.0}, 3, 0, {}),
    "clipped_clustering": ("sign_flip", {"scale": 5.0}, 3, 0, {}),
    "lasa": ("sign_flip", {"scale": 5.0}, 3, 0, {}),
    "flanders": ("sign_flip", {"scale": 5.0}, 3, 3, {"num_byzantine": 3}),
    "fldetector": ("sign_flip", {"scale": 5.0}, 3, 3, {"start_round": 2}),
}


@cache
def run(defense, options, attack, attack_options, liars, start_round):
    """Return the last score, and who was flagged in the last round."""
    spec = RunSpec(
        seed=3,
        rounds=7,
        num_clients=12,
        data=PluginSpec("digits"),
        partition=PluginSpec("iid"),
        model=PluginSpec("mlp", {"hidden": [16]}),
        training=LocalTraining(local_epochs=2, batch_size=16, lr=0.2),
        defense=PluginSpec(defense, dict(options)),
        roles=(
            RoleSpec(PluginSpec(attack, dict(attack_options)), tuple(range(liars)), start_round=start_round),
        ),
        root_examples=100,
        evaluate_every=100,
    )
    simulation = prepare(spec)
    last = list(simulation.steps(simulation.serial_pool()))[-1]
    return last.score.accuracy, set(last.outcome.verdict.flags)


@pytest.mark.parametrize("name", CASES)
def test_a_detector_beats_the_mean_and_names_the_liars(name):
    attack, attack_options, liars, start_round, options = CASES[name]
    setting = (attack, tuple(attack_options.items()), liars, start_round)
    undefended, _ = run("mean", (), *setting)
    accuracy, flagged = run(name, tuple(options.items()), *setting)
    assert accuracy > undefended + 0.2
    assert set(range(liars)) <= flagged
