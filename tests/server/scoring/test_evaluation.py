"""Scores counted by hand on a model whose answers are known; backdoors in whole runs on digits."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.attacks.poisoning.label_flip import LabelFlip
from gauntlet.attacks.poisoning.pixel_backdoor import PixelBackdoor
from gauntlet.clients.data.base import Dataset
from gauntlet.clients.data.federate import federate
from gauntlet.clients.data.iid import Iid
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.pools.serial import SerialPool
from gauntlet.clients.scoring.scorer import ScoredExamples, Scorer
from gauntlet.core.contracts import Goal, LocalTraining, UpdateKnowledge
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.roles import Role
from gauntlet.server.assembly.ingredients import make_data
from gauntlet.server.scoring.evaluation import ClassScore, Evaluator, GoalScore, goals_of
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec


@dataclass(frozen=True)
class Known:
    """Images of two pixels: the model of these tests answers with the number of their bright ones."""

    def load(self) -> Dataset:
        x = np.array([[0, 0], [0, 0], [0, 1], [1, 1], [0, 1], [1, 0]], dtype=np.float32).reshape(-1, 1, 1, 2)
        y = np.array([0, 1, 1, 2, 2, 2], dtype=np.int64)
        return Dataset("known", x, y, x, y, num_classes=3)


class Counting(nn.Module):
    """Logits that are largest at the number of bright pixels, plus ``shift``."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        bright = x.flatten(1).sum(dim=1, keepdim=True) + self.shift
        return -((torch.arange(3.0) - bright) ** 2)


def scored(attacks=()):
    data = federate(Known(), Iid(), 1, seed=0)
    roles = [Role(name, attack, (0,)) for name, attack in attacks]
    evaluator = Evaluator(data, goals_of(roles, data))
    pool = SerialPool(None, scorer=Scorer(Counting(), evaluator.examples))
    return evaluator.score(pool.score(Broadcast(0, torch.zeros(1), torch.zeros(0))))


def test_classes_are_counted_by_hand():
    """Answers 0, 0, 1, 2, 1, 1 to labels 0, 1, 1, 2, 2, 2."""
    score = scored()

    assert score.accuracy == 3 / 6
    assert score.classes == (ClassScore(1, 2, 1), ClassScore(2, 3, 1), ClassScore(3, 1, 1))


def test_examples_are_looked_for_once_a_model_is_asked(monkeypatch):
    """A sweep checks all of its runs before the first: what is asked of a model is no part of that."""
    asked = []
    whole = ScoredExamples.of
    monkeypatch.setattr(ScoredExamples, "of", lambda *given: asked.append(given) or whole(*given))
    evaluator = Evaluator(federate(Known(), Iid(), 1, seed=0))
    assert asked == []
    assert evaluator.examples is evaluator.examples
    assert len(asked) == 1


def test_goals_of_different_shapes_are_refused_before_a_model_is_asked():
    labels = torch.tensor([0])
    goals = [(str(size), Goal(torch.zeros(1, 1, 1, size), labels, labels)) for size in (2, 3)]
    with pytest.raises(PluginError, match="goals must have inputs of one shape, got"):
        Evaluator(federate(Known(), Iid(), 1, seed=0), goals)


def test_a_label_flip_counts_its_source_class_alone():
    """Of class 2 (answers 2, 1, 1), two are taken for 1 and one for what it is."""
    assert scored([("label_flip", LabelFlip(2, 1))]).goals == (GoalScore("label_flip", 3, 2, 1),)
    assert scored([("label_flip", LabelFlip(0, 2))]).goals == (GoalScore("label_flip", 1, 0, 1),)


def test_a_backdoor_counts_triggered_examples_of_the_other_classes():
    """Target 1, left pixel lit: of labels 0, 2, 2, 2 the answers are 1, 2, 2, 1. With the two examples of the
    target (answers 1, 2) it would be 3 of 6: those must not count."""
    attack = PixelBackdoor(target=1, pixels=((0, 0),))

    assert scored([("pixel_backdoor", attack)]).goals == (GoalScore("pixel_backdoor", 4, 2, 2),)


def test_attacks_without_a_goal_are_passed_over_and_the_rest_keep_their_order():
    @dataclass(frozen=True)
    class Silent:
        knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    attacks = [("b", LabelFlip(2, 1)), ("silent", Silent()), ("a", LabelFlip(1, 0))]
    assert [goal.attack for goal in scored(attacks).goals] == ["b", "a"]


def test_a_goal_that_the_data_cannot_meet_is_refused(small):
    with pytest.raises(ScenarioError, match="'label_flip' wants label 10; digits has labels 0 to 9"):
        prepare(small(roles=(RoleSpec(PluginSpec("label_flip", {"target": 10}), count=1),)))
    for name in ("label_flip", "edge_case"):
        with pytest.raises(ScenarioError, match=f"'{name}' changes label 20; digits has labels 0 to 9"):
            prepare(small(roles=(RoleSpec(PluginSpec(name, {"source": 20}), count=1),)))
    outside = PluginSpec("pixel_backdoor", {"pixels": [[26, 26]]})
    with pytest.raises(PluginError, match=r"pixel \(26, 26\) is outside images of 8 x 8"):
        prepare(small(roles=(RoleSpec(outside, count=1),)))


def test_a_goal_of_another_kind_is_refused(small):
    class Wrong:
        def goal(self, x, y):
            return x, y

    with pytest.raises(PluginError, match="goal must return a Goal, got a tuple"):
        goals_of([Role("wrong", Wrong(), (0,))], make_data(small()))


def test_a_class_that_the_test_set_lacks_gives_an_empty_goal():
    class Lonely:
        def goal(self, x, y):
            return Goal(x[:0], y[:0], y[:0])

    assert scored([("lonely", Lonely())]).goals == (GoalScore("lonely", 0, 0, 0),)


# ---- whole runs -----------------------------------------------------------------------------------------

BACKDOOR = PluginSpec("pixel_backdoor", {"target": 2, "fraction": 0.5, "pixels": [[0, 0], [0, 7], [7, 7]]})
BOOST = """
from dataclasses import dataclass
from typing import ClassVar
from gauntlet.core.contracts import UpdateKnowledge

@dataclass(frozen=True)
class Boost:
    gamma: float
    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def init(self): return None
    def corrupt(self, own, view, state): return own.with_vectors(self.gamma * own.vectors), state
"""


def final(spec):
    simulation = prepare(spec)
    *_, step = simulation.steps(simulation.serial_pool())
    return step.score


def rates(score):
    (goal,) = score.goals
    return score.accuracy, goal.success / goal.examples


@pytest.fixture
def learning(small):
    how = LocalTraining(local_epochs=2, batch_size=16, lr=0.2, momentum=0.5)
    model = PluginSpec("mlp", {"hidden": [32]})
    base = small(rounds=10, num_clients=20, evaluate_every=10, training=how, model=model)
    return lambda **changes: replace(base, **changes)


def test_model_replacement_opens_the_door_and_keeps_the_accuracy(learning, tmp_path):
    """Bagdasaryan et al. (arXiv:1807.00459): one attacker of 20 scales its update by K and so replaces the
    model. Measured over seeds 0 to 2: success 0.84 to 0.95 with accuracy 0.88 to 0.91; without scaling the
    other nineteen drown it: 0.05 to 0.07 with 0.93 to 0.94."""
    (tmp_path / "boost.py").write_text(BOOST)
    scaled = PluginSpec(f"{tmp_path}/boost.py:Boost", {"gamma": 20.0})
    boosted = RoleSpec(BACKDOOR, clients=(3,), start_round=8, update=scaled)

    plain = rates(final(learning(roles=(RoleSpec(BACKDOOR, clients=(3,)),))))
    boosted = rates(final(learning(roles=(boosted,))))

    assert plain[1] < 0.3
    assert boosted[1] > 0.7
    assert boosted[0] > 0.8
    assert plain[0] > 0.9


def test_a_split_trigger_opens_the_door_though_nobody_taught_the_whole(learning):
    """DBA with 8 of 20 attackers; measured over seeds 0 to 2: success 1.0 with accuracy 0.91 to 0.94."""
    split = PluginSpec("dba", {"trigger_size": 3})
    accuracy, success = rates(final(learning(roles=(RoleSpec(split, count=8),))))

    assert success > 0.9
    assert accuracy > 0.85


# ---- wherever models are scored -------------------------------------------------------------------------


def test_serial_and_ray_with_one_and_two_workers_give_the_same_answers(learning, ray_here):
    """A block of the test set, and one of triggered pictures; the flipped ones are in the test set. The next
    model of the same round is another one."""
    flip = PluginSpec("label_flip", {"source": 1, "target": 7})
    roles = (RoleSpec(BACKDOOR, clients=(3,)), RoleSpec(flip, clients=(4,)))
    simulation = prepare(learning(model=PluginSpec("lenet_sigmoid"), roles=roles))
    first = simulation.first
    models = [Broadcast(1, scale * first.params, first.buffers) for scale in (1.0, 3.0)]

    def answers_of(pool):
        found = [pool.score(model) for model in models]
        pool.close()
        return found

    here = answers_of(simulation.serial_pool())
    on_ray = ((1, "socket"), (2, "socket"), (2, "ray"))
    there = [answers_of(simulation.ray_pool(n, transport=how)) for n, how in on_ray]
    scores = [simulation.evaluator.score(answers) for answers in here]

    wanted, flipped = (goal.examples for goal in scores[0].goals)
    assert len(here[0].predicted) == 360 + wanted
    assert 0 < flipped < wanted
    assert scores[0].loss != scores[1].loss
    for found in there:
        assert [simulation.evaluator.score(answers) for answers in found] == scores
        assert all(torch.equal(a.predicted, b.predicted) for a, b in zip(found, here, strict=True))
        assert all(torch.equal(a.losses, b.losses) for a, b in zip(found, here, strict=True))
