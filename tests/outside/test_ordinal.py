"""Ordinal regression by hand, and what of the engine goes with it."""

from math import log

import pytest
import torch
from outsiders import FOLDER, scenario

from gauntlet.clients.tasks.fitted import fitted
from gauntlet.core.contracts import DataFacts
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

NAME = f"{FOLDER}/ordinal.py:Ordinal"
FOUR = DataFacts("stars", (2,), (), 4)


def test_the_loss_is_the_sum_over_thresholds():
    """By hand: logits (ln 3, 0, -ln 3) of class 2, above the first two: -ln 3/4 - ln 1/2 - ln 3/4."""
    task = fitted(NAME, {}, FOUR)
    (loss,) = task.task.loss("thresholds", torch.tensor([[log(3), 0.0, -log(3)]]), torch.tensor([2]))

    assert float(loss) == pytest.approx(-2 * log(3 / 4) - log(1 / 2))
    assert task.outputs == (3,)


def test_an_answer_is_the_number_of_thresholds_below():
    task, surer = fitted(NAME, {}, FOUR), fitted(NAME, {"sure": 0.9}, FOUR)
    outputs = torch.tensor([[1.0, 1.0, -1.0], [3.0, -1.0, -2.0], [-1.0, -1.0, -1.0]])

    assert task.task.answer(outputs).tolist() == [2, 1, 0]
    assert surer.task.answer(outputs).tolist() == [0, 1, 0]


def test_it_measures_how_many_ranks_answers_are_off():
    """By hand: off by 0, 1 and 3."""
    found = fitted(NAME, {}, FOUR).measure(torch.tensor([2, 1, 0]), torch.tensor([2, 2, 3]), 1.0)

    assert found.accuracy == pytest.approx(1 / 3)
    assert found.metrics == {"ranks_off": pytest.approx(4 / 3)}


def test_data_without_classes_and_an_option_out_of_range_are_refused():
    with pytest.raises(ScenarioError, match="one of at least 2 classes, and text has labels of shape"):
        fitted(NAME, {}, DataFacts("text", (3,), (3,), 4, 4))
    with pytest.raises(PluginError, match=r"sure must be between 0 and 1, got 1\.0"):
        fitted(NAME, {"sure": 1.0}, FOUR)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "attacks": [{"name": "label_flip", "count": 1}],
            "defense": {"name": "trimmed_mean", "num_byzantine": 1},
        },
        {"codec": {"name": "topk", "density": 0.2}, "algorithm": "moon"},
        {"privacy": {"name": "gaussian", "clip_norm": 1.0, "noise_multiplier": 0.1, "delta": 1e-3}},
        {"algorithm": "ditto", "held_out": 0.2},
    ],
    ids=["label flip", "topk and moon", "gaussian", "ditto"],
)
def test_stacks_agree_with_clients_alone_whatever_stands_beside_it(changes):
    def last(vectorize):
        values = {**scenario("ordinal.py:Ordinal"), "network": "ideal", **changes, "vectorize": vectorize}
        simulation = prepare(make_scenario({**values, "rounds": 2}).run_spec())
        *_, step = simulation.steps(simulation.serial_pool())
        return step

    together, alone = last("on"), last("off")
    assert torch.allclose(together.state.params, alone.state.params, atol=1e-5)
    assert together.score.metrics["ranks_off"] < 4.5
    assert [goal.attack for goal in together.score.goals] == (["label_flip"] if "attacks" in changes else [])


def test_an_algorithm_that_asks_for_probabilities_is_refused():
    values = {**scenario("ordinal.py:Ordinal"), "algorithm": "dsgld"}
    values.pop("sampler")
    with pytest.raises(ScenarioError, match=r"'dsgld' keeps samples, .* has outputs \[9\] for labels"):
        prepare(make_scenario(values).run_spec())


def test_a_certificate_of_logits_is_refused():
    changes = {
        "defense": {"name": "parameter_certificate", "num_byzantine": 1, "clip_norm": 1.0},
        "model": "logistic_regression",
    }
    with pytest.raises(PluginError, match="needs a model of one dense layer with a bias and a logit a class"):
        prepare(make_scenario(scenario("ordinal.py:Ordinal", **changes)).run_spec())


def test_an_attack_that_needs_another_loss_is_refused():
    values = scenario("ordinal.py:Ordinal", probes=[{"name": "dlg"}])
    values["training"] = {"local_steps": 1, "batch_size": 2, "lr": 0.1}
    from gauntlet.sims.run import check_probes

    built = make_scenario(values)
    with pytest.raises(PluginError, match="DLG works with loss = cross_entropy only, got loss = thresholds"):
        check_probes(built, prepare(built.run_spec()))
