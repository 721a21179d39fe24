"""A codec on the way down: what clients decode is what they train from, and the server keeps its own."""

from dataclasses import replace

import pytest
import torch

from gauntlet.core.contracts import LocalTraining, UpdateKnowledge
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.roles import Role
from gauntlet.server.recording.probe import knowledge_of
from gauntlet.server.recording.recordings import save_observation
from gauntlet.server.recording.replays import load_observation
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec
from gauntlet.sims.scenario import fingerprint, load_scenario

HALF = PluginSpec("fp16")


def one_round(simulation, state=None):
    return run_round(simulation.plan, state or simulation.first, simulation.serial_pool())


def test_clients_train_from_what_they_decode_and_the_server_moves_its_own(small):
    """Oracle: IEEE halves by torch; FedAvg by hand on the server's own parameters."""
    simulation = prepare(small(codec_down=HALF))
    after, outcome = one_round(simulation)
    own = simulation.first.params
    u, n = outcome.honest.vectors.double(), outcome.honest.num_examples.double()
    assert torch.equal(outcome.broadcast.params, own.half().float())
    assert not torch.equal(outcome.broadcast.params, own)
    assert torch.equal(outcome.received.context.params, own.half().float())
    assert torch.allclose(after.params, own + (n @ u / n.sum()).float(), atol=1e-7)


def test_the_updates_are_those_of_a_run_that_began_at_what_was_decoded(small):
    """Oracle: a run without a codec whose server holds the halves."""
    through, plain = prepare(small(codec_down=HALF)), prepare(small())
    halved = replace(plain.first, params=plain.first.params.half().float())
    _, one = one_round(through)
    _, other = one_round(plain, halved)
    assert torch.equal(one.honest.vectors, other.honest.vectors)


def test_sums_on_the_workers_start_from_it_too(small):
    single, summed = (prepare(small(codec_down=HALF, rows=rows)) for rows in (True, False))
    assert summed.plan.summed
    (a, _), (b, _) = one_round(single), one_round(summed)
    assert torch.allclose(a.params, b.params, rtol=1e-6, atol=1e-8)
    assert a.bytes_down == b.bytes_down


@pytest.mark.parametrize(
    ("codec", "payload"), [("identity", 4), ("fp16", 2)], ids=["4 bytes a number", "2 bytes a number"]
)
def test_bytes_down_are_the_frames(small, codec, payload):
    """By hand, an MLP 64-8-10: 512 + 8 + 80 + 10 numbers; 20 of overhead; 6 + 4 + 5 + 4 of record heads.

    A body of 2048, 1024 or 160 bytes writes its length in two bytes; 512 elements take two, too.
    """
    simulation = prepare(small(codec_down=PluginSpec(codec)))
    after, outcome = one_round(simulation)
    sizes = (512, 8, 80, 10)
    heads = sum(2 + (1 + (s > 127)) + (1 + (payload * s > 127)) for s in sizes)
    assert simulation.plan.layout.num_parameters == 610
    assert outcome.bytes_down == 20 + heads + payload * 610
    assert after.bytes_down == 8 * outcome.bytes_down


def test_bytes_that_the_codec_shares_are_counted_down(small):
    """By hand: two tensors of 3 float32 and one number of 8 bytes, for each of 8 clients."""
    simulation = prepare(small())
    tree = {"basis": (torch.zeros(3), torch.zeros(3)), "count": 5}
    _, plain = one_round(simulation)
    after, outcome = one_round(simulation, replace(simulation.first, shared=tree))
    assert outcome.bytes_down == plain.bytes_down + 32
    assert after.bytes_down == 8 * outcome.bytes_down


def test_an_attack_sees_what_was_broadcast(small):
    """The attack sends the parameters that its view holds."""

    class Echo:
        knowledge = UpdateKnowledge.COLLUDERS

        def init(self):
            return None

        def corrupt(self, own, view, state):
            return own.with_vectors(view.params.expand(len(own), -1)), state

    simulation = prepare(small(codec_down=HALF))
    plan = replace(simulation.plan, attacks=(Role("echo", Echo(), (3,)),))
    first = replace(simulation.first, attacks=(None,))
    _, outcome = run_round(plan, first, simulation.serial_pool())
    assert torch.equal(outcome.sent.vectors[3], simulation.first.params.half().float())


def test_a_probe_sees_what_the_client_decoded(small, tmp_path):
    """Oracle: IEEE halves by torch: the public model holds what the client decoded."""
    how = LocalTraining(local_steps=1, batch_size=4, lr=0.25)
    spec = small(rounds=1, codec_down=HALF, training=how, model=PluginSpec("mlp", {"hidden": [8]}))
    simulation = prepare(spec)
    _, outcome = one_round(simulation)
    truth, kernel = simulation.kernel.truth(1, 0), simulation.kernel
    knowledge = knowledge_of(spec, kernel.training, truth, 1, False, kernel.rule)
    facts = (spec, simulation.data, outcome, 1, knowledge, truth, {"attack": "dlg"})
    seen = load_observation(save_observation(tmp_path / "seen", *facts))
    params = torch.cat([p.detach().reshape(-1) for p in seen.model.parameters()])
    assert torch.equal(params, simulation.first.params.half().float())


def test_a_downlink_changes_no_epsilon(small):
    """What goes down follows from what was released."""
    table = {"clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 0.01}
    fixed = PluginSpec("mean", {"weighting": "fixed"})
    spec = small(privacy=PluginSpec("gaussian", table), defense=fixed)
    found = [one_round(prepare(s))[1].epsilon for s in (spec, replace(spec, codec_down=HALF))]
    assert found[0] == found[1]
    assert found[0].value is not None


def test_parameters_that_the_codec_cannot_carry_end_the_run_in_one_line(small):
    simulation = prepare(small(codec_down=HALF))
    broken = replace(simulation.first, params=simulation.first.params * torch.inf)
    with pytest.raises(
        PluginError, match=r"codec_down cannot carry the parameters before round 0.*not finite"
    ):
        one_round(simulation, broken)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"codec_down": PluginSpec("error_feedback")},
            "codec_down 'error_feedback' keeps a memory of its messages.*such as fp16",
        ),
        (
            {"codec_down": PluginSpec("lift")},
            "codec_down 'lift' counts on parameters that both sides hold.*such as fp16",
        ),
        (
            {"codec_down": HALF, "algorithm": PluginSpec("diff2_gd"), "rows": False},
            "algorithm 'diff2_gd' counts on clients that hold the server's own parameters",
        ),
    ],
    ids=["a memory", "the parameters", "an algorithm's own server half"],
)
def test_what_does_not_go_down_is_refused(small, changes, complaint):
    with pytest.raises(ScenarioError, match=complaint):
        prepare(small(**changes))


def test_runs_of_versions_without_a_downlink_codec_keep_their_fingerprint():
    values = load_scenario("quickstart").values()
    before = {key: value for key, value in values.items() if key != "codec_down"}
    assert fingerprint(values, {}) == fingerprint(before, {})
    assert fingerprint({**values, "codec_down": {"name": "fp16"}}, {}) != fingerprint(before, {})


def test_a_scenario_names_it(small):
    spec = load_scenario("quickstart", ["codec_down=fp16"]).run_spec()
    assert spec.codec_down == HALF
