"""Whole runs of algorithms that send, receive and remember more than parameters."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from quadratics import T1, by_functions, by_the_engine, t2, training
from safetensors.torch import load_file
from whole_runs import fields, states

from gauntlet.clients.algorithms.feddyn import FedDyn
from gauntlet.clients.algorithms.scaffold import Scaffold
from gauntlet.core.errors import CheckpointError, PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.trees import equal
from gauntlet.server.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

SCAFFOLD = PluginSpec("scaffold")


@pytest.mark.parametrize("vectorize", ["on", "off"])
@pytest.mark.parametrize("option", ["I", "II"])
def test_the_engine_follows_scaffolds_own_functions_on_two_clients(option, vectorize):
    spec = by_the_engine(PluginSpec("scaffold", {"option": option}), training(10), 20, vectorize=vectorize)
    trace, _, _ = by_functions(Scaffold(option), *T1, training(10), [np.arange(2)] * 20, 0.0)

    assert [float(s.params) for s in states(spec)] == pytest.approx(trace, abs=1e-5)


def test_the_engine_follows_scaffolds_own_functions_where_a_tenth_takes_part():
    """T2, with its own cohorts: |x - x*| after 10, 50 and 200 rounds is 0.348, 0.0174 and 1.5e-7."""
    a, b, cohorts = t2()
    trace, _, _ = by_functions(Scaffold(), a, b, training(10), cohorts[:60], 3.0)
    found = states(by_the_engine(SCAFFOLD, training(10), 60, "t2"))

    assert [float(s.params) for s in found] == pytest.approx(trace, abs=1e-5)
    assert abs(float(found[9].params) - (a * b).sum() / a.sum()) == pytest.approx(0.348, rel=1e-2)
    mean = torch.stack(list(found[-1].clients.values())).double().sum() / 100
    assert float(found[-1].optimizer["control"]) == pytest.approx(float(mean), abs=1e-5)
    assert set(found[-1].clients) == set(np.concatenate(cohorts[:60]))


@pytest.fixture
def rowed(small):
    """A run of scaffold on digits in which some clients take part and some messages are lost."""
    return small(
        rounds=4,
        num_clients=8,
        algorithm=SCAFFOLD,
        defense=PluginSpec("mean", {"weighting": "uniform"}),
        sampler=PluginSpec("poisson", {"sample_rate": 0.7}),
        network=PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.3}),
    )


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["socket", "ray"])
def test_serial_and_ray_give_the_same_bits_of_parameters_and_memory(rowed, ray_here, transport):
    serial = states(rowed)[-1]
    on_ray = states(rowed, lambda simulation: simulation.ray_pool(2, transport=transport))[-1]

    assert len(serial.clients) > 3
    assert equal(fields(on_ray), fields(serial))


def test_only_counted_messages_are_remembered(rowed):
    """By the mailbox: who came in time. Lost messages leave a client's memory as it was."""
    simulation = prepare(rowed)
    before, lost = simulation.first, 0
    for step in simulation.steps(simulation.serial_pool()):
        came = set(step.outcome.received.client_ids.tolist())
        for client in step.outcome.sent.client_ids.tolist():
            lost += client not in came
            old, new = before.clients.get(client), step.state.clients.get(client)
            assert (new is old) == (client not in came)
            assert (step.state.counted.get(client) == step.outcome.round) == (client in came)
        before = step.state
    assert lost > 0


def test_a_message_that_is_not_finite_is_not_counted(small):
    """The attacker's own training is honest: what it would remember is finite, and is dropped."""
    roles = (RoleSpec(PluginSpec("non_finite"), clients=(1,)),)
    defense = PluginSpec("mean", {"weighting": "uniform"})
    state = states(small(algorithm=SCAFFOLD, defense=defense, roles=roles))[-1]

    assert set(state.clients) == {0, 2, 3, 4, 5, 6, 7}


def test_a_message_is_counted_in_bytes_as_it_is_declared(small):
    """Two float32 of each of P parameters, up and down, and no more than names and checks besides."""
    defense = PluginSpec("mean", {"weighting": "uniform"})
    plain, both = (
        states(small(rounds=1, defense=defense, algorithm=PluginSpec(name)))[-1]
        for name in ("fedavg", "scaffold")
    )
    extra = 8 * 4 * len(plain.params)

    assert 0 <= both.bytes_up - plain.bytes_up - extra < 8 * 100
    assert both.bytes_down - plain.bytes_down == extra


def test_the_engine_follows_feddyns_own_functions_and_scores_the_mean_model():
    """T1 at alpha 1 and 200 steps; the loss of the mean model on both clients, by hand."""
    rule, spec = FedDyn(1.0), by_the_engine(PluginSpec("feddyn", {"alpha": 1.0}), training(200), 12)
    trace, _, _ = by_functions(rule, *T1, training(200), [np.arange(2)] * 12, 0.0)
    simulation = prepare(spec)
    steps = list(simulation.steps(simulation.serial_pool()))

    assert [float(s.state.params) for s in steps] == pytest.approx(trace, abs=1e-5)
    (a, b), mean = T1, float(steps[1].state.optimizer["mean"])
    expected = np.sqrt((a / 2 * (mean - b) ** 2).mean())
    assert expected != pytest.approx(np.sqrt((a / 2 * (trace[1] - b) ** 2).mean()), rel=1e-3)
    assert steps[1].score.outputs[0].rmse == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("name", ["scaffold", "feddyn"])
def test_a_run_resumed_from_any_checkpoint_gives_the_same_bits(rowed, tmp_path, name, every):
    """With the files of rows that a checkpoint names; a file that is gone or damaged is refused by name."""
    spec = replace(rowed, rounds=6, algorithm=PluginSpec(name))
    whole, folder = states(spec), tmp_path / "checkpoints"
    for state in whole[:-1:every]:
        save_checkpoint(folder, state, "run")
        found = load_checkpoint(folder, "run")
        assert equal(fields(found), fields(state))
        assert equal(fields(states(spec, state=found)[-1]), fields(whole[-1]))
    listed = sorted(folder.glob("clients-*.safetensors"))
    assert len(listed) > 0
    listed[-1].write_bytes(listed[-1].read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointError, match=rf"{listed[-1].name} is damaged"):
        read_checkpoint(sorted(folder.glob("round-*"))[-1], "run")


def test_a_checkpoint_writes_the_rows_that_changed(small, tmp_path):
    """100 clients of which two come a round: from the second round on each file holds two rows."""
    spec = small(
        num_clients=100,
        rounds=6,
        algorithm=SCAFFOLD,
        model=PluginSpec("logistic_regression"),
        sampler=PluginSpec("fixed_size", {"cohort_size": 2}),
        defense=PluginSpec("mean", {"weighting": "uniform"}),
    )
    sizes = []
    for state in states(spec):
        save_checkpoint(tmp_path, state, "run")
        sizes.append(len(load_file(tmp_path / f"clients-{state.round:06d}.safetensors")["ids"]))
    assert sizes == [2] * 6


@pytest.mark.slow
def test_the_engine_follows_feddyns_own_functions_where_a_tenth_takes_part():
    """T2 at alpha 3 and 200 steps, with its own cohorts."""
    a, b, cohorts = t2()
    rule = FedDyn(3.0)
    trace, server, clients = by_functions(rule, a, b, training(200), cohorts[:15], 3.0)
    found = states(by_the_engine(PluginSpec("feddyn", {"alpha": 3.0}), training(200), 15, "t2"))

    assert [float(s.params) for s in found] == pytest.approx(trace, abs=1e-5)
    assert float(found[-1].optimizer["mean"]) == pytest.approx(float(server["mean"]), abs=1e-5)
    assert {i: float(row) for i, row in found[-1].clients.items()} == pytest.approx(
        {i: float(row) for i, row in clients.items()}, abs=1e-5
    )


class Amiss:
    """Sends, starts or serves something else than it declares."""

    def __init__(self, how: str = "") -> None:
        self.how = how

    def schedule(self, training):
        return training

    def up(self, layout):
        return Layout(layout.parameters[:1]) if self.how == "up" else layout.repeated("update", "copy")

    def memory(self, layout):
        return layout.repeated("copy")

    def start(self, params):
        return {"copy": params[:1] if self.how == "start" else params}

    def correct(self, gradient, params, received, shared, own):
        return gradient[..., 1:] if self.how == "direction" else gradient

    def finish(self, update, received, shared, own, work):
        sent = {"update": update, "copy": update[:, 1:] if self.how == "message" else update}
        return sent, {"other" if self.how == "memory" else "copy": update}

    def init(self):
        return None

    def step(self, params, aggregate, state, share):
        return aggregate if self.how == "step" else params + aggregate[: len(params)], None


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("up", r"algorithm Amiss: up of a local rule must be layout.repeated\(group, ...\), got 512 numbers"),
        ("start", r"algorithm Amiss: start must return memory 'copy' as float32 \[610\], got float32 \[1\]"),
        ("message", r"finish must return up 'copy' as float32 \[\d, 610\], got float32 \[\d, 609\]"),
        (
            "direction",
            r"correct must return a tensor float32 \[\d, 8, 64\], got Tensor float32 \[\d, 8, 63\]",
        ),
        ("memory", r"finish must return the groups of memory \(copy\), got other"),
        ("step", r"must return parameters as a tensor float32 \[610\], got Tensor float32 \[1220\]"),
    ],
)
def test_another_message_than_declared_is_one_line_that_names_the_plug_in(small, how, line):
    spec = small(rounds=1, algorithm=PluginSpec(f"{__file__}:Amiss", {"how": how}))
    with pytest.raises(PluginError, match=line) as caught:
        states(spec)
    assert "\n" not in str(caught.value)
    assert "Amiss" in str(caught.value)


def test_an_outsider_that_keeps_to_what_it_declares_runs(small):
    state = states(small(rounds=1, algorithm=PluginSpec(f"{__file__}:Amiss")))[-1]
    assert len(state.clients) == 8
