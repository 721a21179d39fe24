"""Oracles: scores by hand on a loss that is the squared distance to a point, and the paper's definition."""

import math

import pytest
import torch

from gauntlet.core.errors import InfeasibleCohort
from gauntlet.core.seeds import generator
from gauntlet.core.updates import OwnExamples, Updates
from gauntlet.defenses.zeno import Zeno


def forward(params, x, buffers=None):
    """The model's output is its parameters, for any input."""
    return params[:, None].expand(-1, len(x), -1)


def loss(outputs, y):
    """Half the squared distance to the label, as a mean over examples."""
    return (outputs - y).square().sum(dim=1).mean() / 2


OWN = OwnExamples(torch.zeros(2, 1), torch.tensor([[1.0, 0.0], [3.0, 0.0]]))  # their mean is (2, 0)


def players(cohort, at, rows, examples=OWN, **changes):
    updates = cohort(torch.tensor(rows))
    return at(updates, forward=forward, loss=loss, examples=examples, params=torch.zeros(2), **changes)


def test_scores_are_the_fall_of_the_loss_minus_what_length_costs(cohort, at):
    """By hand, at w = 0: loss(w + x) is |x - (2, 0)|^2 / 2 plus a constant, so the fall is 2 x_1 - |x|^2 / 2.

    With rho = 0.1: (1, 0): 1.5 - 0.1; (2, 0): 2 - 0.4; (-1, 0): -2.5 - 0.1; (0, 1): -0.5 - 0.1.
    """
    verdict, _ = Zeno(1, rho=0.1).aggregate(
        players(cohort, at, [[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]), None
    )
    assert list(verdict.scores.values()) == pytest.approx([1.4, 1.6, -2.6, -0.6])
    assert verdict.flags == {25: "malicious"}
    assert verdict.aggregate.tolist() == pytest.approx([1.0, 1 / 3])
    assert verdict.weights.tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])


def test_length_alone_leaves_out_what_the_loss_would_keep(cohort, at):
    """By hand: (4, 0) is as good as (0, 0), 0 at rho = 0, and -1.6 at rho = 0.1; (0, 0.1) has -0.006."""
    rows = [[4.0, 0.0], [0.0, 0.1]]
    for rho, out in ((0.0, 15), (0.1, 5)):
        verdict, _ = Zeno(1, rho=rho).aggregate(players(cohort, at, rows), None)
        assert set(verdict.flags) == {out}


def test_of_equals_the_highest_id_goes_and_no_number_is_the_lowest(cohort, at):
    rows = [[1.0, 0.0], [1.0, 0.0], [1e30, 0.0]]
    verdict, _ = Zeno(2).aggregate(players(cohort, at, rows), None)
    assert set(verdict.flags) == {15, 25}
    assert verdict.scores[25] == -math.inf
    assert verdict.aggregate.tolist() == [1.0, 0.0]


def test_a_batch_is_drawn_from_the_rounds_own_stream(cohort, at):
    """Of one example the loss is that to its own label: 1 or 3, as the stream of seed and round says."""
    for round_ in range(4):
        row = int(generator(3, "zeno", round_).choice(2, 1, replace=False)[0])
        updates = players(cohort, at, [[1.0, 0.0]], round_=round_, seed=3)
        verdict, _ = Zeno(0, rho=0.0, batch_size=1).aggregate(updates, None)
        assert verdict.scores[5] == pytest.approx([0.5, 2.5][row])


def test_no_example_of_a_batch_is_drawn_twice(cohort, at):
    """Labels 1, 2, 4, 8: three different ones have one of four means, and the score at (1, 0) follows."""
    own = OwnExamples(torch.zeros(4, 1), torch.tensor([[1.0, 0.0], [2.0, 0.0], [4.0, 0.0], [8.0, 0.0]]))
    means = [(15 - left) / 3 for left in (1, 2, 4, 8)]
    for round_ in range(6):
        updates = players(cohort, at, [[1.0, 0.0]], own, round_=round_)
        verdict, _ = Zeno(0, rho=0.0, batch_size=3).aggregate(updates, None)
        assert any(verdict.scores[5] == pytest.approx(mean - 0.5) for mean in means)


def test_candidates_have_their_clients_own_buffers(cohort, at):
    """The output is the buffer here: client 15's is nearer to (2, 0) than the round's, client 5's is not."""

    def by_buffer(params, x, buffers=None):
        shown = torch.zeros(len(params), 2) if buffers is None else buffers
        return forward(shown, x)

    updates = players(cohort, at, [[1.0, 0.0], [1.0, 0.0]])
    buffers = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    known = {"forward": by_buffer, "loss": loss, "examples": OWN, "params": torch.zeros(2)}
    updates = at(Updates(updates.vectors, updates.client_ids, updates.num_examples, buffers=buffers), **known)
    verdict, _ = Zeno(1, rho=0.0).aggregate(updates, None)
    assert set(verdict.flags) == {5}
    assert list(verdict.scores.values()) == pytest.approx([-2.5, 1.5])


def test_candidates_are_written_down_some_at_a_time(cohort, at):
    """50 candidates of 2^20 numbers would be another cohort's matrix: at most 2^22 stand together."""
    seen = []

    def forward(params, x, buffers=None):
        seen.append(params.numel())
        return params[:, None, :2].expand(-1, len(x), -1)

    updates = at(cohort(torch.zeros(11, 2**20)), forward=forward, loss=loss, examples=OWN)
    Zeno(1).aggregate(updates, None)
    assert max(seen) <= 2**22
    assert len(seen) == 1 + 3


def test_it_says_what_it_lacks_and_what_it_is_too_few(cohort, at):
    with pytest.raises(ValueError, match=r"zeno needs the server's own examples: updates.context must be"):
        Zeno(0).aggregate(cohort([[1.0, 0.0]]), None)
    with pytest.raises(ValueError, match="root_examples must be above 0"):
        Zeno(0).aggregate(players(cohort, at, [[1.0, 0.0]], examples=None), None)
    with pytest.raises(ValueError, match="needs to run models"):
        Zeno(0).aggregate(at(cohort([[1.0, 0.0]]), examples=OWN), None)
    with pytest.raises(InfeasibleCohort, match="leaves out 2 of a cohort of 2"):
        Zeno(2).aggregate(players(cohort, at, [[1.0, 0.0]] * 2), None)


@pytest.mark.parametrize("options", [{"num_byzantine": -1}, {"num_byzantine": 1, "rho": -1e-9}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must be at least 0"):
        Zeno(**options)
