"""Whole runs in which clients keep a part of the model. Oracle: the same rounds by torch alone."""

from dataclasses import replace

import pytest
import torch
from kept_models import FILE, by_torch, kept_run
from whole_runs import fields, rounds, states, steps

from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import GauntletError
from gauntlet.core.trees import equal
from gauntlet.server.assembly.loading import make_model
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

FEDPER, FEDBN = PluginSpec("fedper"), PluginSpec("fedbn")
MLP = PluginSpec("mlp", {"hidden": [8]})
BN = ("2.weight", "2.bias", "2.running_mean", "2.running_var")
CASES = [
    (FEDPER, MLP, 2),
    (FEDPER, None, 2),
    (PluginSpec("fedper", {"num_personal_layers": 2}), None, 6),
    (FEDBN, None, 4),
    (PluginSpec("fedbn", {"stats_only": True}), None, 2),
]


@pytest.mark.parametrize(("algorithm", "model", "number"), CASES, ids=lambda v: str(v))
def test_the_engine_does_what_torch_does_by_hand(algorithm, model, number):
    """Three rounds in which some clients come twice, some never: what is exchanged, and what each keeps."""
    spec = kept_run(algorithm, model)
    simulation, found = rounds(spec)
    kept = tuple(slot.name for slot in simulation.plan.exchange.memory.parameters)
    assert len(kept) == number
    cohorts = [step.outcome.sent.client_ids.tolist() for step in found]
    expected = by_torch(make_model(spec, simulation.data), kept, simulation.data, cohorts)
    layout, memory = simulation.plan.layout, simulation.plan.exchange.memory
    for step, (shared, own) in zip(found, expected, strict=True):
        state = step.state
        there = {**layout.views(state.params), **layout.buffer_views(state.buffers)}
        assert there.keys() == shared.keys()
        for name, value in there.items():
            torch.testing.assert_close(value, shared[name], atol=2e-6, rtol=1e-5)
        assert state.clients.keys() == own.keys()
        for client, row in state.clients.items():
            for name, value in memory.views(row).items():
                torch.testing.assert_close(value, own[client][name], atol=2e-6, rtol=1e-5)
    assert len(found[-1].state.clients) < 6 or len(set(map(tuple, cohorts))) > 1


def test_without_batch_normalisation_fedbn_is_fedavg_to_the_last_bit():
    ours, plain = (states(kept_run(PluginSpec(name), MLP)) for name in ("fedbn", "fedavg"))
    for one, other in zip(ours, plain, strict=True):
        assert equal(fields(one), fields(other))


def test_bytes_norms_and_rules_are_about_what_is_exchanged():
    """digits, 64-8-10: 520 numbers of the first layer are sent, 90 of the last are not."""
    ours, plain = (steps(kept_run(PluginSpec(name), MLP, rounds=1))[0] for name in ("fedper", "fedavg"))
    assert ours.outcome.sent.vectors.shape == (4, 520)
    assert ours.outcome.verdict.aggregate.shape == (520,)
    for way in ("bytes_up", "bytes_down"):  # and a few bytes of two tensors' names less
        assert 4 * 4 * 90 <= getattr(plain.state, way) - getattr(ours.state, way) < 4 * (4 * 90 + 20)
    # In the first round everybody starts from the same whole model: these 520 are FedAvg's.
    torch.testing.assert_close(
        ours.outcome.sent.vectors, plain.outcome.sent.vectors[:, :520], atol=1e-6, rtol=0
    )


def test_clients_whose_inputs_differ_in_scale_keep_different_statistics():
    """Inputs times 5: after 10 rounds a hidden unit's running variance is far larger, and stays."""
    spec = kept_run(
        FEDBN,
        rounds=10,
        num_clients=2,
        data=PluginSpec(f"{FILE}:Scaled"),
        partition=PluginSpec("natural"),
        sampler=PluginSpec("full"),
        held_out=0.0,
    )
    simulation, found = rounds(spec)
    memory = simulation.plan.exchange.memory
    one, five = (memory.views(found[-1].state.clients[i])["2.running_var"] for i in (0, 1))
    assert float((five / one).median()) > 8


WAYS = {
    "a defense": {"defense": PluginSpec("median")},
    "one with its own examples": {"defense": PluginSpec("fltrust"), "root_examples": 30},
    "one that sets messages beside parameters": {"defense": PluginSpec("fldetector")},
    "a codec": {"codec": PluginSpec("terngrad")},
    "a codec that remembers": {"codec": PluginSpec("error_feedback", {"codec": {"name": "topk"}})},
    "a codec down": {"codec_down": PluginSpec("terngrad")},
    "an attacker": {"roles": (RoleSpec(PluginSpec("sign_flip"), count=2),)},
    "an attacker that steers": {"roles": (RoleSpec(PluginSpec("gradient_ascent"), count=2),)},
    "poisoned examples": {"roles": (RoleSpec(PluginSpec("label_flip_all", {"num_classes": 10}), count=2),)},
    "a server optimizer": {"server_optimizer": PluginSpec("adam", {"lr": 0.01})},
    "buffered": {
        "schedule": PluginSpec("buffered", {"buffer_size": 3, "concurrency": 5}),
        "network": PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.5}),
    },
    "local noise": {
        "privacy": PluginSpec("local_gaussian", {"clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-4})
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_it_goes_with_what_works_on_messages(way):
    algorithm, model = (FEDPER, MLP) if way in ("a defense", "local noise") else (FEDBN, None)
    *_, last = states(kept_run(algorithm, model, rounds=2, **WAYS[way]))
    assert bool(last.params.isfinite().all())
    assert last.clients
    assert all(bool(row.isfinite().all()) for row in last.clients.values())


def test_steps_that_are_private_are_so_in_the_whole_of_a_clients_model():
    """Nobody's personal layer is what it would be without noise."""
    private = PluginSpec("dp_sgd", {"clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-4})
    noisy, plain = (states(kept_run(FEDPER, MLP, rounds=1, **more))[0] for more in ({"privacy": private}, {}))
    assert all(not torch.equal(noisy.clients[i], plain.clients[i]) for i in plain.clients)


def test_local_noise_is_on_the_message_and_on_nothing_that_stays():
    """Noise of 0.5 on 520 numbers is 0.5 sqrt(520) = 11.4 long; what is kept is what it is without."""
    noise = PluginSpec("local_gaussian", {"clip_norm": 1.0, "noise_multiplier": 0.5, "delta": 1e-4})
    noisy, plain = (steps(kept_run(FEDPER, MLP, rounds=1, **more))[0] for more in ({"privacy": noise}, {}))
    assert noisy.outcome.norms.tolist() == pytest.approx([11.4] * 4, abs=1.5)
    assert equal(noisy.state.clients, plain.state.clients)


def test_under_central_privacy_rounds_are_not_amplified_by_sampling():
    central = {
        "privacy": PluginSpec("gaussian", {"clip_norm": 1.0, "noise_multiplier": 2.0, "delta": 1e-3}),
        "defense": PluginSpec("mean", {"weighting": "fixed"}),
        "sampler": PluginSpec("poisson", {"sample_rate": 0.5}),
    }
    spent = [
        steps(kept_run(PluginSpec(n), MLP, **central))[-1].outcome.epsilon.value for n in ("fedper", "fedavg")
    ]
    assert spent[0] > spent[1]


@pytest.mark.parametrize("algorithm", [FEDPER, FEDBN], ids=str)
def test_a_run_resumed_from_a_checkpoint_gives_the_same_bits(algorithm, tmp_path):
    spec = kept_run(algorithm, rounds=3)
    found = steps(spec)
    save_checkpoint(tmp_path, found[0].state, "mark")
    again = states(spec, state=load_checkpoint(tmp_path, "mark"))
    for one, other in zip(again, [step.state for step in found[1:]], strict=True):
        assert equal(fields(one), fields(other))


@pytest.mark.slow
def test_serial_and_ray_give_the_same_bits(ray_here):
    spec = kept_run(FEDBN, rounds=2)
    ours, theirs = states(spec), states(spec, lambda simulation: simulation.ray_pool(2))
    for one, other in zip(ours, theirs, strict=True):
        assert equal(fields(one), fields(other))


def test_each_client_is_scored_with_what_it_keeps():
    """Personal layers know their client's labels: the mean over clients beats the first layers' by far."""
    longer = LocalTraining(local_steps=10, batch_size=16, lr=0.2)
    *_, last = steps(kept_run(FEDPER, MLP, rounds=8, training=longer))
    own = sum(one.accuracy for one in last.personal) / len(last.personal)
    shared = sum(one.global_accuracy for one in last.personal) / len(last.personal)
    assert own > 0.6
    assert own > shared + 0.3


def test_a_run_says_of_which_model_the_test_set_is_asked():
    (line,) = prepare(kept_run(FEDPER, MLP)).warnings()
    assert line.startswith("with algorithm 'fedper' clients keep 90 numbers of the model: the test set")
    assert prepare(kept_run(FEDBN, MLP)).warnings() == []


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("raise KeyError('no')", "algorithm .*Mine.* raised KeyError"),
        ("return (n for n in ())", "keeps must return a list or tuple of names, got <generator"),
        ("model.requires_grad_(False); return ['1.bias']", None),
    ],
)
def test_an_outsider_that_breaks_what_it_promises_is_one_line(tmp_path, body, line):
    """One that writes into the model is handed a copy, and the run's stays as it was."""
    code = "class Mine:\n    plain = True\n    def schedule(self, t): return t\n"
    code += "    def correct(self, g, p, r): return g\n    def keeps(self, model):\n        "
    (tmp_path / "mine.py").write_text(f"{code}{body}\n")
    spec = kept_run(PluginSpec(f"{tmp_path / 'mine.py'}:Mine"), MLP, rounds=1)
    if line is None:
        assert states(spec)[0].params.shape == (602,)
        return
    with pytest.raises(GauntletError, match=line) as caught:
        prepare(spec)
    assert "\n" not in str(caught.value)


REFUSED = [
    ({"vectorize": "on"}, "each has a part of the model of its own; use auto or off"),
    ({"client_defense": PluginSpec("gradient_pruning")}, "'gradient_pruning' changes updates of whole ones"),
    (
        {"defense": PluginSpec("zeno", {"num_byzantine": 1}), "root_examples": 20},
        "defense 'zeno' works on whole ones",
    ),
    ({"defense": PluginSpec("crfl")}, "defense 'crfl' works on whole ones"),
    ({"model": PluginSpec("logistic_regression")}, "must leave a layer to be sent, got 1 for a model of 1"),
]


@pytest.mark.parametrize(("changes", "line"), REFUSED)
def test_what_does_not_go_together_is_one_line(changes, line):
    with pytest.raises(GauntletError, match=line) as caught:
        prepare(replace(kept_run(FEDPER, MLP), **changes))
    assert "\n" not in str(caught.value)
