"""Client defenses in whole runs: updates are changed before they are clipped, noised and encoded."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.server.assembly.loading import make_model
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

HALF = PluginSpec("gradient_pruning", {"rate": 0.5})
SOTERIA = PluginSpec("soteria", {"rate": 0.5})
UNIFORM = PluginSpec("mean", {"weighting": "uniform"})
MLP = PluginSpec("mlp", {"hidden": [8]})


def run(spec):
    simulation = prepare(spec)
    return simulation, list(simulation.steps(simulation.serial_pool()))


def sent(spec):
    simulation, (step, *_) = run(replace(spec, rounds=1))
    return simulation, step.outcome.sent.vectors


def pruned(layout, update):
    """Half of every tensor, by sorting."""
    found = update.clone()
    for slot in layout.parameters:
        part = found[:, slot.start : slot.start + slot.size]
        for row in part:
            row[row.abs().argsort()[: slot.size // 2]] = 0
    return found


@pytest.mark.parametrize("way", ["on", "off"])
def test_a_client_sends_its_pruned_update(small, way):
    """In a stack and alone, momentum and dropout on."""
    spec = small(vectorize=way, num_clients=3)
    simulation, plain = sent(spec)
    _, found = sent(replace(spec, client_defense=HALF))
    assert torch.equal(found, pruned(simulation.plan.layout, plain))


@pytest.mark.parametrize("defense", [HALF, SOTERIA], ids=str)
def test_one_client_at_a_time_lets_out_what_it_does_in_a_stack(small, defense):
    spec = small(client_defense=defense, model=MLP)
    stacked, alone = (sent(replace(spec, vectorize=way))[1] for way in ("on", "off"))
    assert torch.allclose(stacked, alone, rtol=1e-4, atol=1e-6)
    assert bool(((stacked == 0) == (alone == 0)).all())


def test_a_defense_of_nobody_changes_no_bit(small):
    """``rate`` 0 takes nothing away, and is passive as ``none`` is."""
    spec = small()
    for passive in (PluginSpec("gradient_pruning", {"rate": 0.0}), PluginSpec("soteria", {"rate": 0.0})):
        assert torch.equal(sent(spec)[1], sent(replace(spec, client_defense=passive))[1])


def test_workers_add_up_what_clients_let_out(small):
    spec = small(client_defense=HALF, rows=False)
    simulation, summed = run(spec)
    _, rows = run(replace(spec, rows=True))
    assert simulation.plan.summed
    assert torch.equal(summed[-1].state.params, rows[-1].state.params)


def test_what_else_an_algorithm_sends_follows_from_the_changed_update(small):
    """SCAFFOLD, option II, first round: c_i+ = (x - y) / (K lr), which is 0 where the update is."""
    spec = small(algorithm=PluginSpec("scaffold"), defense=UNIFORM, model=MLP, client_defense=HALF)
    simulation, messages = sent(spec)
    groups = simulation.plan.exchange.up.groups
    update, control = messages[:, groups["update"]], messages[:, groups["control"]]
    assert bool((update == 0).any())
    assert torch.equal(control == 0, update == 0)


def test_clients_clip_what_their_defense_lets_out(small):
    """By hand: the pruned update times min(1, C / norm), so that the bound holds of what is sent."""
    spec = small(model=MLP, defense=PluginSpec("mean", {"weighting": "fixed"}))
    clip = PluginSpec("gaussian", {"clip_norm": 0.1, "noise_multiplier": 1.0, "delta": 1e-3})
    simulation, plain = sent(spec)
    _, found = sent(replace(spec, client_defense=HALF, privacy=clip))

    by_hand = pruned(simulation.plan.layout, plain).double()
    norms = by_hand.norm(dim=1, keepdim=True)
    assert bool((norms > 0.1).any())
    assert torch.allclose(found.double(), by_hand * (0.1 / norms).clamp(max=1), rtol=1e-5, atol=1e-9)


def test_a_defense_costs_no_epsilon(small):
    central = PluginSpec("gaussian", {"clip_norm": 0.1, "noise_multiplier": 1.0, "delta": 1e-3})
    steps = PluginSpec("dp_sgd", {"clip_norm": 0.1, "noise_multiplier": 1.0, "delta": 1e-3})
    for privacy, defense in ((central, HALF), (central, SOTERIA), (steps, HALF)):
        spec = small(model=MLP, privacy=privacy, defense=PluginSpec("mean", {"weighting": "fixed"}), rounds=2)
        found = [
            run(one)[1][-1].outcome.epsilon.value for one in (spec, replace(spec, client_defense=defense))
        ]
        assert found[0] is not None
        assert found[0] == found[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"codec": PluginSpec("terngrad")},
        {"codec": PluginSpec("error_feedback", {"codec": {"name": "topk", "density": 0.1}})},
        {"algorithm": PluginSpec("ditto"), "model": MLP},
        {"algorithm": PluginSpec("moon"), "model": MLP},
        {"algorithm": PluginSpec("feddyn"), "model": MLP, "defense": UNIFORM},
        {
            "algorithm": PluginSpec("heterofl"),
            "model": PluginSpec("mlp", {"hidden": [8, 8]}),
            "defense": UNIFORM,
        },
        {"schedule": PluginSpec("buffered", {"buffer_size": 3, "concurrency": 6})},
        {"defense": PluginSpec("multi_krum", {"num_byzantine": 1})},
        {"privacy": PluginSpec("secure_sum")},
    ],
    ids=lambda changes: "-".join(f"{k}" for k in changes),
)
@pytest.mark.parametrize("defense", [HALF, SOTERIA], ids=str)
def test_it_goes_with_what_comes_after_it(small, defense, changes):
    _, steps = run(small(client_defense=defense, rounds=2, **changes))
    assert len(steps) == 2
    assert not steps[-1].outcome.refused
    assert bool(steps[-1].state.params.isfinite().all())


def test_attackers_lie_about_what_their_defense_lets_out(small):
    """sign_flip turns the pruned update round, and sends no entry that was taken away."""
    spec = small(roles=(RoleSpec(PluginSpec("sign_flip"), clients=(2,)),), client_defense=HALF, model=MLP)
    simulation, (step, *_) = run(spec)
    assert torch.equal(step.outcome.sent.vectors[2], -step.outcome.honest.vectors[2])
    layout = simulation.plan.layout
    kept = (layout.views(step.outcome.sent.vectors[2])["1.weight"] != 0).sum()
    assert int(kept) <= 8 * 64 // 2


def test_the_server_hides_nothing_from_itself(small):
    spec = small(defense=PluginSpec("fltrust"), root_examples=40, client_defense=HALF, model=MLP)
    simulation, (step, *_) = run(spec)
    root = simulation.plan.root.train(step.outcome.broadcast).updates.vectors[0]
    weights = simulation.plan.layout.views(root)["3.weight"]
    assert int((weights == 0).sum()) < weights.numel() // 4


OUTSIDE = '''
import torch
from torch import nn


class Doubled:
    """A defense that only wraps the model: two layers in the place of one, as its logits go through."""

    adaptive = {"name": "dlg"}

    def wrap(self, model):
        return nn.Sequential(model, nn.Linear(10, 10))


class Dimmed:
    """A defense that only alters examples, by a factor of the client's own stream."""

    adaptive = {"name": "dlg"}

    def examples(self, x, y, generator):
        return x * float(generator.uniform(0.2, 0.4)), y


class Lost(Dimmed):
    def examples(self, x, y, generator):
        return x[1:], y[1:]
'''


@pytest.fixture
def outside(tmp_path):
    (tmp_path / "outside.py").write_text(OUTSIDE)
    return lambda name: PluginSpec(f"{tmp_path}/outside.py:{name}")


def test_a_wrapped_model_is_everybodys(small, outside):
    spec = small(
        client_defense=outside("Doubled"), defense=PluginSpec("fltrust"), root_examples=40, model=MLP
    )
    simulation, steps = run(spec)
    names = [slot.name for slot in simulation.plan.layout.parameters]
    assert names[-2:] == ["1.weight", "1.bias"]
    assert torch.equal(
        make_model(spec, simulation.data).state_dict()["1.weight"],
        simulation.plan.layout.views(simulation.first.params)["1.weight"],
    )
    assert steps[-1].score.loss > 0


@pytest.mark.parametrize("way", ["on", "off"])
def test_clients_train_on_altered_examples_and_the_truth_stays(small, outside, way):
    """The same run with the examples altered beforehand has the same losses in its first step."""
    one_step = LocalTraining(local_steps=1, batch_size=0, lr=0.1)
    spec = small(client_defense=outside("Dimmed"), model=MLP, training=one_step, vectorize=way)
    simulation, (step, *_) = run(spec)
    model = make_model(spec, simulation.data)
    for client in range(3):
        x, y = simulation.kernel.examples(client, 0)
        truth = simulation.kernel.truth(client, 0)
        assert not torch.equal(x, truth.x)
        assert torch.equal(y, truth.y)
        assert 0.2 <= float(x.sum() / truth.x.sum()) <= 0.4
        loss = torch.nn.functional.cross_entropy(model(x), y)
        assert float(step.outcome.losses[client]) == pytest.approx(loss.item(), rel=1e-5)


def test_a_defense_that_loses_examples_is_one_line(small, outside):
    with pytest.raises(
        PluginError, match=r"client defense '.*Lost'.*must return \d+ examples, as many as came"
    ):
        run(small(client_defense=outside("Lost")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"algorithm": PluginSpec("gradient_descent"), "rows": True},
            None,
        ),
        (
            {"algorithm": PluginSpec("diff2_gd"), "client_defense": HALF},
            "algorithm 'diff2_gd' works in a way of its own; use another algorithm",
        ),
        (
            {"algorithm": PluginSpec("scaffold", {"option": "I"}), "defense": UNIFORM, "model": MLP},
            "makes what it sends of a gradient over all of a client's examples, which nothing would change",
        ),
        (
            {"privacy": PluginSpec("dp_sgd", {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3})},
            "client defense 'soteria' looks at single examples, of which privacy 'dp_sgd' has let out",
        ),
        ({"client_defense": PluginSpec("soteria", {"layer": "7"})}, "'7' is no layer; linear layers: 1, 4"),
        ({"client_defense": PluginSpec("soterai")}, "did you mean 'soteria'"),
        (
            {"client_defense": PluginSpec("soteria", {"rat": 0.5})},
            "unknown option 'rat'; did you mean 'rate'",
        ),
    ],
    ids=["sgd", "procedure", "gradients", "single examples", "layer", "name", "option"],
)
def test_what_makes_no_sense_is_refused_in_one_line(small, changes, words):
    spec = small(**{"client_defense": SOTERIA, **changes})
    if words is None:
        prepare(spec)
        return
    with pytest.raises((ScenarioError, PluginError)) as told:
        prepare(spec)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@dataclass(frozen=True)
class Blends:
    """Lets out the mean of all the updates that it is handed."""

    def change(self, update, visit):
        return update.mean(dim=0, keepdim=True).expand_as(update).clone()


def test_a_defense_from_outside_is_handed_one_client_at_a_time(small):
    """Else one client would move the messages of others, and a guarantee for it would be none."""
    plain, blended = (
        sent(small(client_defense=d))[1] for d in (PluginSpec("none"), PluginSpec(f"{__file__}:Blends"))
    )
    assert torch.equal(plain, blended)


@dataclass(frozen=True)
class MixesUnsaid:
    """Trains on the mean of all examples, and declares that it mixes none."""

    looks_at_examples: ClassVar[bool] = False

    def examples(self, x, y, generator):
        return x.mean(dim=0, keepdim=True).expand_as(x).clone(), y


def test_who_declares_to_mix_no_examples_is_handed_one_at_a_time(small):
    """Else an example would be in the gradients of others, and its clipped part in none of them alone."""
    mixing = PluginSpec(f"{__file__}:MixesUnsaid")
    plain, mixed = (sent(small(client_defense=d))[1] for d in (PluginSpec("none"), mixing))
    assert torch.equal(plain, mixed)
