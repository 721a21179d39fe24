"""Rules that run candidate models, in whole runs: what they are handed, and what it does to the run."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from gauntlet.core.contracts import Verdict
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.trees import equal
from gauntlet.core.updates import Updates
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

ZENO = PluginSpec("zeno", {"num_byzantine": 2, "batch_size": 9})


@dataclass(frozen=True)
class Tries:
    """A plain mean that may run models."""

    runs_models: ClassVar[bool] = True

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        return Verdict(updates.vectors.mean(dim=0)), state


@pytest.mark.parametrize("root_examples", [0, 25])
def test_a_rule_that_declares_it_runs_the_runs_model_on_what_it_likes(small, root_examples):
    """Oracle: the run's own model with the candidate's parameters; the loss is torch's cross-entropy."""
    simulation = prepare(small(defense=PluginSpec(f"{__file__}:Tries"), root_examples=root_examples))
    context = run_round(simulation.plan, simulation.first, simulation.serial_pool())[1].received.context
    x, y = simulation.data.test()
    params = torch.stack([context.params, 0.5 * context.params])
    out = context.forward(params, x)

    model = simulation.kernel.model.eval()
    with torch.no_grad():
        for row, vector in enumerate(params):
            for name, value in simulation.plan.layout.views(vector).items():
                dict(model.named_parameters())[name].copy_(value)
            torch.testing.assert_close(out[row], model(x), rtol=1e-5, atol=1e-6)
    assert context.loss(out[0], y) == torch.nn.functional.cross_entropy(out[0], y)
    assert torch.equal(context.blank, torch.zeros_like(x[:1]))
    assert context.blank.dtype == x.dtype
    if not root_examples:
        assert context.examples is None
        return
    held = {tuple(row) for i in range(8) for row in simulation.data.client(i)[0].flatten(1).tolist()}
    assert len(context.examples.y) == 25
    assert not held & {tuple(row) for row in context.examples.x.flatten(1).tolist()}


def test_nobody_else_is_handed_a_model(small):
    simulation = prepare(small(root_examples=25))
    context = run_round(simulation.plan, simulation.first, simulation.serial_pool())[1].received.context
    told = context.forward, context.examples, context.loss, context.blank, context.gradient
    assert told == (None,) * 5


@dataclass(frozen=True)
class Scribbles(Tries):
    """Writes into the server's own examples, through a numpy view."""

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        updates.context.examples.x.numpy()[:] = 0
        return Verdict(updates.vectors.mean(dim=0)), state


def test_the_servers_examples_are_not_to_be_written_into(small):
    simulation = prepare(small(defense=PluginSpec(f"{__file__}:Scribbles"), root_examples=5))
    with pytest.raises(PluginError, match=r"Scribbles' wrote into what it was handed"):
        run_round(simulation.plan, simulation.first, simulation.serial_pool())


def test_a_run_that_goes_on_has_the_same_bits(small):
    spec = small(defense=ZENO, root_examples=30)
    simulation = prepare(spec)
    straight = list(simulation.steps(simulation.serial_pool()))
    rest = list(prepare(spec).steps(prepare(spec).serial_pool(), straight[0].state))
    assert equal(straight[-1].state.params, rest[-1].state.params)


@pytest.mark.slow
def test_ray_and_serial_pools_give_the_same_bits(small, ray_here):
    spec = small(defense=ZENO, root_examples=30)
    simulation = prepare(spec)
    serial = list(simulation.steps(simulation.serial_pool()))
    pool = prepare(spec).ray_pool(num_workers=2)
    try:
        on_ray = list(prepare(spec).steps(pool))
    finally:
        pool.close()
    assert all(equal(a.state.params, b.state.params) for a, b in zip(serial, on_ray, strict=True))
    assert all(
        a.outcome.verdict.scores == b.outcome.verdict.scores for a, b in zip(serial, on_ray, strict=True)
    )


def test_no_epsilon_is_claimed_for_it_under_central_trust_and_a_local_one_stays(small):
    """What zeno makes of one client more or less is not bounded; what left clients private stays private."""
    privacy = {"clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 1e-3}
    for name, reason in (("gaussian", "aggregator"), ("local_gaussian", None)):
        spec = small(defense=ZENO, root_examples=30, privacy=PluginSpec(name, privacy), rounds=1)
        simulation = prepare(spec)
        epsilon = run_round(simulation.plan, simulation.first, simulation.serial_pool())[1].epsilon
        assert (epsilon.reason, epsilon.value is None) == (reason, reason is not None)


REFUSED = {
    "no examples": ({}, r"defense 'zeno' runs models on examples of the server's own: .* above 0, got 0"),
    "only sums": (
        {
            "root_examples": 9,
            "privacy": PluginSpec("skellam", {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}),
        },
        r"sees only the sum of the updates, and defense 'zeno' needs single updates",
    ),
    "several sizes": (
        {"root_examples": 9, "algorithm": PluginSpec("heterofl", {"rates": (1.0, 0.5), "mode": "fix"})},
        r"models of several sizes, and defense 'zeno' cannot deal with absent coordinates",
    ),
    "more than updates": (
        {"root_examples": 9, "algorithm": PluginSpec("scaffold")},
        r"defense 'zeno' sets messages beside the parameters, and algorithm 'scaffold' sends",
    ),
    "too small a cohort": (
        {"root_examples": 9, "defense": PluginSpec("zeno", {"num_byzantine": 8})},
        r"defense 'zeno.*' needs 9 rows or more, got a cohort of 8",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_in_one_line(small, case):
    changes, line = REFUSED[case]
    with pytest.raises(ScenarioError, match=line) as refused:
        prepare(small(**{"defense": ZENO, **changes}))
    assert "\n" not in str(refused.value)


def test_flowers_server_has_no_model_to_run():
    from gauntlet.server.flower import GauntletStrategy

    with pytest.raises(ValueError, match="Flower's server knows arrays, and no model"):
        GauntletStrategy(Tries())


def played(small, **changes):
    """Return the last step of seven rounds of twelve clients, with 100 examples of the server's own."""
    training = replace(small().training, local_epochs=2, lr=0.2, momentum=0.0)
    model = PluginSpec("mlp", {"hidden": [16]})
    common = {"num_clients": 12, "rounds": 7, "evaluate_every": 7, "root_examples": 100}
    simulation = prepare(small(model=model, training=training, **common, **changes))
    return list(simulation.steps(simulation.serial_pool()))[-1]


def test_it_holds_against_a_majority(small):
    """Zeno's claim: any number of liars below K. Eight of twelve flip signs; the mean stays at chance."""
    roles = (RoleSpec(PluginSpec("sign_flip", {"scale": 5.0}), tuple(range(8))),)
    held = played(small, roles=roles, defense=PluginSpec("zeno", {"num_byzantine": 8}))
    assert set(held.outcome.verdict.flags) == set(range(8))
    assert held.score.accuracy > 0.8 > 0.2 > played(small, roles=roles).score.accuracy


@pytest.mark.slow
def test_it_fails_where_clients_differ(small):
    """With three classes a client an update helps few of the server's classes, whoever sends it.

    Those who teach a trigger look better than honest clients: they are kept, their trigger works, and the
    model is worse than the plain mean's.
    """
    corner = PluginSpec("pixel_backdoor", {"target": 2, "pixels": [[0, 0], [0, 7], [7, 7]]})
    differ = {
        "partition": PluginSpec("pathological", {"classes_per_client": 3}),
        "roles": (RoleSpec(corner, (0, 1, 2)),),
    }
    broken = played(small, **differ, defense=PluginSpec("zeno", {"num_byzantine": 3}))
    assert not {0, 1, 2} & set(broken.outcome.verdict.flags)
    assert broken.score.goals[0].success > 0.9 * broken.score.goals[0].examples
    assert broken.score.accuracy < played(small, **differ).score.accuracy
