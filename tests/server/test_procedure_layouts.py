"""What a procedure lays out itself: its messages, its memory and what it receives, in whole runs."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from gauntlet.core import trees
from gauntlet.core.contracts import NoGuarantee, Worked
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.layout import Layout, Slot
from gauntlet.privacy.accounting.curves import gaussian_epsilon
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

FIXED = PluginSpec("mean", {"weighting": "fixed"})


@dataclass(frozen=True)
class Slopes:
    """Clients send the mean and the largest entry of their gradient; amiss if asked."""

    how: str = ""
    mechanisms: ClassVar[tuple[str, ...]] = ("none", "gaussian", "local_gaussian")
    weighs_alike: ClassVar[bool] = True

    @property
    def facts(self):
        return ("examples",) if self.how.startswith("fact") else ()

    def up(self, layout):
        if self.how == "up":
            return Layout((Slot("mean", (1,), 0), Slot("most", (1,), 3)))
        return Layout(()).followed_by(mean=(1,), most=(1,))

    def memory(self, layout):
        return [2] if self.how == "memory" else Layout(()).followed_by(last=(2,), visits=(1,))

    def down(self, layout):
        behind = layout.repeated("weights" if self.how == "down" else "params")
        return behind.followed_by(pace=(1, 1))

    def scales(self, training):
        return {"mean": 4.0}

    def start(self, params):
        return params.new_zeros(2 if self.how == "start" else 3)

    def schedule(self, training):
        return training

    def extra(self, params, state):
        return torch.full((2 if self.how == "extra" else 1,), state["pace"])

    def work(self, visit):
        assert visit.shared["pace"].shape == (1, 1)
        assert list(visit.shared) == ["pace"]
        gradient, loss = visit.gradient(visit.received)
        found = torch.stack([gradient.mean(), gradient.max()]) + visit.own["visits"]
        if self.how == "pair":
            return found, loss
        kept = torch.cat([found, visit.own["visits"] + 1])
        told = {"examples": visit.num_examples} if self.how == "fact" else {}
        return Worked(found[:1] if self.how == "short" else found, loss, kept, told)

    def init(self):
        return {"pace": 0.5}

    def step(self, params, aggregate, state, share, *facts):
        assert len(facts) == len(self.facts)
        return params - aggregate.sum() * share, {"pace": state["pace"] / 2}


SLOPES = f"{__file__}:Slopes"


@pytest.fixture
def slopes(small):
    def spec(how="", **changes):
        uniform = PluginSpec("mean", {"weighting": "uniform"})
        named = PluginSpec(SLOPES, {"how": how})
        return small(
            **{"algorithm": named, "defense": uniform, "model": PluginSpec("mlp", {"hidden": [8]}), **changes}
        )

    return spec


def ran(spec):
    simulation = prepare(spec)
    return list(simulation.steps(simulation.serial_pool()))


def test_what_a_procedure_remembers_reaches_its_next_visit_and_is_counted_with_the_message(slopes):
    """Every counted visit adds 1 to both numbers: what is remembered says how many there were."""
    network = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.4})
    steps, visits = ran(slopes(rounds=4, network=network)), dict.fromkeys(range(8), 0)
    for step in steps:
        for client in step.outcome.received.client_ids.tolist():
            visits[client] += 1
        assert {i: int(row[2]) for i, row in step.state.clients.items()} == {
            i: n for i, n in visits.items() if n
        }
    assert min(visits.values()) < 4


def test_a_procedures_scales_divide_its_groups_on_their_way_and_multiply_the_aggregate(slopes):
    (step,) = ran(slopes(rounds=1))
    sent, remembered = step.outcome.sent.vectors, torch.stack([step.state.clients[i] for i in range(8)])
    assert torch.equal(sent, remembered[:, :2] / torch.tensor([4.0, 1.0]))
    moved = step.outcome.broadcast.params - step.state.params
    expected = (sent.mean(dim=0) * torch.tensor([4.0, 1.0])).sum()
    assert moved.numpy() == pytest.approx(float(expected), rel=1e-4)


def test_a_procedure_states_facts_too(slopes):
    steps = ran(slopes("fact"))
    for step in steps:
        assert torch.equal(step.outcome.sent.facts[:, 0], step.outcome.sent.num_examples.double())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("up", "Slopes: up must lay out different tensors end to end"),
        ("memory", "Slopes: memory must return a Layout, got list"),
        ("down", r"Slopes: the first group of down must be 'params', of \d+ numbers"),
        ("start", r"Slopes: start must return a memory \[3\], got float32 \[2\]"),
        ("extra", r"Slopes: extra must return 1 vectors of 1 numbers, torch.float32; got \[2\]"),
        ("pair", r"work must return a Worked whose memory is as a tensor float32 \[3\], got None"),
        ("short", r"work must return a message as a tensor float32 \[2\], got Tensor float32 \[1\]"),
        ("fact amiss", r"Slopes: work must return 1 facts \(examples\), got none"),
    ],
)
def test_layouts_and_messages_amiss_are_one_line_that_names_the_procedure(slopes, how, words):
    with pytest.raises(PluginError, match=words) as caught:
        ran(slopes(how))
    assert "\n" not in str(caught.value)


def test_a_memory_is_charged_without_amplification_or_not_at_all(slopes):
    """Under central noise as any rule that remembers; under dp_sgd a procedure is refused."""
    noise = {"clip_norm": 1.0, "noise_multiplier": 2.0, "delta": 1e-4}
    private = {"privacy": PluginSpec("gaussian", noise), "defense": FIXED}
    poisson = PluginSpec("poisson", {"sample_rate": 0.5})
    steps = ran(slopes(rounds=3, sampler=poisson, **private))
    assert not steps[-1].outcome.release.amplified
    counted = [i for step in steps for i in step.outcome.began.tolist()]
    busiest = max(map(counted.count, counted))
    assert steps[-1].outcome.epsilon.value == pytest.approx(gaussian_epsilon(busiest / 4, 1e-4))
    assert ran(slopes("fact", **private))[-1].outcome.release == NoGuarantee("extra_release")
    with pytest.raises(
        ScenarioError, match="goes with privacy none or gaussian or local_gaussian, got 'dp_sgd'"
    ):
        prepare(slopes(privacy=PluginSpec("dp_sgd", noise)))


def test_a_message_of_another_length_waits_in_the_mailbox_as_any(slopes):
    """Buffered runs of a procedure that says its server half takes stale messages go on to the same bits."""
    links = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 1.0})
    schedule = PluginSpec("buffered", {"buffer_size": 3, "concurrency": 5})
    with pytest.raises(ScenarioError, match="counts on messages that began in the same round"):
        prepare(slopes(schedule=schedule, network=links))
    stale = PluginSpec(f"{__file__}:Stale", {"how": "fact"})
    simulation = prepare(slopes(rounds=6, schedule=schedule, network=links, algorithm=stale))
    steps = list(simulation.steps(simulation.serial_pool()))
    waiting = next(s.state for s in steps if s.state.mailbox)
    again = list(simulation.steps(simulation.serial_pool(), waiting))[-1].state
    assert torch.equal(again.params, steps[-1].state.params)
    assert trees.equal(dict(again.clients), dict(steps[-1].state.clients))


@dataclass(frozen=True)
class Stale(Slopes):
    """The same, whose server half takes stale messages."""

    stale: ClassVar[bool] = True
