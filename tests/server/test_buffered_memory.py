"""What is remembered of clients whose messages count late: by defenses, algorithms, codecs; who sees what."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from gauntlet.core.contracts import UpdateKnowledge
from gauntlet.core.errors import ScenarioError
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

LINKS = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 1.0, "dropout": 0.15})
UNIFORM = PluginSpec("mean", {"weighting": "uniform"})


@pytest.fixture
def late(small):
    """Buffers of 3 of 8 clients, of whom some are lost; keywords replace fields."""
    return lambda **changes: small(
        **{
            "rounds": 10,
            "network": LINKS,
            "schedule": PluginSpec("buffered", {"buffer_size": 3, "concurrency": 6}),
            "defense": UNIFORM,
            **changes,
        }
    )


def steps_of(spec):
    simulation = prepare(spec)
    return simulation, list(simulation.steps(simulation.serial_pool()))


def weighted(outcome):
    """The messages as the rules see them: by hand, times (1 + tau)^-0.5, in float32 as messages are."""
    tau = outcome.round - outcome.received.started
    return outcome.received.vectors * ((1 + tau.double()) ** -0.5).float()[:, None]


def test_foolsgold_sums_what_each_client_sent_whenever_it_began(late):
    _, steps = steps_of(late(defense=PluginSpec("foolsgold")))
    sums = {}
    for step in steps:
        rows = zip(step.outcome.received.client_ids.tolist(), weighted(step.outcome), strict=True)
        sums = {**sums, **{i: sums.get(i, 0) + row.double() for i, row in rows}}
    last = steps[-1].state.defense
    assert any(int((s.outcome.round - s.outcome.received.started).max()) > 1 for s in steps)
    assert set(last) == set(sums)
    assert all(torch.allclose(last[i].double(), sums[i], rtol=1e-5, atol=1e-7) for i in sums)


def test_mud_hog_counts_and_sums_what_each_client_sent_whenever_it_began(late):
    _, steps = steps_of(late(defense=PluginSpec("mud_hog")))
    seen, sums = {}, {}
    for step in steps:
        for i, row in zip(step.outcome.received.client_ids.tolist(), weighted(step.outcome), strict=True):
            seen[i], sums[i] = seen.get(i, 0) + 1, sums.get(i, 0) + row.double()
    records = steps[-1].state.defense["clients"]
    assert {i: record["seen"] for i, record in records.items()} == seen
    assert all(torch.allclose(records[i]["long"].double(), sums[i], rtol=1e-5, atol=1e-7) for i in sums)


@pytest.mark.slow
def test_mud_hog_finds_those_who_send_the_opposite(late):
    """Three of twelve: from round 20 on each is flagged as one whenever it counts, and nobody else is."""
    how = {"num_clients": 12, "rounds": 30, "defense": PluginSpec("mud_hog")}
    how["schedule"] = PluginSpec("buffered", {"buffer_size": 8, "concurrency": 12})
    bad = {1, 4, 9}
    _, steps = steps_of(late(roles=(RoleSpec(PluginSpec("sign_flip"), clients=tuple(bad)),), **how))
    for step in steps[20:]:
        came, flags = set(step.outcome.received.client_ids.tolist()), step.outcome.verdict.flags
        assert {i for i, kind in flags.items() if kind == "sign_flip"} == came & bad


@pytest.mark.parametrize("name", ["bucketing", "clipped_clustering", "norm_clipping"])
def test_rules_that_remember_no_clients_run(late, name):
    before = (PluginSpec(name),) if name == "bucketing" else ()
    rule = UNIFORM if before else PluginSpec(name)
    _, steps = steps_of(late(rounds=3, pre_aggregations=before, defense=rule))
    assert all(not step.outcome.verdict.fallback for step in steps)


@pytest.mark.parametrize("name", ["fldetector", "flanders", "a rule"])
def test_rules_that_compare_messages_of_one_round_are_refused_by_name(late, name):
    options = {"num_byzantine": 1} if name == "flanders" else {}
    named = PluginSpec(f"{__file__}:Remembers") if name == "a rule" else PluginSpec(name, options)
    with pytest.raises(ScenarioError, match=r"defense '.*' remembers earlier rounds"):
        prepare(late(defense=named))
    prepare(late(defense=named, schedule=PluginSpec("synchronous")))


@dataclass(frozen=True)
class Remembers:
    """A rule from outside that says nothing of what it remembers."""

    def init(self) -> Any:
        return {"seen": 0}

    def aggregate(self, updates: Any, state: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("schedule", [{}, {"staleness": "constant"}, {"reduction": "sum"}])
def test_scaffolds_control_is_the_mean_of_all_clients_at_any_staleness(late, schedule):
    """c = mean(c_i) over all N: changes of control count whole, and clients remember counted messages."""
    options = {"buffer_size": 3, "concurrency": 6, **schedule}
    _, steps = steps_of(late(algorithm=PluginSpec("scaffold"), schedule=PluginSpec("buffered", options)))
    counted = set()
    for step in steps:
        counted |= set(step.outcome.received.client_ids.tolist())
        total = sum(row.double() for row in step.state.clients.values())
        control = step.state.optimizer["control"].double()
        assert torch.allclose(control, total / 8, atol=1e-6)
        assert set(step.state.clients) == counted
    assert any(int((s.outcome.round - s.outcome.received.started).max()) > 0 for s in steps)


def test_feddyn_is_refused(late):
    with pytest.raises(
        ScenarioError, match="algorithm 'feddyn' counts on messages that began in the same round"
    ):
        prepare(late(algorithm=PluginSpec("feddyn")))


def test_what_error_feedback_left_out_and_what_it_sent_add_up(late):
    """By client: its updates are what was decoded and counted, and the residual.

    What is on the way is still whole in the residual.
    """
    codec = PluginSpec("error_feedback", {"codec": {"name": "topk", "density": 0.1}})
    _, steps = steps_of(late(codec=codec))
    made, arrived = {}, {}
    for step in steps:
        o = step.outcome
        for i, row in zip(o.received.client_ids.tolist(), o.received.vectors, strict=True):
            arrived[i] = arrived.get(i, 0) + row.double()
        for i, row in zip(o.sent.client_ids.tolist(), o.honest.vectors, strict=True):
            made[i] = made.get(i, 0) + row.double()
    box = steps[-1].state.mailbox
    for group in box.groups:
        for i, row in zip(group.updates.client_ids.tolist(), group.honest.vectors, strict=True):
            made[i] = made.get(i, 0) + row.double()
    residuals = steps[-1].state.codec["residuals"]
    for i, total in made.items():
        kept = arrived.get(i, torch.zeros_like(total)) + residuals[i].double()
        assert torch.allclose(kept, total, atol=1e-5)
    assert any(not s.outcome.delivery.arrived.all() for s in steps)


@dataclass(frozen=True)
class Watcher:
    """Send what is true, and remember what it saw: its own, honest ones, and the announced size."""

    knowledge: Any = UpdateKnowledge.OMNISCIENT

    def init(self) -> Any:
        return []

    def corrupt(self, own: Any, view: Any, state: Any) -> Any:
        honest = [] if view.honest is None else view.honest.client_ids.tolist()
        return own, [*state, [view.round, own.client_ids.tolist(), honest, view.cohort_size]]


@dataclass(frozen=True)
class Colluder(Watcher):
    """The same, seeing no honest messages."""

    knowledge: Any = UpdateKnowledge.COLLUDERS


@pytest.mark.parametrize("kind", ["Watcher", "Colluder"])
def test_an_attack_sees_what_begins_with_it_and_an_omniscient_one_what_is_on_the_way(late, kind):
    """Oracle: who began when, and what left the mailbox in the rounds before."""
    roles = (RoleSpec(PluginSpec(f"{__file__}:{kind}"), clients=(2, 5)),)
    _, steps = steps_of(late(roles=roles))
    seen = steps[-1].state.attacks[0]
    waiting, began = set(), {}
    for step in steps:
        now = step.outcome.began.tolist()
        began[step.outcome.round] = (set(waiting), now)
        waiting = set(step.state.mailbox.client_ids)
    assert {i for _, own, _, _ in seen for i in own} == {2, 5}
    for round_, own, honest, size in seen:
        before, order = began[round_]
        assert size == 3
        assert set(own) <= {2, 5}
        if kind == "Colluder":
            assert honest == []
            continue
        place = min(order.index(i) for i in own)
        assert before - {2, 5} <= set(honest) <= (before | set(order)) - {2, 5}
        assert set(order[:place]) - {2, 5} <= set(honest)


@pytest.mark.parametrize("attack", ["alie", "ipm", "mimic", "min_max", "fang_trim"])
def test_attacks_by_omniscient_clients_run_where_they_begin_alone(late, attack):
    _, steps = steps_of(late(rounds=5, roles=(RoleSpec(PluginSpec(attack), clients=(2, 5)),)))
    assert all(bool(step.state.params.isfinite().all()) for step in steps)


def test_who_has_attacked_is_who_began_as_an_attacker(late):
    """From round 4 on: nobody has before, and then those that began; by the sampler it would be everybody."""
    role = RoleSpec(PluginSpec("sign_flip"), clients=(0, 1, 2, 3, 4, 5, 6, 7), start_round=4)
    simulation, steps = steps_of(late(rounds=6, roles=(role,)))
    attackers = set()
    for step in steps:
        attackers |= set(step.outcome.began.tolist()) if step.outcome.round >= 4 else set()
        assert step.outcome.attacked(simulation.plan) == attackers
        truth = step.outcome.malicious(simulation.plan)
        late_ones = step.outcome.sent.client_ids[step.outcome.sent.started >= 4]
        assert truth == set(late_ones.tolist())
    assert 0 < len(attackers) < 8
