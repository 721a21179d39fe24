"""Whole buffered runs: the same bits on any pool and after a stop, with messages on the way."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gauntlet.core.errors import CheckpointError
from gauntlet.core.trees import equal, pack, unpack
from gauntlet.server.checkpoint import read_checkpoint, save_checkpoint
from gauntlet.server.mail.mailbox_trees import mailbox_of, misfit, tree_of
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

HEAVY = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 1.0, "dropout": 0.1})
BUFFERED = PluginSpec("buffered", {"buffer_size": 3, "concurrency": 5})


def run(simulation, pool=None, state=None):
    pool = pool or simulation.serial_pool()
    found = list(simulation.steps(pool, state))
    pool.close()
    return found


@pytest.fixture
def crowded(small):
    """Everything that has a state takes part, on links with a heavy tail; keywords replace fields."""
    return lambda **changes: small(
        **{
            "rounds": 6,
            "network": HEAVY,
            "schedule": BUFFERED,
            "sampler": PluginSpec("fixed_size", {"cohort_size": 7}),
            "codec": PluginSpec("error_feedback", {"codec": {"name": "topk", "density": 0.2}}),
            "privacy": PluginSpec("gaussian", {"clip_norm": 0.5, "noise_multiplier": 0.4, "delta": 0.01}),
            "defense": PluginSpec("mean", {"weighting": "fixed"}),
            "server_optimizer": PluginSpec("adam", {"lr": 0.01}),
            "roles": (
                RoleSpec(PluginSpec("additive_noise", {"std": 0.1}), count=1),
                RoleSpec(PluginSpec("label_flip", {"source": 1, "target": 7}), clients=(2,)),
            ),
            **changes,
        }
    )


def fields(state):
    """A state's fields as trees."""
    found = {name: getattr(state, name) for name in state.__dataclass_fields__}
    return {**found, "mailbox": None if state.mailbox is None else tree_of(state.mailbox)}


VARIANTS = {
    "everything": {},
    "verbatim": {"codec": PluginSpec("identity"), "privacy": PluginSpec("none")},
    "scaffold": {
        "algorithm": PluginSpec("scaffold"),
        "privacy": PluginSpec("none"),
        "codec": PluginSpec("identity"),
        "server_optimizer": PluginSpec("sgd"),
    },
    "facts, one of them a lie": {
        "algorithm": PluginSpec("fednova", {"partial": 0.5, "server_momentum": 0.5}),
        "server_optimizer": PluginSpec("sgd"),
        "roles": (RoleSpec(PluginSpec(f"{Path(__file__).parent}/test_facts_lies.py:Liar"), clients=(1, 3)),),
    },
    "one by one": {
        "schedule": PluginSpec("buffered", {"buffer_size": 2, "starts_by": "poisson", "start_rate": 3.0}),
        "algorithm": PluginSpec("fedprox", {"mu": 0.1}),
    },
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_run_that_stops_with_messages_on_the_way_goes_on_to_the_same_bits(crowded, changes, tmp_path):
    simulation = prepare(crowded(**changes))
    steps = run(simulation)
    assert any(step.state.mailbox for step in steps[:-1])
    for step in steps[:-1:2]:
        place = save_checkpoint(tmp_path / str(step.state.round), step.state, "run")
        found = read_checkpoint(place, "run").state
        assert misfit(found, simulation.plan) is None
        assert all(
            equal(a, b) for a, b in zip(fields(found).values(), fields(step.state).values(), strict=True)
        )
        last = run(simulation, state=found)[-1]
        assert equal(fields(last.state), fields(steps[-1].state))
        assert torch.equal(last.outcome.honest.vectors, steps[-1].outcome.honest.vectors)
        assert list(last.outcome.frames) == list(steps[-1].outcome.frames)


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bits(crowded, ray_here):
    simulation = prepare(crowded())
    expected = fields(run(simulation)[-1].state)
    for workers in (1, 2):
        assert equal(fields(run(simulation, simulation.ray_pool(workers))[-1].state), expected)


def test_bytes_are_counted_when_they_are_sent_and_every_message_leaves_once(crowded):
    """Of all that began, each is counted, given up or still on the way; bytes follow who began."""
    steps = run(prepare(crowded(rounds=8, privacy=PluginSpec("none"))))
    began = sorted((s.outcome.round, i) for s in steps for i in s.outcome.began.tolist())
    left = [
        (r, i)
        for s in steps
        for r, i in zip(s.outcome.sent.started.tolist(), s.outcome.sent.client_ids.tolist(), strict=True)
    ]
    box = steps[-1].state.mailbox
    groups = [group.updates for group in box.groups]
    waiting = [(int(u.started[row]), int(u.client_ids[row])) for u in groups for row in range(len(u))]
    assert sorted(left + waiting) == began
    assert steps[-1].state.bytes_down == sum(s.outcome.bytes_down * len(s.outcome.began) for s in steps)
    assert steps[-1].state.bytes_up == sum(s.outcome.bytes_sent for s in steps)
    assert {len(s.outcome.received) for s in steps} == {3}


@pytest.fixture
def stopped(crowded):
    """A state with messages on the way, one of them of an attacker."""
    steps = run(prepare(crowded(rounds=5)))
    return next(s.state for s in steps[1:] if s.state.mailbox and len(s.state.mailbox.downs) > 1)


def vandal(tree, path, value):
    """Return a tree with something else at a path."""
    whole = unpack(*pack(tree))
    here = whole
    for key in path[:-1]:
        here = here[key]
    if value is DROP:
        del here[path[-1]]
    else:
        here[path[-1]] = value(here[path[-1]])
    return whole


DROP = object()
HOSTILE = [
    (("groups",), lambda _: None, "has other parts"),
    (("downs",), lambda _: {}, "other broadcasts than those"),
    (("groups", 0, "vectors"), lambda v: v.double(), "holds vectors of another type"),
    (("groups", 0, "buffers"), lambda v: torch.zeros(len(v), 9), "messages of several lengths"),
    (("groups", 0, "losses"), lambda v: torch.cat([v, v]), "holds losses of another type or length"),
    (("groups", 0, "client_ids"), lambda v: v - 99, "ids below 0"),
    (("groups", 0, "arrives"), lambda v: v * float("nan"), "not finite"),
    (("groups", 0, "begins"), lambda v: v + float("inf"), "not finite"),
    (("groups", 0, "frames"), lambda v: v * 2, "frames that are none"),
    (("groups", 0, "frames", 0), lambda v: 7, "frames that are none"),
    (("groups", 0, "honest"), lambda v: {"vectors": 3, "num_examples": 4}, "another type or length"),
    (("groups", 0, "expected_size"), lambda v: -1.0, "no size"),
    (("groups", 0, "started"), lambda v: v + 99, "other broadcasts"),
    (("groups", 0, "memory"), DROP, "a group with other parts"),
    (("groups", 0), lambda v: 3, "a group with other parts"),
]


@pytest.mark.parametrize(
    ("path", "value", "words"), HOSTILE, ids=lambda v: str(v) if isinstance(v, tuple | str) else None
)
def test_a_mailbox_that_no_run_wrote_is_refused_in_one_line(stopped, path, value, words):
    tree = vandal(tree_of(stopped.mailbox), path, value)
    with pytest.raises(ValueError, match=words) as caught:
        mailbox_of(tree, stopped.round, len(stopped.params))
    assert "\n" not in str(caught.value)


def test_two_messages_of_one_client_or_a_broadcast_of_another_model_are_refused(stopped, tmp_path):
    tree = tree_of(stopped.mailbox)
    twice = {**tree, "groups": [*tree["groups"], tree["groups"][0]]}
    with pytest.raises(ValueError, match="two messages of a client"):
        mailbox_of(twice, stopped.round, len(stopped.params))
    with pytest.raises(ValueError, match="a broadcast of another model"):
        mailbox_of(tree, stopped.round, 3)
    with pytest.raises(ValueError, match="rounds outside of 0 to 0"):
        mailbox_of(tree, 1, len(stopped.params))
    broken = save_checkpoint(tmp_path, replace(stopped, attacked=(1, "x")), "run")
    with pytest.raises(CheckpointError, match="attacked is no tuple"):
        read_checkpoint(broken, "run")


def test_what_is_on_the_way_of_another_run_is_refused(stopped, crowded):
    plan = prepare(crowded()).plan
    other = prepare(crowded(codec=PluginSpec("identity"), schedule=PluginSpec("synchronous"))).plan
    small_model = prepare(crowded(model=PluginSpec("mlp", {"hidden": [4]}))).plan
    verbatim = prepare(crowded(codec=PluginSpec("identity"))).plan
    assert misfit(stopped, plan) is None
    assert "another schedule" in misfit(stopped, other)
    assert "another length" in misfit(stopped, small_model)
    assert "another codec" in misfit(stopped, verbatim)
    assert "another schedule" in misfit(replace(stopped, attacked=None), plan)


def test_a_huge_message_times_its_examples_ends_no_run(small):
    """1e37 a coordinate is a finite update; times 180 examples it is above the largest float32."""
    loud = RoleSpec(PluginSpec("additive_noise", {"std": 1e37}), clients=(0, 1))
    schedule = PluginSpec("buffered", {"buffer_size": 3, "concurrency": 5, "example_weight": "linear"})
    steps = run(prepare(small(network=HEAVY, schedule=schedule, roles=(loud,), rounds=2)))
    assert {0, 1} & {client for s in steps for client in s.outcome.received.client_ids.tolist()}
    assert all(bool(s.outcome.verdict.aggregate.isfinite().all()) for s in steps)
