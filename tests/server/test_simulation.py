"""A whole run: the same bits for any pool, any number of workers, and after a stop."""

import shutil
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pytest
import torch
from whole_runs import fields, last

from gauntlet.clients.pools.base import blocks
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.declarations import name_of
from gauntlet.core.errors import CheckpointError, PluginError, ScenarioError, WorkerError
from gauntlet.core.trees import equal
from gauntlet.server.assembly.ingredients import make_data
from gauntlet.server.assembly.training import make_kernel
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec


def test_serial_and_ray_with_one_and_two_workers_give_the_same_bits(busy, ray_here):
    simulation = prepare(busy)
    serial = last(simulation, simulation.serial_pool())

    for workers, transport in ((1, "socket"), (2, "socket"), (2, "ray")):
        on_ray = last(simulation, simulation.ray_pool(workers, transport=transport))
        assert equal(fields(on_ray.state), fields(serial.state))
        assert on_ray.score == serial.score


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("transport", ["socket", "ray"])
def test_sums_made_on_workers_are_the_same_bits_over_both_transports(small, ray_here, workers, transport):
    """100 clients in four blocks: sums come home block by block and are added in the blocks' order."""
    summed = small(num_clients=100, rows=False, model=PluginSpec("mlp", {"hidden": [8]}), vectorize="on")
    simulation = prepare(summed)
    serial = last(simulation, simulation.serial_pool())
    on_ray = last(simulation, simulation.ray_pool(workers, transport=transport))

    assert not simulation.plan.rows
    assert equal(fields(on_ray.state), fields(serial.state))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of torch's own compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler on this machine")
def test_compiled_stacks_give_the_same_bits_in_any_process(small, ray_here):
    """Every process compiles for itself. Traced steps give other bits, so that compiled ones really ran."""
    model = PluginSpec("mlp", {"hidden": [8]})
    compiled = prepare(small(rounds=2, num_clients=4, model=model, compile="on", vectorize="on"))
    traced = prepare(replace(compiled.spec, compile="off"))
    serial = last(compiled, compiled.serial_pool())

    assert equal(fields(last(compiled, compiled.ray_pool(2)).state), fields(serial.state))
    assert not torch.equal(last(traced, traced.serial_pool()).state.params, serial.state.params)


def test_another_seed_gives_other_bits(busy):
    a, b = (prepare(replace(busy, seed=s)) for s in (1, 2))

    assert not torch.equal(a.first.params, b.first.params)
    assert not torch.equal(last(a, a.serial_pool()).state.params, last(b, b.serial_pool()).state.params)


def test_blocks_depend_on_the_cohort_alone_and_cover_it_in_order():
    for size in (0, 1, 5, 100, 1000):
        for height in (1, 6, 32, 64):
            cut = blocks(np.arange(size), height)
            assert np.array_equal(np.concatenate([np.zeros(0, int), *cut]), np.arange(size))
            sizes = {len(b) for b in cut}
            assert max(sizes, default=0) <= max(32, height)
            assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert [len(blocks(np.arange(100), height)) for height in (1, 6, 32, 64)] == [16, 4, 4, 2]


def test_a_run_resumed_from_any_checkpoint_gives_the_same_bits(busy, tmp_path):
    simulation = prepare(busy)
    whole = last(simulation, simulation.serial_pool())
    for step in simulation.steps(simulation.serial_pool()):
        folder = tmp_path / str(step.state.round)
        save_checkpoint(folder, step.state, "run")
        state = load_checkpoint(folder, "run")
        assert equal(fields(state), fields(step.state))
        if state.round < busy.rounds:
            again = prepare(busy)
            assert equal(fields(last(again, again.serial_pool(), state).state), fields(whole.state))


def test_evaluation_happens_when_due_and_after_the_last_round(small):
    simulation = prepare(small(rounds=5, evaluate_every=2))
    scores = [step.score is not None for step in simulation.steps(simulation.serial_pool())]

    assert scores == [False, True, False, True, True]


def test_training_on_digits_learns(small):
    """Far above chance (0.1); measured 0.94 to 0.96 over seeds 0 to 4."""
    how = LocalTraining(local_epochs=4, batch_size=16, lr=0.2, momentum=0.5)
    model = PluginSpec("mlp", {"hidden": [32]})
    simulation = prepare(small(rounds=10, evaluate_every=10, training=how, model=model))
    step = last(simulation, simulation.serial_pool())

    assert step.score.accuracy > 0.9


# ---- checkpoints ----------------------------------------------------------------------------------------


@pytest.fixture
def saved(small, tmp_path):
    state = prepare(small()).first
    return save_checkpoint(tmp_path, state, "run")


def test_no_checkpoint_is_no_error(tmp_path):
    assert load_checkpoint(tmp_path, "run") is None


def test_another_runs_checkpoint_is_refused(saved):
    with pytest.raises(CheckpointError, match=r"belongs to another run \(run, expected other\)"):
        load_checkpoint(saved.parent, "other")


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_cut_off_checkpoint_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])

    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(saved.parent, "run")


def test_a_checkpoint_with_one_turned_bit_is_refused(saved):
    content = bytearray(saved.read_bytes())
    content[-5] ^= 1
    saved.write_bytes(content)

    with pytest.raises(CheckpointError, match="checksum does not fit"):
        load_checkpoint(saved.parent, "run")


def test_a_half_written_checkpoint_is_not_taken_for_one(saved, small):
    (saved.parent / "round-000009.part").write_bytes(b"half")

    assert load_checkpoint(saved.parent, "run").round == 0


def test_only_the_newest_two_are_kept(small, tmp_path):
    state = prepare(small()).first
    for t in range(4):
        save_checkpoint(tmp_path, replace(state, round=t), "run")

    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "round-000002.safetensors",
        "round-000003.safetensors",
    ]


def test_a_state_that_is_no_tree_is_named(small, tmp_path):
    with pytest.raises(CheckpointError, match=r"state at defense is a object"):
        save_checkpoint(tmp_path, replace(prepare(small()).first, defense=object()), "run")
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True)
class Keeps:
    """Moves nothing, and hands back what it remembered."""

    def init(self):
        return None

    def step(self, params, aggregate, state):
        return params.clone(), state


@pytest.mark.parametrize("field", ["codec", "privacy", "defense", "schedule", "server"])
def test_a_memory_that_cannot_be_saved_is_named_after_one_round(small, field):
    """Not many rounds later, at a checkpoint, and without the plug-in's name. Each hands its own back."""
    simulation = prepare(small())
    odd = replace(simulation.first, **{field: ({"kept": {1}}, None)})
    name = name_of(getattr(simulation.plan, field))
    words = rf"^what {name} remembers cannot be saved: state at {name}\.0\.0 is a set; allowed: "
    with pytest.raises(PluginError, match=words):
        next(simulation.steps(simulation.serial_pool(), odd))


@pytest.mark.parametrize(
    "changes",
    [
        {"roles": (RoleSpec(PluginSpec("sign_flip"), (0,)),)},
        {"pre_aggregations": (PluginSpec("clipping", {"clip_norm": 1.0}),)},
        {"server_optimizer": PluginSpec(f"{__file__}:Keeps")},
    ],
    ids=["attacks", "pre_aggregations", "optimizer"],
)
def test_so_is_one_of_several_and_one_from_outside(small, changes):
    simulation = prepare(small(**changes))
    field = {"roles": "attacks", "server_optimizer": "optimizer"}.get(next(iter(changes)), "pre_aggregations")
    odd = replace(simulation.first, **{field: ({"0": np.ones(1)},)})
    with pytest.raises(PluginError, match=r"^what (SignFlip|Clipping|Keeps) remembers .* is a ndarray;"):
        next(simulation.steps(simulation.serial_pool(), odd))


# ---- what is refused before anything runs ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampler": PluginSpec("fixed_size", {"cohort_size": 9})}, "9 .*8"),
        ({"model": PluginSpec("mcnn")}, "mcnn"),
        ({"roles": (RoleSpec(PluginSpec("sign_flip"), clients=(8,)),)}, "client 8 does not exist"),
        ({"roles": (RoleSpec(PluginSpec("sign_flip"), count=9),)}, "needs 9 honest clients, 8 are left"),
        (
            {"roles": (RoleSpec(PluginSpec("sign_flip"), (1,)), RoleSpec(PluginSpec("label_flip"), (1,)))},
            "client 1 already has another role",
        ),
    ],
)
def test_what_cannot_run_is_refused_before_it_runs(small, changes, words):
    with pytest.raises(ScenarioError, match=words):
        prepare(small(**changes))


def test_privacy_refuses_a_model_with_batch_statistics(small):
    from gauntlet.core.layout import Layout, Slot
    from gauntlet.server.assembly.fitted import Fitted
    from gauntlet.server.assembly.loading import make_model
    from gauntlet.server.assembly.parts import Parts
    from gauntlet.server.assembly.refusals import OF_FIT, refuse

    spec = small(privacy=PluginSpec("gaussian", {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5}))
    layout = Layout((Slot("w", (2,), 0),), (Slot("running_mean", (2,), 0),))

    data = make_data(spec)
    fitted = Fitted(Parts(spec), data, make_model(spec, data), layout, Parts(spec).mechanism)
    with pytest.raises(ScenarioError, match="batch statistics"):
        refuse(OF_FIT, fitted)


def test_the_kernel_of_a_worker_is_built_from_the_spec_alone(busy):
    simulation = prepare(busy)
    again = make_kernel(busy, simulation.data)

    assert all(
        torch.equal(a, b)
        for a, b in zip(simulation.kernel.model.parameters(), again.model.parameters(), strict=True)
    )


class Distant:
    """Is lost in one round, and counts the models that it scores."""

    def __init__(self, pool, lost):
        self.pool, self.lost, self.before, self.scored = pool, lost, [], []

    def train(self, broadcast, cohort, expected_size):
        self.before.append(broadcast.round)
        if broadcast.round == self.lost:
            raise WorkerError("the cluster is gone")
        return self.pool.train(broadcast, cohort, expected_size)

    def score(self, broadcast):
        self.scored.append(broadcast.round)
        return self.pool.score(broadcast)


def test_a_round_that_fails_does_not_take_the_finished_one_with_it(small):
    """It is scored, and handed out, before the next one begins."""
    simulation = prepare(small())
    pool = Distant(simulation.serial_pool(), lost=2)
    steps = simulation.steps(pool)
    seen = [(step.outcome.round, list(pool.before), step.score is not None) for step in islice(steps, 2)]
    with pytest.raises(WorkerError, match="the cluster is gone"):
        next(steps)

    assert seen == [(0, [0], True), (1, [0, 1], True)]


def test_a_model_is_scored_once_though_rounds_leave_it_as_it_was(small):
    """A learning rate of nothing: every update is 0, so that three rounds share one score."""
    simulation = prepare(small(training=LocalTraining(local_epochs=1, batch_size=16, lr=1e-30)))
    pool = Distant(simulation.serial_pool(), lost=None)
    steps = list(simulation.steps(pool))
    moving = Distant(prepare(small()).serial_pool(), lost=None)
    list(prepare(small()).steps(moving))

    assert [step.score is None for step in steps] == [False, False, False]
    assert (pool.scored, moving.scored) == ([1], [1, 2, 3])
    assert all(step.score == steps[0].score for step in steps)


def test_every_round_is_handed_out_once_wherever_clients_train(small):
    simulation = prepare(small())
    here, there = (
        list(simulation.steps(pool))
        for pool in (simulation.serial_pool(), Distant(simulation.serial_pool(), lost=None))
    )

    assert [step.outcome.round for step in there] == [0, 1, 2]
    assert [step.score.accuracy for step in there] == [step.score.accuracy for step in here]
    assert all(torch.equal(a.state.params, b.state.params) for a, b in zip(here, there, strict=True))
