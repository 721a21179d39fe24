"""Messages of several lengths on their way: codecs, hostile ones, robust rules, and those that come late."""

from dataclasses import replace

import pytest
import torch
from level_runs import hetero
from whole_runs import fields, rounds

from gauntlet.clients.codecs.parts.wire import decode_cohort, encode_cohort
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.trees import equal
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.spec import PluginSpec, RoleSpec


@pytest.mark.parametrize("codec", ["topk", "terngrad", "fp16", "error_feedback"])
def test_codecs_send_what_a_client_has_and_nothing_else(levels, codec):
    """Absent coordinates come back as exact zeros; a narrow client's frame is shorter than a wide one's."""
    for step in rounds(levels(codec=PluginSpec(codec), rounds=2))[1]:
        received, sizes = step.outcome.received, step.outcome.bytes_up
        assert len(received) == 9
        assert not bool(received.vectors[~received.presence.levels[received.presence.level]].any())
        assert bool((received.vectors != 0).any(dim=1).all())
        assert max(sizes[6:]) < min(sizes[:3])


def test_error_feedback_keeps_a_residual_of_each_clients_own_length(levels):
    """p - d of what was counted, with d from the last frame: the residual of the paper's Algorithm 2."""
    spec = levels(codec=PluginSpec("error_feedback"), rounds=2)
    first, second = rounds(spec)[1]
    presence = second.outcome.sent.presence
    for client in range(9):
        there = presence.levels[presence.level[client]]
        before = first.state.codec["residuals"][client]
        wanted = before + second.outcome.sent.vectors[client, there]
        left = wanted - second.outcome.received.vectors[client, there]
        torch.testing.assert_close(second.state.codec["residuals"][client], left)


def test_a_hostile_frame_of_another_level_is_rejected(levels):
    """A narrow client that sends a wide client's coordinates: its frame is of another spec."""
    simulation, found = rounds(levels(codec=PluginSpec("topk"), rounds=1))
    plan, sent = simulation.plan, found[0].outcome.sent
    streams = CodecStreams(plan.seed, 0)
    everybody = replace(sent.presence, level=sent.presence.level[[0, 0, 0, 0, 0, 0, 0, 0, 0]])
    forged = replace(sent, presence=everybody, vectors=everybody.masked(torch.ones_like(sent.vectors)))
    frames, _ = encode_cohort(plan.codec, forged, plan.exchange.up, plan.public, None, streams)
    how = plan.exchange.up, plan.public, streams, sent.presence

    vectors, rejected = decode_cohort(plan.codec, frames, list(range(9)), *how)

    same = (sent.presence.level == sent.presence.level[0]).nonzero().flatten().tolist()
    assert len(vectors) == len(same)
    assert [row for row, _ in rejected] == [row for row in range(9) if row not in same]
    assert all("spec" in reason for _, reason in rejected)


def test_an_attacker_sends_no_more_than_its_level_has(levels):
    """Noise everywhere, NaN everywhere: what the level lacks is 0, and a client that sends NaN is refused."""
    noise = RoleSpec(PluginSpec("gaussian", {"std": 9.0}), clients=(8,))
    broken = RoleSpec(PluginSpec("non_finite"), clients=(4,))
    outcome = rounds(levels(rounds=1, roles=(noise, broken)))[1][0].outcome
    presence = outcome.sent.presence

    absent = ~presence.levels[presence.level]
    assert not bool(outcome.sent.vectors[absent].any())
    there = ~absent[8]
    assert bool((outcome.sent.vectors[8, there].abs() > 0).all())
    assert list(outcome.refused) == [4]
    assert outcome.verdict.aggregate.isfinite().all()


def test_attackers_see_the_parameters_that_they_received(levels, tmp_path):
    """An attack that sends minus what its view holds: nothing outside of its level."""
    file = tmp_path / "mirror.py"
    file.write_text(MIRROR)
    role = RoleSpec(PluginSpec(f"{file}:Mirror"), clients=(8,))
    simulation, (step,) = rounds(levels(rounds=1, roles=(role,)))
    presence, first = step.outcome.sent.presence, simulation.first.params
    there = presence.levels[presence.level[8]]

    assert step.outcome.sent.num_examples[8] == int((first[there] != 0).sum())
    assert torch.equal(step.outcome.sent.vectors[8, there], -first[there])


MIRROR = """
from dataclasses import dataclass, replace
from typing import ClassVar
import torch
from gauntlet.core.contracts import UpdateKnowledge

@dataclass(frozen=True)
class Mirror:
    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN
    def init(self): return None
    def corrupt(self, own, view, state):
        seen = int((view.params != 0).sum())
        counts = torch.full_like(own.num_examples, seen)
        return replace(own, vectors=-view.params[None], num_examples=counts), state
"""


@pytest.mark.parametrize("defense", ["median", "trimmed_mean", "norm_clipping"])
def test_robust_rules_outvote_a_liar_where_enough_others_are(levels, defense):
    """One of three wide clients sends noise of 1e3: with clipping it moves nothing by more than its share."""
    options = {"num_byzantine": 1} if defense == "trimmed_mean" else {}
    role = RoleSpec(PluginSpec("gaussian", {"std": 1e3}), clients=(0,))
    spec = levels(rounds=1, roles=(role,), defense=PluginSpec(defense, options), algorithm=hetero(mask=False))
    aggregate = rounds(spec)[1][0].outcome.verdict.aggregate

    assert float(aggregate.abs().max()) < 5


@pytest.mark.parametrize("codec", ["identity", "topk"])
def test_messages_that_come_later_have_the_level_of_the_round_in_which_they_began(levels, tmp_path, codec):
    """Buffered: levels are drawn, jobs last for rounds; a checkpoint in between goes on to the same bits."""
    spec = levels(
        rounds=6,
        algorithm=hetero(mode="dynamic"),
        codec=PluginSpec(codec),
        schedule=PluginSpec("buffered", {"buffer_size": 3}),
        network=PluginSpec("links", {"latency_seconds": 1.0, "jitter": 1.0}),
    )
    simulation, whole = rounds(spec)
    plan, late = simulation.plan, 0
    for step in whole:
        received = step.outcome.received
        late += int((received.started < step.outcome.round).sum())
        for row, (client, started) in enumerate(zip(received.client_ids, received.started, strict=True)):
            alone = plan.levels.presence([int(client)], [int(started)])
            there = alone.levels[alone.level[0]]
            assert torch.equal(received.presence.levels[received.presence.level[row]], there)
            assert not bool(received.vectors[row, ~there].any())
    assert late > 0
    save_checkpoint(tmp_path, whole[2].state, "run")
    rest = rounds(spec, state=load_checkpoint(tmp_path, "run"))[1]
    ends = [fields(run[-1].state) | {"mailbox": None} for run in (rest, whole)]
    assert equal(*ends)
