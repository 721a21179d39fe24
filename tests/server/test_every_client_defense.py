"""What every client defense does in a whole run: to messages, guarantees and stacks."""

from dataclasses import replace

import pytest
import torch

from gauntlet.clients.client_defenses import CLIENT_DEFENSES
from gauntlet.core.errors import ScenarioError
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

MLP = PluginSpec("mlp", {"hidden": [8]})


def run(spec):
    simulation = prepare(spec)
    return simulation, list(simulation.steps(simulation.serial_pool()))


def sent(spec):
    simulation, (step, *_) = run(replace(spec, rounds=1))
    return simulation, step.outcome.sent.vectors


NAMES = [name for name in CLIENT_DEFENSES.table if name != "none"]
WHOLE_CLIENTS = PluginSpec("gaussian", {"clip_norm": 0.1, "noise_multiplier": 1.0, "delta": 1e-3})
EXAMPLES = PluginSpec("dp_sgd", {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3})
FIXED = PluginSpec("mean", {"weighting": "fixed"})


@pytest.mark.parametrize("name", NAMES)
def test_every_defense_changes_what_is_sent_and_keeps_its_shape(small, name):
    """A public OUTPOST returns what came: in round 0 no client's message is what it is without a defense.

    Of a defense that wraps the model the message is another one; mixtures of one example alone are itself.
    """
    spec = small(model=MLP)
    simulation, plain = sent(spec)
    defended, found = sent(replace(spec, client_defense=PluginSpec(name)))
    assert found.shape == (len(plain), defended.plan.layout.num_parameters)
    assert bool(found.isfinite().all())
    if defended.plan.layout == simulation.plan.layout:
        assert not bool((found == plain).all(dim=1).any())


@pytest.mark.parametrize("name", NAMES)
def test_every_defense_keeps_the_guarantee_of_whole_clients(small, name):
    """They clip and noise what comes out of it, whatever it is made of."""
    spec = small(model=MLP, privacy=WHOLE_CLIENTS, defense=FIXED, rounds=2)
    bare, defended = (
        run(one)[1][-1].outcome.epsilon.value
        for one in (spec, replace(spec, client_defense=PluginSpec(name)))
    )
    assert bare is not None
    assert bare == defended


MIXING = ("soteria", "censor", "graddefense", "mixup", "instahide")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*MIXING, "precode")])
def test_what_looks_at_no_example_keeps_the_guarantee_of_examples(small, name):
    spec = small(model=MLP, privacy=EXAMPLES, defense=FIXED, rounds=2)
    bare, defended = (
        run(one)[1][-1].outcome.epsilon.value
        for one in (spec, replace(spec, client_defense=PluginSpec(name)))
    )
    assert bare is not None
    assert bare == defended


@pytest.mark.parametrize("name", MIXING)
def test_what_looks_at_examples_is_refused_where_each_of_them_is_protected(small, name):
    with pytest.raises(ScenarioError, match=f"client defense '{name}' looks at single examples"):
        prepare(small(model=MLP, privacy=EXAMPLES, defense=FIXED, client_defense=PluginSpec(name)))


def test_noise_without_a_bound_gives_no_epsilon(small):
    """Absolute noise is no differential privacy: nothing bounds what a client changes."""
    for name in ("gaussian_noise", "laplace_noise"):
        spec = small(model=MLP, client_defense=PluginSpec(name, {"noise_std": 10.0}))
        assert run(spec)[1][-1].outcome.epsilon.value is None


@pytest.mark.parametrize("name", [name for name in NAMES if name != "precode"])
def test_a_stack_lets_out_what_clients_alone_do(small, name):
    """Up to rounding, whichever streams are drawn from."""
    spec = small(model=MLP, client_defense=PluginSpec(name), num_clients=3)
    stacked, alone = (sent(replace(spec, vectorize=way))[1] for way in ("on", "off"))
    assert torch.allclose(stacked, alone, rtol=1e-3, atol=1e-5)


def test_a_model_that_draws_for_itself_is_neither_stacked_nor_private_by_example(small):
    """precode's noise comes from the client's own stream of dropout, one client at a time."""
    spec = small(model=MLP, client_defense=PluginSpec("precode", {"width": 4}))
    assert torch.equal(sent(spec)[1], sent(spec)[1])
    assert not prepare(spec).choice.stacked
    with pytest.raises(ScenarioError, match="the model draws random numbers outside of dropout layers"):
        prepare(replace(spec, privacy=EXAMPLES, defense=FIXED))
