"""A downlink of differences: what clients hold, and what those that were away receive, by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.difference import Difference
from gauntlet.core.declarations import Codecs, declared
from gauntlet.core.errors import ScenarioError
from gauntlet.core.trees import equal
from gauntlet.core.updates import Updates
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.mail.catching_up import missed_bytes, with_receipts
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

DOWN = PluginSpec("difference", {"codec": {"name": "topk", "density": 0.1}})


def steps(simulation, state=None):
    pool = simulation.serial_pool()
    found = list(simulation.steps(pool, state))
    pool.close()
    return found


@pytest.mark.parametrize("rows", [True, False], ids=["single updates", "sums"])
def test_what_clients_hold_is_the_sum_of_all_frames_and_follows_the_server(small, rows):
    """Conservation: h after each round is h before and the decoded frame; w - h is what frames left out.

    With half precision inside h is within 2^-11 of the last change of w.
    """
    half = PluginSpec("difference", {"codec": "fp16"})
    simulation = prepare(small(rows=rows, rounds=4, codec_down=half))
    before = simulation.first.params
    for step in steps(simulation):
        held = step.outcome.broadcast.params
        assert torch.equal(held, step.state.down["held"])
        np.testing.assert_allclose(held, before, atol=1e-4)
        before = step.state.params


def test_a_client_that_was_away_receives_the_shorter_of_what_it_missed_and_everything(small):
    """By hand: frames of 10, 20, 30 bytes before round 3; whole parameters take W bytes.

    Client 0 was there in round 2 and misses nothing, 1 in round 0 and misses 50, 2 was never there.
    """
    simulation = prepare(small(codec_down=DOWN))
    state = replace(simulation.first, round=3)
    clients = torch.tensor([[0, 2], [1, 0]])
    state = replace(state, down={"held": state.params, "sizes": [10, 20, 30, 99], "clients": clients})
    ids = np.array([0, 1, 2])
    whole = simulation.plan.frame_whole
    assert missed_bytes(simulation.plan, state, ids).tolist() == [0, 50, whole]
    state = replace(state, down={**state.down, "sizes": [10, 20, whole, 99]})
    assert missed_bytes(simulation.plan, state, ids).tolist() == [0, whole, whole]
    counted = Updates(torch.zeros(2, 1), torch.tensor([1, 5]), torch.ones(2), started=torch.tensor([3, 1]))
    assert with_receipts(state.down, counted)["clients"].tolist() == [[0, 2], [1, 3], [5, 1]]


@pytest.mark.parametrize("rows", [True, False], ids=["single updates", "sums"])
def test_a_message_that_was_lost_is_no_receipt(small, rows):
    """By hand: who was never counted is sent all of h, and who was pays for each frame since then."""
    links = PluginSpec("links", {"dropout": 0.5})
    simulation = prepare(small(rows=rows, rounds=6, codec_down=DOWN, network=links))
    whole, last, sizes, lost = simulation.plan.frame_whole, {}, [], 0
    for step in steps(simulation):
        o = step.outcome
        owed = {i: sum(sizes[last[i] + 1 :]) if i in last else whole for i in o.began.tolist()}
        assert dict(o.missed) == {i: min(size, whole) for i, size in owed.items() if size}
        counted = o.received.client_ids.tolist()
        lost += len(o.began) - len(counted)
        last.update(dict.fromkeys(counted, o.round))
        sizes.append(o.bytes_down)
    assert lost > 5


def test_the_bytes_of_a_run_are_frames_and_what_was_missed(small):
    """Four of eight clients a round: each pays the frame, and what rounds since its last one took."""
    spec = small(rounds=5, codec_down=DOWN, sampler=PluginSpec("fixed_size", {"cohort_size": 4}))
    simulation = prepare(spec)
    whole, last, sizes = simulation.plan.frame_whole, {}, []
    for step in steps(simulation):
        o = step.outcome
        expected = {}
        for client in o.began.tolist():
            missed = sum(sizes[last[client] + 1 :]) if client in last else whole
            if min(missed, whole):
                expected[client] = min(missed, whole)
            last[client] = o.round
        sizes.append(o.bytes_down)
        assert dict(o.missed) == expected
        assert o.bytes_received == 4 * o.bytes_down + sum(expected.values())


def test_links_count_what_was_missed(small):
    """In round 0 everybody receives the whole model and a frame: at 8 Mb/s a byte a microsecond."""
    simulation = prepare(small(rounds=1, codec_down=DOWN, link={"down_mbps": 8.0}))
    (step,) = steps(simulation)
    assert step.state.clock == pytest.approx(1e-6 * (step.outcome.bytes_down + simulation.plan.frame_whole))


def test_a_run_goes_on_from_a_checkpoint_with_the_same_bits(small, tmp_path):
    spec = small(rounds=4, codec_down=DOWN, sampler=PluginSpec("fixed_size", {"cohort_size": 3}))
    simulation = prepare(spec)
    whole = steps(simulation)
    save_checkpoint(tmp_path, whole[1].state, "run")
    again = steps(simulation, load_checkpoint(tmp_path, "run"))
    assert torch.equal(again[-1].state.params, whole[-1].state.params)
    assert equal(again[-1].state.down, whole[-1].state.down)
    assert again[-1].state.bytes_down == whole[-1].state.bytes_down


def test_other_downlinks_hold_nothing(small):
    simulation = prepare(small(codec_down=PluginSpec("fp16")))
    assert simulation.first.down is None
    assert missed_bytes(simulation.plan, simulation.first, np.arange(3)).tolist() == [0, 0, 0]


def test_a_codec_with_a_memory_inside_is_refused():
    with pytest.raises(ValueError, match="keeps a memory or shares something"):
        Difference("error_feedback")


def test_a_codec_inside_that_may_lose_more_than_it_is_given_is_refused_unless_that_is_meant():
    """Scaled random-k grows what is left out by 1 / density - 1 in the mean."""
    with pytest.raises(ValueError, match="does not say that it is contractive"):
        Difference("randk")
    assert Difference("randk", allow_unbiased=True).codec_id == CODECS.build("randk", {}).codec_id


@pytest.mark.parametrize("inside", ["lift", {"name": "gradnorm_lorp", "refresh": "random"}], ids=str)
def test_a_codec_inside_that_counts_on_known_parameters_is_refused(small, inside):
    down = PluginSpec("difference", {"codec": inside})
    with pytest.raises(ScenarioError, match="counts on parameters that both sides hold"):
        prepare(small(codec_down=down))


def test_on_the_way_up_it_says_of_itself_what_the_codec_inside_says():
    for name in ("topk", "lift", "int4"):
        codec, inside = Difference(name, allow_unbiased=True), CODECS.build(name, {})
        for one in (Codecs.reads_params, Codecs.contractive, Codecs.unbiased):
            assert declared(codec, one) == declared(inside, one)
        for one in (Codecs.support, Codecs.mismatch):
            assert (declared(codec, one) is None) == (declared(inside, one) is None)
