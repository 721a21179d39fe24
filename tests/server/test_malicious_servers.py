"""A malicious server: what clients receive, what the server keeps, what that leaves of a guarantee."""

import json
from dataclasses import replace

import pytest
import torch

from gauntlet.core.contracts import LocalTraining, NoGuarantee, Release
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.layout import Layout
from gauntlet.core.trees import equal
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.guarantee.release import release_of
from gauntlet.server.recording.probe import knowledge_of
from gauntlet.server.recording.recordings import save_observation
from gauntlet.server.recording.replays import load_observation
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

IMPRINT, TRAP = PluginSpec("imprint", {"bins": 16}), PluginSpec("trap_weights")
ONE_STEP = LocalTraining(local_steps=1, batch_size=4, lr=0.25)
FIXED = PluginSpec("mean", {"weighting": "fixed"})


def one_round(simulation, state=None):
    return run_round(simulation.plan, state or simulation.first, simulation.serial_pool())


@pytest.fixture
def doubling(tmp_path):
    """A server that sends twice its parameters and counts the rounds."""
    (tmp_path / "servers.py").write_text(
        "class Doubling:\n    deviates = 'parameters'\n"
        "    def rebuild(self, model):\n        return model, {'factor': 2}\n"
        "    def init(self, secret):\n        return secret['factor'], 0\n"
        "    def plant(self, params, state, generator):\n"
        "        factor, number = state\n"
        "        return factor * params, {'round': number}, (factor, number + 1)\n"
    )
    return PluginSpec(f"{tmp_path}/servers.py:Doubling")


def test_clients_train_from_what_was_planted_and_the_server_moves_its_own(small, doubling):
    """Oracle: an honest run whose server holds twice the parameters; FedAvg by hand on the server's own."""
    malicious, honest = prepare(small(server=doubling)), prepare(small())
    own = malicious.first.params
    after, outcome = one_round(malicious)
    _, other = one_round(honest, replace(honest.first, params=2 * own))
    u, n = outcome.honest.vectors.double(), outcome.honest.num_examples.double()

    assert torch.equal(outcome.broadcast.params, 2 * own)
    assert torch.equal(outcome.honest.vectors, other.honest.vectors)
    assert torch.allclose(after.params, own + (n @ u / n.sum()).float(), atol=1e-7)


def test_it_remembers_from_round_to_round_and_says_what_it_planted(small, doubling):
    simulation = prepare(small(server=doubling))
    steps = list(simulation.steps(simulation.serial_pool()))
    assert [step.state.server for step in steps] == [(2, 1), (2, 2), (2, 3)]
    told = [step.outcome.down(0).planted for step in steps]
    assert told == [{"server": "Doubling", "factor": 2, "round": r} for r in range(3)]


def test_what_was_planted_goes_through_the_codec_of_the_downlink(small, doubling):
    """Oracle: IEEE halves by torch."""
    simulation = prepare(small(server=doubling, codec_down=PluginSpec("fp16")))
    _, outcome = one_round(simulation)
    assert torch.equal(outcome.broadcast.params, (2 * simulation.first.params).half().float())


def test_an_honest_server_is_no_server_at_all(small):
    simulation = prepare(small(rows=False))
    assert simulation.plan.honest
    assert simulation.plan.summed
    assert simulation.first.server is None
    assert not prepare(small(rows=False, server=TRAP)).plan.summed


@pytest.mark.parametrize("server", [IMPRINT, TRAP], ids=str)
def test_stacked_and_one_at_a_time_agree(small, server):
    """To rounding, as without a malicious server."""
    model = PluginSpec("mlp", {"hidden": [8]})
    rows = []
    for vectorize in ("on", "off"):
        _, outcome = one_round(prepare(small(server=server, model=model, vectorize=vectorize)))
        rows.append(outcome.honest.vectors)
    torch.testing.assert_close(*rows, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("server", [IMPRINT, TRAP], ids=str)
def test_the_servers_own_examples_train_from_it_too(small, server):
    spec = small(server=server, root_examples=30, defense=PluginSpec("fltrust"))
    simulation = prepare(spec)
    _, outcome = one_round(simulation)
    own = outcome.received.context.root
    assert len(own) == simulation.plan.layout.num_parameters
    assert own.any()


def test_messages_on_the_way_keep_what_was_planted_when_they_began(small, doubling, tmp_path):
    """Under ``buffered``, and after a checkpoint: clients of round 0 that are counted in round 1 or 2."""
    changes = {
        "network": PluginSpec("links", {"latency_seconds": 1.0, "jitter": 1.0}),
        "schedule": PluginSpec("buffered", {"buffer_size": 2, "concurrency": 5}),
        "rounds": 6,
    }
    simulation = prepare(small(server=doubling, **changes))
    pool, state, late = simulation.serial_pool(), simulation.first, 0
    planted = {}
    for round_ in range(6):
        planted[round_] = 2 * state.params
        state, outcome = run_round(simulation.plan, state, pool)
        for client in outcome.sent.client_ids.tolist():
            down = outcome.down(client)
            assert down.planted["round"] == down.broadcast.round
            assert torch.equal(down.broadcast.params, planted[down.broadcast.round])
            late += down.broadcast.round < round_
        save_checkpoint(tmp_path, state, "run")
        state = load_checkpoint(tmp_path, "run")
    assert late > 0

    twin = prepare(small(server=doubling, **changes))
    *_, last = twin.steps(twin.serial_pool())
    assert torch.equal(last.state.params, state.params)
    assert last.state.server == state.server == (2, 6)


def record(simulation, outcome, place, client=1):
    truth = simulation.kernel.truth(client, outcome.round)
    server = simulation.plan.inserted.get("server")
    knowledge = knowledge_of(simulation.spec, simulation.kernel.training, truth, 1, False, server=server)
    return save_observation(place, simulation.spec, simulation.data, outcome, client, knowledge, truth, {})


@pytest.mark.parametrize("server", [IMPRINT, TRAP], ids=str)
def test_a_recording_replays_with_the_layers_that_were_inserted(small, server, tmp_path):
    """Its recipe names the server; the model computes what the client's did on the parameters it received."""
    simulation = prepare(small(server=server, model=PluginSpec("mlp", {"hidden": [8]}), training=ONE_STEP))
    _, outcome = one_round(simulation)
    seen = load_observation(record(simulation, outcome, tmp_path / "o"))

    assert seen.layout == simulation.plan.layout
    params = seen.layout.flatten(dict(seen.model.named_parameters()))
    assert torch.equal(params, outcome.broadcast.params)
    row = outcome.sent.vectors[outcome.sent.client_ids == 1]
    assert torch.equal(seen.update[None], row)
    assert seen.planted["server"] == server.name
    assert equal(seen.planted, dict(outcome.down(1).planted))
    assert seen.knowledge.server == server.name


def test_a_recording_of_an_honest_run_says_nothing_of_servers(small, tmp_path):
    """So one that a version without servers made is read: its knowledge has no such item."""
    simulation = prepare(small(model=PluginSpec("mlp", {"hidden": [8]}), training=ONE_STEP))
    _, outcome = one_round(simulation)
    place = record(simulation, outcome, tmp_path / "o")
    file = place / "observation.json"
    public = json.loads(file.read_text())
    assert "server" not in public["recipe"]
    assert public["planted"] == {"d": []}
    del public["knowledge"]["server"]
    file.write_text(json.dumps(public))
    seen = load_observation(place)
    assert (seen.planted, seen.knowledge.server) == ({}, None)


def mechanism(name, **options):
    return PluginSpec(name, {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3, **options})


@pytest.mark.parametrize("server", [IMPRINT, TRAP], ids=str)
@pytest.mark.parametrize(
    ("privacy", "holds"),
    [
        (mechanism("gaussian"), False),
        (PluginSpec("skellam", {"clip_norm": 0.5, "noise_multiplier": 2.0, "delta": 1e-3}), False),
        (mechanism("local_gaussian"), True),
        (mechanism("local_gaussian", counts="private"), False),
        (mechanism("dp_sgd", delta=1e-5), True),
    ],
    ids=str,
)
def test_no_guarantee_that_trusts_the_server_holds(small, server, privacy, holds):
    """Central: it sees messages before its noise. Distributed: it is trusted to open sums alone."""
    model = PluginSpec("mlp", {"hidden": [8]})
    spec = small(privacy=privacy, server=server, model=model, defense=FIXED, rows=False)
    simulation = prepare(spec)
    found = release_of(simulation.plan, simulation.first.privacy, 0, range(8))
    assert isinstance(found, Release) if holds else found == NoGuarantee("observer")
    honest = prepare(replace(spec, server=PluginSpec("honest")))
    assert isinstance(release_of(honest.plan, honest.first.privacy, 0, range(8)), Release)


def test_a_budget_under_a_malicious_server_is_refused_in_one_line(small):
    privacy = PluginSpec("gaussian", {"clip_norm": 0.5, "epsilon": 4.0, "delta": 1e-3})
    with pytest.raises(
        ScenarioError, match=r"epsilon = 4 was asked for, and server 'trap_weights' is malicious"
    ):
        prepare(small(privacy=privacy, server=TRAP, defense=FIXED))


@pytest.mark.parametrize("algorithm", ["scaffold", "feddyn"])
def test_an_algorithm_with_a_server_half_is_refused(small, algorithm):
    model, mean = PluginSpec("mlp", {"hidden": [8]}), PluginSpec("mean", {"weighting": "uniform"})
    with pytest.raises(
        ScenarioError, match=f"algorithm '{algorithm}' counts on clients that hold the server's own"
    ):
        prepare(small(algorithm=PluginSpec(algorithm), server=TRAP, model=model, defense=mean))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return params[:-1], {}, state", r"plant must return parameters as a tensor float32 \[610\]"),
        ("return params / 0, {}, state", "plant must return parameters that are finite"),
        ("return params, {'server': 1}, state", "a secret as a table by name, none of them 'server'"),
        ("return params, {'model': object()}, state", "plant returned what cannot be looked at"),
        ("return params.mul_(2), {}, state", "wrote into what it was handed"),
        ("raise ValueError('no')", "raised ValueError: no"),
    ],
)
def test_what_it_hands_back_amiss_is_one_line(small, tmp_path, body, words):
    (tmp_path / "bad.py").write_text(
        "class Bad:\n    deviates = 'parameters'\n"
        "    def rebuild(self, model):\n        return model, {}\n"
        "    def init(self, secret):\n        return None\n"
        f"    def plant(self, params, state, generator):\n        {body}\n"
    )
    with pytest.raises(PluginError, match=words) as caught:
        one_round(prepare(small(server=PluginSpec(f"{tmp_path}/bad.py:Bad"))))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("deviates", "rebuilds", "plants", "words"),
    [
        ("nothing", False, True, "declares deviates = 'nothing', and planted something in round 0"),
        ("nothing", True, False, "declares deviates = 'nothing', and rebuilt the model"),
        ("parameters", True, True, "declares deviates = 'parameters', and rebuilt the model"),
    ],
)
def test_one_that_deviates_further_than_it_says_ends_the_run(
    small, tmp_path, deviates, rebuilds, plants, words
):
    """An epsilon would stand beside it otherwise."""
    (tmp_path / "liar.py").write_text(
        f"from torch import nn\nclass Liar:\n    deviates = '{deviates}'\n"
        f"    def rebuild(self, model):\n        return nn.Sequential(model) if {rebuilds} else model, {{}}\n"
        "    def init(self, secret):\n        return None\n"
        "    def plant(self, params, state, generator):\n"
        f"        return params + {float(plants)}, {{}}, state\n"
    )
    with pytest.raises(PluginError, match=words):
        one_round(prepare(small(server=PluginSpec(f"{tmp_path}/liar.py:Liar"))))


def test_the_layout_is_that_of_the_rebuilt_model(small):
    """By hand: 16 rows of 64, 16 thresholds and 16 weights before an MLP 64-8-10 of 610 parameters."""
    plan = prepare(small(server=IMPRINT)).plan
    assert plan.layout.num_parameters == 16 * 66 + 610
    assert isinstance(plan.layout, Layout)
    assert [slot.name for slot in plan.layout.parameters[:3]] == [
        "measure.weight",
        "measure.bias",
        "spread.weight",
    ]
