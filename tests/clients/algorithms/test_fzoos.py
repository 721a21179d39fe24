"""Oracles: the paper's quadratic, whose minimum is the same however clients differ; counted queries."""

import pytest
import torch
from black_boxes import mean_of, play, quadratics

from gauntlet.clients.algorithms.fzoos import FZooS

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
