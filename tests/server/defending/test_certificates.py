"""What a defense certifies of the models of a whole run."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from gauntlet.core.contracts import UpdateKnowledge
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.defenses.mean import Mean
from gauntlet.server.optimizers.sgd import SGD
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

CERTIFICATE = PluginSpec("parameter_certificate", {"clip_norm": 0.1, "num_byzantine": 2})
LINEAR = {"model": PluginSpec("logistic_regression"), "defense": CERTIFICATE}


def played(spec, pool=None):
    simulation = prepare(spec)
    return [step.certificates for step in simulation.steps(pool or simulation.serial_pool())]


def test_a_round_in_which_liars_push_as_hard_as_they_can_takes_no_certified_prediction(small):
    """Two of eight push towards class 3, the rest send nothing: the model moves by the reach."""
    roles = (
        RoleSpec(PluginSpec(f"{__file__}:Pushing"), (0, 1)),
        RoleSpec(PluginSpec("zero"), tuple(range(2, 8))),
    )
    simulation = prepare(small(**LINEAR, roles=roles, server_optimizer=PluginSpec("sgd", {"lr": 3.0})))
    pool, state, taken = simulation.serial_pool(), simulation.first, 0
    for _ in range(3):
        columns = simulation.certifier._columns(state, state.params, simulation.certifier.x)
        run = simulation.certifier.models.forward(state.buffers)
        before = run(state.params[None], simulation.certifier.x)[0].argmax(dim=1)
        after_round, _ = run_round(simulation.plan, state, pool)
        after = run(after_round.params[None], simulation.certifier.x)[0].argmax(dim=1)
        moved = float((after_round.params - state.params).norm())
        assert 0.99 * columns["reach"] < moved <= columns["reach"] == pytest.approx(3 * 2 * 0.1 / 8, rel=2e-5)
        assert not bool(((before != after) & columns["certified"]).any())
        taken += int((before != after).sum())
        state = after_round
    assert taken


@dataclass(frozen=True)
class Pushing:
    """Sends class 3 up and the others down, everywhere alike, as long as float32 goes."""

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def init(self) -> None:
        return None

    def corrupt(self, own: Any, view: Any, state: None) -> Any:
        push = torch.full((10, 65), -1.0)
        push[3] = 9.0
        lie = torch.cat([push[:, :-1].flatten(), push[:, -1]])
        return own.with_vectors(1e20 * lie[None]), state


def test_the_table_has_shares_of_all_and_of_what_the_model_gets_right(small):
    """Oracle: the columns themselves, and the score of the same round."""
    simulation = prepare(small(**LINEAR))
    step = list(simulation.steps(simulation.serial_pool()))[-1]
    columns = simulation.certifier._columns(step.state, step.state.params, simulation.certifier.x)
    x, y = simulation.data.test()
    run = simulation.certifier.models.forward(step.state.buffers)
    right = run(step.state.params[None], x)[0].argmax(dim=1) == y
    radius, reach, certified = step.certificates
    assert [c.name for c in step.certificates] == ["radius", "reach", "certified"]
    assert float(right.double().mean()) == step.score.accuracy
    assert (certified.examples, certified.mean) == (
        len(y),
        pytest.approx(float(columns["certified"].double().mean())),
    )
    assert certified.right == pytest.approx(float((columns["certified"] & right).double().mean()))
    assert 0 < certified.right < min(certified.mean, step.score.accuracy)
    assert (radius.least, radius.most) == (float(columns["radius"].min()), float(columns["radius"].max()))
    assert radius.median == float(columns["radius"].median())
    assert (reach.examples, reach.right, reach.mean) == (0, None, columns["reach"])


def test_it_is_asked_in_evaluated_rounds_alone_and_a_run_that_goes_on_says_the_same(small):
    spec = small(**LINEAR, rounds=4, evaluate_every=2)
    simulation = prepare(spec)
    steps = list(simulation.steps(simulation.serial_pool()))
    rest = list(prepare(spec).steps(prepare(spec).serial_pool(), steps[1].state))
    assert [len(step.certificates) for step in steps] == [0, 3, 0, 3]
    assert [step.certificates for step in rest] == [step.certificates for step in steps[2:]]


@pytest.mark.slow
def test_ray_says_what_one_process_says(small, ray_here):
    pool = prepare(small(**LINEAR)).ray_pool(num_workers=2)
    try:
        assert played(small(**LINEAR), pool) == played(small(**LINEAR))
    finally:
        pool.close()


def test_what_the_next_aggregate_is_multiplied_by_follows_from_the_servers_step(small):
    """Oracle: two steps from the same state that differ in the aggregate alone."""
    one, none = torch.ones(3), torch.zeros(3)
    for rule in (
        SGD(0.5),
        SGD(0.5, momentum=0.9),
        SGD(0.5, momentum=0.9, nesterov=True),
        SGD(2.0, warmup_rounds=4),
    ):
        state = rule.init()
        for _ in range(5):
            moved = rule.step(none, one, state)[0] - rule.step(none, none, state)[0]
            assert rule.gain(state) == pytest.approx(float(moved[0]), rel=1e-6)
            state = rule.step(none, one, state)[1]
    adam = small(**LINEAR, rounds=1, server_optimizer=PluginSpec("adam"))
    assert [c.name for c in played(adam)[0]] == ["radius"]


@dataclass(frozen=True)
class Vague(SGD):
    """A step that says of itself what is no number."""

    def gain(self, state):
        return "some"


def test_a_multiple_that_is_no_number_is_refused_before_anybody_trains(small):
    with pytest.raises(
        PluginError, match=r"gain must return a factor, a finite number of at least 0, got str"
    ):
        prepare(small(**LINEAR, server_optimizer=PluginSpec(f"{__file__}:Vague")))


@dataclass(frozen=True)
class Says(Mean):
    """Returns what it is told to."""

    kind: str = "votes"

    def evaluate(self, params, x, model):
        return {
            "votes": {"votes": torch.arange(len(x)), "sure": x.flatten(1)[:, 0] >= 0},
            "short": {"votes": torch.zeros(len(x) + 1)},
            "list": [1.0],
            "infinite": {"votes": float("inf")},
            "word": {"votes": "many"},
            "huge": {"votes": 10**400},
            "writes": {"votes": params.add_(1)[: len(x)]} if self.kind == "writes" else {},
        }[self.kind]


def says(small, kind, **changes):
    return prepare(small(defense=PluginSpec(f"{__file__}:Says", {"kind": kind}), rounds=1, **changes))


def test_any_defense_may_certify_any_model(small):
    simulation = says(small, "votes")
    votes, sure = next(simulation.steps(simulation.serial_pool())).certificates
    assert (votes.mean, votes.least, votes.median, votes.most) == (179.5, 0.0, 179.0, 359.0)
    assert (sure.mean, sure.right) == (1.0, pytest.approx(sure.right))


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("short", r"evaluate must return a number or a tensor \[8\] under 'votes', got Tensor float32 \[9\]"),
        ("list", r"evaluate must return a table of columns by name, got list \[1.0\]"),
        ("infinite", r"a number or a tensor \[8\] under 'votes', got float inf"),
        ("huge", r"a number or a tensor \[8\] under 'votes', got int 1000"),
        ("writes", "wrote into what it was handed"),
        ("word", r"a number or a tensor \[8\] under 'votes', got str 'many'"),
    ],
)
def test_what_is_no_column_is_refused_before_anybody_trains(small, kind, line):
    with pytest.raises(PluginError, match=line):
        says(small, kind)


def test_what_makes_no_sense_is_refused_before_anybody_trains(small):
    with pytest.raises(PluginError, match="parameter_certificate needs a model of one dense layer"):
        prepare(small(defense=CERTIFICATE))
    with pytest.raises(
        ScenarioError, match=r"certifies what its own rule lets a client do, and pre-aggregation 'nnm"
    ):
        prepare(small(**LINEAR, pre_aggregations=(PluginSpec("nnm", {"num_byzantine": 1}),)))
    with pytest.raises(
        ScenarioError, match=r"defense 'parameter_certificate' sets messages beside the parameters"
    ):
        prepare(small(**LINEAR, algorithm=PluginSpec("scaffold")))


def test_the_bound_of_a_client_holds_for_privacy_too(small):
    """sensitivity = min(C of the mechanism, C of the rule) / expected size, as of the fixed mean."""
    terms = {"clip_norm": 0.05, "noise_multiplier": 1.0, "delta": 1e-3}
    found = []
    for defense in (CERTIFICATE, PluginSpec("mean", {"weighting": "fixed"})):
        simulation = prepare(
            small(**{**LINEAR, "defense": defense}, privacy=PluginSpec("gaussian", terms), rounds=1)
        )
        found.append(run_round(simulation.plan, simulation.first, simulation.serial_pool())[1].epsilon.value)
    assert found[0] == found[1] is not None


class Normed(torch.nn.Sequential):
    """One dense layer on inputs that are brought to the mean and variance of batches."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Flatten(), torch.nn.BatchNorm1d(64, affine=False), torch.nn.Linear(64, 10))


@dataclass(frozen=True)
class Shifted:
    """Sends the update that it trained, and says that inputs have a mean of 1e4."""

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def init(self) -> None:
        return None

    def corrupt(self, own: Any, view: Any, state: None) -> Any:
        return replace(own, buffers=torch.full_like(own.buffers, 1e4)), state


@pytest.mark.parametrize(
    "defense",
    [CERTIFICATE, PluginSpec("crfl", {"votes": 20, "update_clip_norm": 0.1, "num_byzantine": 2})],
    ids=lambda spec: spec.name,
)
def test_no_reach_is_told_where_batch_statistics_move_the_model_too(small, defense):
    """Two of eight move what nobody clips, and four of ten predictions with it."""
    model = PluginSpec(f"{__file__}:Normed")
    roles = (RoleSpec(PluginSpec(f"{__file__}:Shifted"), (0, 1)),)
    simulation = prepare(small(model=model, defense=defense, roles=roles))
    state, x = simulation.first, simulation.certifier.x
    assert set(simulation.certifier._columns(state, state.params, x)) == {"radius"}
    after, _ = run_round(simulation.plan, state, simulation.serial_pool())
    answers = [
        simulation.certifier.models.forward(buffers)(after.params[None], x)[0].argmax(dim=1)
        for buffers in (state.buffers, after.buffers)
    ]
    assert float((answers[0] != answers[1]).double().mean()) > 0.3
