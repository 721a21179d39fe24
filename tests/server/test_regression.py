"""Whole runs on real-valued targets: scores by hand, what is refused, noise on records."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.data.base import Dataset, Targets
from gauntlet.clients.data.federate import federate
from gauntlet.clients.data.iid import Iid
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.pools.serial import SerialPool
from gauntlet.clients.scoring.scorer import Scorer
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import ScenarioError
from gauntlet.server.assembly.ingredients import make_data
from gauntlet.server.scoring.evaluation import Evaluator, OutputScore
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec

SPEC = RunSpec(
    seed=0,
    rounds=2,
    num_clients=6,
    data=PluginSpec("mobility", {"clients": "region"}),
    partition=PluginSpec("natural"),
    model=PluginSpec("linear", {"zero_init": True}),
    training=LocalTraining(local_steps=2, batch_size=500, lr=1e-3, optimizer="adam", loss="mae"),
)
NOISE = PluginSpec("input_gaussian", {"delta": 1e-7, "epsilon": 0.065})


@pytest.fixture(autouse=True)
def mobility(real_data):
    real_data("mobility")


class Line:
    """Two groups of two examples with the targets x and 10 - x, none of them below 0."""

    def load(self):
        x = np.array([[0], [2], [4], [6]], dtype=np.float32)
        y = np.concatenate([x, 10 - x], axis=1)
        targets = Targets(("x", "rest"), 0.0, ("left", "right"), np.array([0, 0, 1, 1]))
        return Dataset("line", x, y, x, y, 0, value_range=(0, 9), targets=targets)


class Guess(nn.Module):
    """Answers (3, guess), whatever it is asked."""

    def __init__(self):
        super().__init__()
        self.guess = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return torch.stack([torch.full((len(x),), 3.0), self.guess.expand(len(x))], dim=1)


def test_errors_are_counted_by_hand_for_every_group_and_output():
    """To x = 0, 2 | 4, 6 the answer 3; to 10, 8 | 6, 4 the answer -1, which counts as 0."""
    data = federate(Line(), Iid(), 1, seed=0)
    evaluator = Evaluator(data, loss="mae")
    pool = SerialPool(None, scorer=Scorer(Guess(), evaluator.examples))
    score = evaluator.score(pool.score(Broadcast(0, torch.tensor([-1.0]), torch.zeros(0))))

    assert score.accuracy is None
    assert score.outputs == (
        OutputScore("left: x", 2, pytest.approx(5**0.5), 2.0),
        OutputScore("left: rest", 2, pytest.approx(82**0.5), 9.0),
        OutputScore("right: x", 2, pytest.approx(5**0.5), 2.0),
        OutputScore("right: rest", 2, pytest.approx(26**0.5), 5.0),
    )
    assert score.mae == 4.5
    assert score.rmse == pytest.approx((2 * 5**0.5 + 82**0.5 + 26**0.5) / 4)
    assert score.loss == (3 + 1 + 1 + 3 + 11 + 9 + 7 + 5) / 8  # what training minimises: nothing is cut


def test_six_regions_learn_together_and_are_scored_one_by_one():
    simulation = prepare(SPEC)
    steps = list(simulation.steps(simulation.serial_pool()))
    scores = [step.score for step in steps]

    assert [len(score.outputs) for score in scores] == [6, 6]
    assert scores[1].outputs[0].output == "Commune Montreuil: users"
    assert scores[1].mae < scores[0].mae
    assert steps[-1].outcome.sent.num_examples.tolist() == [3114] * 6


def test_noise_on_records_is_drawn_from_the_runs_seed_and_spares_the_test_set():
    plain, noised, again, other = (
        make_data(replace(SPEC, privacy=privacy, seed=seed))
        for privacy, seed in ((PluginSpec("none"), 0), (NOISE, 0), (NOISE, 0), (NOISE, 1))
    )
    noise = (noised.client(0)[1] - plain.client(0)[1]).double()

    assert noise.std().item() == pytest.approx(88, rel=0.06)
    assert torch.equal(noised.client(3)[0], again.client(3)[0])
    assert not torch.equal(noised.client(3)[0], other.client(3)[0])
    assert torch.equal(noised.test()[0], plain.test()[0])
    assert torch.equal(noised.client(0)[0][1:, -1, 0], noised.client(0)[1][:-1, 0])  # the same cell


def test_a_run_on_noised_records_costs_one_release():
    simulation = prepare(replace(SPEC, privacy=NOISE, rounds=3))
    spent = [step.outcome.epsilon.value for step in simulation.steps(simulation.serial_pool())]

    assert spent == [pytest.approx(0.0450, abs=1e-4)] * 3


def test_robust_rules_and_attacks_on_updates_go_with_regressions():
    role = RoleSpec(PluginSpec("sign_flip"), clients=(0,))
    simulation = prepare(replace(SPEC, roles=(role,), defense=PluginSpec("median"), rounds=1))
    (step,) = simulation.steps(simulation.serial_pool())

    assert step.score.rmse > 0


def test_poor_data_go_with_regressions():
    """Fewer examples and noise on the rest leave targets alone; a blur wants pictures."""
    poor = RoleSpec(PluginSpec("unreliable", {"kernel_size": 1, "max_noise_std": 0.5}), clients=(0,))
    simulation = prepare(replace(SPEC, roles=(poor,), rounds=1))
    (step,) = simulation.steps(simulation.serial_pool())
    plain = prepare(replace(SPEC, rounds=1))
    (other,) = plain.steps(plain.serial_pool())

    assert step.score.rmse > 0
    assert step.score.rmse != other.score.rmse


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"roles": (RoleSpec(PluginSpec("label_flip", {"source": 1, "target": 2}), clients=(0,)),)},
            "attack 'label_flip' works on labels, and mobility has real-valued targets; attacks on updates",
        ),
        ({"partition": PluginSpec("dirichlet")}, "partition Dirichlet deals by labels; use iid, quantity or"),
        ({"training": LocalTraining(loss="cross_entropy")}, "'cross_entropy' does not go with real-valued"),
        (
            {"model": PluginSpec("cnn_mcmahan")},
            r"does not fit mobility: inputs \[6, 5\], 1 outputs: needs pic",
        ),
        (
            {"data": PluginSpec("digits"), "partition": PluginSpec("iid"), "privacy": NOISE},
            "noises the records that training examples are cut from, and Digits has none; it goes with",
        ),
    ],
    ids=["attack", "partition", "loss", "model", "records"],
)
def test_what_does_not_go_together_is_refused_in_one_line(change, message):
    with pytest.raises(ScenarioError, match=message) as refused:
        prepare(replace(SPEC, **change))
    assert "\n" not in str(refused.value)


def test_data_made_elsewhere_cannot_be_noised_afterwards():
    spec = replace(SPEC, privacy=NOISE)

    with pytest.raises(ScenarioError, match="data made elsewhere cannot be given to it"):
        prepare(spec, make_data(SPEC))
