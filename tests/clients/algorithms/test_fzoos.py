"""Oracles: the paper's quadratic, whose minimum is the same however clients differ; counted queries."""

import pytest
import torch
from black_boxes import Box, mean_of, play, quadratics
from torch.utils._python_dispatch import TorchDispatchMode

from gauntlet.clients.algorithms.fzoos import FZooS
from gauntlet.clients.algorithms.parts.black_box import Queries
from gauntlet.clients.algorithms.parts.query_history import History
from gauntlet.core.layout import Layout, Slot

SMALL = {"num_features": 300, "candidates": 20, "look_candidates": 40, "look_active": 20, "history": 500}


@pytest.mark.parametrize("div", [0.5, 5.0])
def test_the_quadratics_least_value_does_not_depend_on_how_clients_differ(div):
    """F* = .1 (-.25 + 1 / d), at .475 in every coordinate."""
    functions, at = quadratics(4, 3, div), torch.full((4,), 0.475)
    assert mean_of(functions, at) == pytest.approx(0.1 * (-0.25 + 1 / 4))
    for step in (0.01 * torch.eye(4)).unbind():
        assert mean_of(functions, at + step) > mean_of(functions, at)


@pytest.mark.parametrize("correction", ["features", "none"])
def test_every_query_is_stated(correction):
    """T + a (T - 1) in a round of steps, 1 and 10 before the first, and 1 + l where one looks."""
    functions = quadratics(3, 2, 1.0)
    options = SMALL | {"local_steps": 3, "active": 2, "correction": correction}
    _, stated, asked = play("fzoos", functions, torch.full((3,), 0.3), 4, **options)
    look = 21 if correction == "features" else 1
    assert asked == stated == [18, 18, look, look, 7, 7, look, look]


def test_the_correction_finds_the_minimum_that_clients_alone_do_not():
    """Clients whose own minima lie at the ends: without the correction their mean step is not F's."""
    functions, start = quadratics(4, 3, 3.0), torch.full((4,), 0.3)
    best = 0.1 * (-0.25 + 1 / 4)
    ends = {}
    for correction in ("features", "none"):
        seen, _, _ = play("fzoos", functions, start, 12, correction=correction, local_steps=6, **SMALL)
        ends[correction] = mean_of(functions, seen[-1]) - best
    assert ends["features"] < 0.02
    assert ends["none"] > 3 * ends["features"]


def test_the_correction_fades_along_a_visits_steps(monkeypatch):
    """A process that says 0, features that say 6 times the gap: 6 (2 - .5) / (t + 1)."""
    seen = []

    class Flat:
        def gradient(self, x, *_):
            return torch.zeros_like(x)

    class Sixfold(FZooS):
        def _features(self, size):
            return type("Gap", (), {"gradient": staticmethod(lambda gap, x: 6 * gap.expand(size))})

    class Notes:
        def __init__(self, lr):
            pass

        def step(self, x, gradient):
            seen.append(gradient.tolist())
            return x + 0.01

    monkeypatch.setattr("gauntlet.clients.algorithms.fzoos.surrogates.fit", lambda *_: Flat())
    monkeypatch.setattr("gauntlet.clients.algorithms.fzoos.Adam", Notes)
    rule = Sixfold(local_steps=3, active=0, num_features=1)
    own = {s.name: torch.zeros(s.shape) for s in rule.memory(Layout((Slot("x", (2,), 0),))).parameters}
    own["own"] += 0.5
    rule.work(
        Box(quadratics(2, 2, 1.0)[0], 0, 0, torch.full((2,), 0.3), {"features": torch.full((1,), 2.0)}, own)
    )
    assert seen == [[9.0, 9.0], [4.5, 4.5], [3.0, 3.0]]


def test_a_step_that_does_not_lower_the_loss_is_taken_back():
    functions = [lambda x: x.square().sum(dim=1)] * 2
    start = torch.zeros(3)
    seen, _, _ = play("fzoos", functions, start, 4, correction="none", local_steps=3, lr=0.1, **SMALL)
    assert not torch.equal(seen[0], start)  # the least value is there already
    assert torch.equal(seen[1], start)
    kept, _, _ = play(
        "fzoos", functions, start, 2, correction="none", local_steps=3, lr=0.1, revert=False, **SMALL
    )
    assert torch.equal(kept[1], kept[0])


def test_the_oldest_queries_make_room():
    options = SMALL | {"history": 40, "neighbours": 20, "feature_neighbours": 40, "local_steps": 4}
    seen, stated, _ = play("fzoos", quadratics(3, 2, 1.0), torch.full((3,), 0.3), 6, **options)
    assert sum(stated) > 4 * 40
    assert seen[-1].isfinite().all()


class WritesOnce(TorchDispatchMode):
    """Sees every write by index, and fails where a place is named twice."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.index_put_.default:
            (places,) = args[1]
            assert len(places.unique()) == len(places), f"written twice: {places.tolist()}"
            self.writes = getattr(self, "writes", 0) + 1
        return func(*args, **(kwargs or {}))


def test_of_more_queries_at_once_than_a_client_remembers_the_last_stay_each_with_its_answer():
    """Which of several values stays that are written to one place at once, torch leaves open."""
    past = History(torch.zeros(3, 1).double(), torch.zeros(3).double(), 2)
    box = Box(lambda x: 10 * x[:, 0], 0, 0, torch.zeros(1), {}, {})
    with WritesOnce() as mode:
        past.ask(Queries(box), torch.arange(8.0).double()[:, None])
    assert mode.writes == 2  # points, values
    points, values = past.near(torch.zeros(1), 3)
    assert points.flatten().tolist() == [5.0, 6.0, 7.0]
    assert values.tolist() == [50.0, 60.0, 70.0]
    assert past.last_asked == 70.0


@pytest.mark.parametrize(("back", "history", "more"), [(False, 500, 0), (True, 500, 0), (True, 20, 1)])
def test_before_each_step_the_loss_is_stated_anew_and_asked_for_only_where_it_is_forgotten(
    back, history, more
):
    """By hand: 24 queries in round 0, the first of them at the old point; one in round 1, at the new one."""
    few = {"neighbours": 5, "feature_neighbours": 5, "history": history}
    rule, function = FZooS(correction="none", local_steps=3, **SMALL | few), quadratics(3, 2, 1.0)[0]
    slots, start = rule.memory(Layout((Slot("x", (3,), 0),))), torch.full((3,), 0.3)
    own, shared = {s.name: torch.zeros(s.shape) for s in slots.parameters}, {"features": torch.zeros(1)}
    new = start + 0.1
    for t, x in enumerate([start, new, start if back else new]):
        box = Box(function, t, 0, x, shared, own)
        worked = rule.work(box)
        own = slots.views(worked.memory)
    assert worked.message[3].item() == pytest.approx(float(function(x.double()[None])))
    assert box.asked == 3 + 5 * 2 + more


@pytest.mark.parametrize("round_", [1, 2])
def test_a_client_of_whom_nothing_was_counted_begins_when_it_comes(round_):
    """Its message of round 0 was lost: it remembers nothing, and asks for its first queries then."""
    rule = FZooS(correction="none", local_steps=2, **SMALL)
    own = {
        slot.name: torch.zeros(slot.shape) for slot in rule.memory(Layout((Slot("x", (3,), 0),))).parameters
    }
    box = Box(quadratics(3, 2, 1.0)[0], round_, 0, torch.full((3,), 0.3), {"features": torch.zeros(1)}, own)
    worked = rule.work(box)
    assert worked.facts["queries"] == box.asked
    assert worked.message.isfinite().all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"history": 100}, "history must hold"),
        ({"active": 200}, "active must be from 0 to candidates"),
        ({"lengths": ()}, "lengths must be above 0"),
        ({"correction": "half"}, "correction must be"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"local_steps": 0}, "local_steps must be at least 1"),
    ],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        FZooS(**options)


def test_where_the_loss_is_no_number_the_message_is_none_either_and_nothing_fails():
    """A server that an attacker moved far hands out a model whose loss overflows: the message is refused."""
    rule = FZooS(correction="none", local_steps=3, **SMALL)
    groups = rule.memory(Layout((Slot("x", (3,), 0),))).parameters
    own = {slot.name: torch.zeros(slot.shape) for slot in groups}
    start = torch.full((3,), 1e38)
    box = Box(lambda x: (x.float().square()).sum(dim=1), 0, 0, start, {"features": torch.zeros(1)}, own)
    assert not rule.work(box).message.isfinite().all()
