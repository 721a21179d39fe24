"""The mailbox: who is in it, what leaves it, and what stays known of a round. Oracles: by hand."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.core.updates import Context, Updates, concatenate
from gauntlet.server.mail.mailbox import Downlink, Mailbox, Messages, joined
from gauntlet.server.round import receive, run_round, send
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec


def messages(ids, round_, at):
    """Clients whose every number is made of their id."""
    ids, k = torch.tensor(ids), len(ids)
    updates = Updates(
        ids[:, None].float() * torch.ones(k, 3), ids, 10 + ids, started=torch.full((k,), round_)
    )
    numbers = ids.double()
    times = np.full(k, at), ids.numpy() * 1.0, np.full(k, at + 9.0), at + ids.numpy()
    return Messages(
        updates, updates, numbers.float(), numbers, numbers, ids[:, None].float(),
        [bytes([i]) for i in ids.tolist()], ids.numpy() * 100, *times
    )  # fmt: skip


def down(round_):
    return Downlink(Broadcast(round_, torch.full((3,), float(round_)), torch.zeros(0)), None, 7)


@pytest.fixture
def box():
    box = Mailbox().posted(messages([2, 5], 0, 0.0), down(0))
    box = box.posted(messages([1, 4], 1, 3.0), down(1))
    return box.posted(messages([], 1, 3.0), down(1)).posted(messages([3], 1, 4.0), down(1))


def test_a_schedule_is_told_who_is_on_the_way_in_the_order_of_beginning(box):
    traffic = box.traffic(1, 5.0, np.array([0, 1, 2, 6]))
    assert traffic.client_ids.tolist() == [2, 5, 1, 4, 3]
    assert traffic.started.tolist() == [0, 0, 1, 1, 1]
    assert traffic.arrives.tolist() == [2.0, 5.0, 4.0, 7.0, 7.0]
    assert traffic.idle.tolist() == [0, 6]
    assert traffic.order.tolist() == [0, 2, 1, 3, 4]  # 4 and 3 come together; 4 began first
    assert Mailbox().traffic(0, 0.0, np.array([4])).idle.tolist() == [4]


def test_what_leaves_is_in_ascending_id_and_each_row_is_one_clients(box):
    rest, gone = box.taken(np.array([False, True, True, True, False]))
    whole = joined(gone)
    ids = whole.updates.client_ids
    assert ids.tolist() == [1, 4, 5]
    assert whole.updates.started.tolist() == [1, 1, 0]
    assert torch.equal(whole.updates.vectors, ids[:, None].float().expand(3, 3))
    assert whole.frames == [b"\x01", b"\x04", b"\x05"]
    assert whole.bytes_up.tolist() == [100, 400, 500]
    assert whole.memory.flatten().tolist() == whole.losses.tolist() == [1.0, 4.0, 5.0]
    assert whole.begins.tolist() == [3.0, 3.0, 0.0]
    assert rest.traffic(2, 9.0, np.array([], dtype=np.int64)).client_ids.tolist() == [2, 3]


def test_what_was_broadcast_lives_as_long_as_a_message_of_its_round(box):
    rest, _ = box.taken(np.array([True, False, True, True, True]))
    assert list(rest.downs) == [0]
    rest, _ = box.taken(np.array([True, True, False, False, False]))
    assert list(rest.downs) == [1]
    assert rest.downs[1].broadcast.params.tolist() == [1.0, 1.0, 1.0]


def test_a_message_knows_the_round_in_which_its_client_began():
    context = Context(4, torch.zeros(2), None, 0)
    ids = torch.tensor([1, 2])
    one = Updates(torch.zeros(2, 2), ids, ids, context=context)
    late = Updates(torch.zeros(1, 2), ids[:1] - 1, ids[:1], started=torch.tensor([3]))
    assert one.started.tolist() == [4, 4]
    assert one.rows(torch.tensor([False, True])).started.tolist() == [4]
    assert concatenate([one, late], 3.0).started.tolist() == [3, 4, 4]
    assert Updates(torch.zeros(1, 2), ids[:1], ids[:1]).started.tolist() == [0]


def test_a_synchronous_round_leaves_the_mailbox_empty_and_is_its_two_halves(small):
    """Oracle: ``run_round``. Between the halves, all of the cohort is in the mailbox."""
    simulation = prepare(small(codec=PluginSpec("topk"), network=PluginSpec("links", {"dropout": 0.3})))
    plan, pool = simulation.plan, simulation.serial_pool()
    whole, one = run_round(plan, simulation.first, pool)
    between, sent = send(plan, simulation.first, pool)
    after, two = receive(plan, between, sent)
    assert between.mailbox.traffic(0, 0.0, sent.drawn).client_ids.tolist() == list(range(8))
    assert torch.equal(whole.params, after.params)
    assert whole.mailbox is after.mailbox is None
    assert one.sent.started.tolist() == [0] * 8
    assert 0 < two.delivery.arrived.sum() < 8


def test_clients_of_a_later_round_say_so(small):
    simulation = prepare(small())
    state = replace(simulation.first, round=2)
    _, outcome = run_round(simulation.plan, state, simulation.serial_pool())
    assert outcome.received.started.tolist() == [2] * 8
    assert {f.name for f in fields(outcome)} >= {"sent", "honest"}
