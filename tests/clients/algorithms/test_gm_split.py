"""Oracles: rounds by hand; groups that are known; FedAvg to the last bit while nobody parts."""

from dataclasses import dataclass, replace

import pytest
import torch

from gauntlet.clients.algorithms.gm_split import GMSplit
from gauntlet.core.contracts import Facts, LocalTraining

EARLY = GMSplit(warmup=1, window=1, room=8, most_across=0.0)
LEFT, RIGHT, AGAIN = [-1.0, 0.1], [1.0, 0.1], [1.0, 0.0]


def facts(ids, rows):
    many = torch.ones(len(ids), dtype=torch.int64)
    shares = torch.full((len(ids),), 1 / max(len(ids), 1), dtype=torch.float64)
    rows = torch.tensor(rows).reshape(len(ids), 2)
    return Facts(torch.tensor(ids, dtype=torch.int64), many, shares, LocalTraining(), {}, rows)


def rounds(rule, *cohorts, params=(0.0, 0.0)):
    """Return the models [C, P] and the state after these rounds of (ids, updates)."""
    params, state = torch.tensor(params), rule.init()
    for ids, rows in cohorts:
        told = facts(ids, rows)
        mean = told.messages.mean(dim=0) if ids else torch.zeros(2)
        params, state = rule.step(params, mean, state, len(ids) / 8, told)
    return torch.stack([rule.served(params, state, 7), *rule._others(params, state)]), params, state


FOUR = [0, 1, 2, 3], [RIGHT, LEFT, RIGHT, LEFT]


def test_opposed_clients_part_and_go_on_from_the_same_model():
    models, params, state = rounds(EARLY, FOUR)
    assert params.tolist() == pytest.approx([0.0, 0.1])  # the mean of all, as in any round before
    assert state["membership"][:4].tolist() == [0, 1, 0, 1]
    assert torch.equal(models[0], models[1])


def test_then_each_cluster_moves_by_the_mean_of_its_own_clients():
    rule = replace(EARLY, server_lr=0.5)
    later = [0, 1, 3], [[2.0, 0.0], [-4.0, 0.0], [-6.0, 2.0]]
    _, params, state = rounds(rule, FOUR, later)
    assert params.tolist() == pytest.approx([1.0, 0.05])  # 0 + 0.5 x 2
    assert state["others"][0].tolist() == pytest.approx([-2.5, 0.55])  # 0.5 x (-5, 1) on (0, 0.05)
    assert rule.served(params, state, 1).tolist() == state["others"][0].tolist()
    assert rule.served(params, state, 2).tolist() == params.tolist()


def test_nobody_parts_who_agrees_or_stands_still_or_is_too_early():
    alike = [0, 1, 2, 3], [RIGHT, RIGHT, RIGHT, RIGHT]
    apart = [0, 1, 2, 3], [RIGHT, LEFT, [1.0, 2.0], [-1.0, 2.0]]  # a pair across points the same way
    slow = [0, 1, 2, 3], [[v / 100 for v in row] for row in FOUR[1]]
    for rule, cohorts in (
        (EARLY, [alike] * 4),
        (EARLY, [apart]),
        (replace(EARLY, warmup=2), [alike, slow]),
        (replace(EARLY, warmup=2), [FOUR]),
        (replace(EARLY, least_within=1.0), [([0, 1, 2, 3], [RIGHT, LEFT, AGAIN, LEFT])]),
        (replace(EARLY, largest_mean=0.05), [FOUR]),
        (EARLY, [([0, 1], [RIGHT, LEFT])]),
    ):
        assert rounds(rule, *cohorts)[2]["clusters"] == 1
    assert rounds(replace(EARLY, warmup=2), alike, FOUR)[2]["clusters"] == 2  # as long as in the first round


def test_groups_part_below_the_largest_cosine_across():
    """Across it is 0.1: no conflict at the default of 0, and one at 0.2."""
    nearly = [0, 1, 2, 3], [AGAIN, [0.1, 0.995], AGAIN, [0.1, 0.995]]
    assert rounds(EARLY, nearly)[2]["clusters"] == 1
    assert rounds(replace(EARLY, most_across=0.2), nearly)[2]["clusters"] == 2


def test_a_mean_is_short_beside_the_median_length_and_not_beside_the_longest():
    """By hand: means of 1.0 and 0.05 beside a median length of 1, although one client's update is 5 long."""
    for longest, clusters in ((5.0, 1), (1.2, 2)):
        some = [0, 1, 2, 3], [[longest, 0.0], AGAIN, [-1.0, 0.1], [-1.0, -0.1]]
        assert rounds(EARLY, some)[2]["clusters"] == clusters


def test_a_look_takes_the_mean_of_a_window():
    """Client 2 goes left once and right twice as far: on the whole with client 0."""
    rule = replace(EARLY, warmup=2, window=2)
    _, _, state = rounds(
        rule,
        ([0, 1, 2, 3], [RIGHT, LEFT, LEFT, LEFT]),
        ([0, 1, 2, 3], [RIGHT, LEFT, [3.0, 0.2], LEFT]),
    )
    assert state["membership"][:4].tolist() == [0, 1, 0, 1]


def test_it_looks_once_in_a_window_and_not_between():
    """Rounds 2 and 4: what is opposed from round 3 on parts after the fourth."""
    rule, alike = replace(EARLY, warmup=2, window=2), ([0, 1, 2, 3], [RIGHT] * 4)
    assert rounds(rule, alike, alike, FOUR)[2]["clusters"] == 1
    assert rounds(rule, alike, alike, FOUR, FOUR)[2]["clusters"] == 2


def test_a_client_that_comes_later_joins_where_its_update_points():
    """It was sent cluster 0's model: its first update does not count in cluster 1, and its next one does."""
    joins = [4], [[-2.0, 0.0]]
    _, params, state = rounds(EARLY, FOUR, joins)
    assert state["membership"][:5].tolist() == [0, 1, 0, 1, 1]
    assert params.tolist() == pytest.approx([0.0, 0.1])
    assert state["others"][0].tolist() == pytest.approx([0.0, 0.1])
    *_, state = rounds(EARLY, FOUR, joins, joins)
    assert state["others"][0].tolist() == pytest.approx([-2.0, 0.1])
    *_, params, state = rounds(EARLY, FOUR, ([5], [[2.0, 0.0]]))
    assert int(state["membership"][5]) == 0
    assert params.tolist() == pytest.approx([2.0, 0.1])


def test_a_member_that_was_not_in_the_window_is_asked_again():
    rule = replace(EARLY, warmup=2)
    everybody = [0, 1, 2, 3, 4], [RIGHT] * 5
    *_, state = rounds(rule, everybody, FOUR)
    assert state["placed"].tolist() == [True] * 4 + [False] * 4
    *_, state = rounds(rule, everybody, FOUR, ([4], [LEFT]))
    assert int(state["membership"][4]) == 1


def test_a_group_too_small_to_be_served_is_suspicious_and_counts_no_more():
    lone = [0, 1, 2, 3], [RIGHT, LEFT, RIGHT, RIGHT]
    _, params, state = rounds(EARLY, lone)
    assert state["membership"][:4].tolist() == [0, -1, 0, 0]
    assert state["clusters"] == 1
    assert torch.equal(EARLY.served(params, state, 1), params)
    *_, after, state = rounds(EARLY, lone, ([0, 1], [[1.0, 0.0], [-100.0, 0.0]]))
    assert after.tolist() == pytest.approx([float(params[0]) + 1.0, float(params[1])])
    assert rounds(replace(EARLY, min_size=1), lone)[2]["membership"][:4].tolist() == [0, 1, 0, 0]
    assert int(EARLY.extra(params, state)[-7]) == -1


def test_clusters_part_again_until_there_are_enough():
    """Three directions, 120 degrees apart: two go together at first."""
    ways = [[1.0, 0.0], [-0.5, 0.866], [-0.5, -0.866]]
    six = list(range(6)), [*ways, *ways]
    rule = replace(EARLY, least_within=0.1)
    assert rounds(replace(rule, max_clusters=2), six, six, six)[2]["clusters"] == 2
    *_, state = rounds(rule, six, six, six)
    assert state["clusters"] == 3
    found = state["membership"][:6].tolist()
    assert found[:3] == found[3:]
    assert sorted(found[:3]) == [0, 1, 2]


def test_the_scored_model_is_that_of_the_largest_cluster():
    five = [0, 1, 2, 3, 4], [RIGHT, LEFT, LEFT, LEFT, RIGHT]
    _, params, state = rounds(EARLY, five, ([0, 1], [[8.0, 0.0], [-8.0, 0.0]]))
    assert state["membership"][:5].tolist() == [1, 0, 0, 0, 1]
    assert EARLY.model(params, state).tolist() == params.tolist()
    joined = {**state, "membership": torch.tensor([1, 0, 1, 1, 1, 0, 0, 0])}
    assert EARLY.model(params, joined).tolist() == state["others"][0].tolist()


def test_a_round_without_anybody_moves_nothing():
    _, params, state = rounds(EARLY, FOUR, ([], []))
    assert params.tolist() == pytest.approx([0.0, 0.1])
    assert state["rounds"] == 2


@dataclass
class Client:
    """A quadratic with its optimum at ``goal``, three full steps."""

    client_id: int
    shared: dict
    received: torch.Tensor
    goal: torch.Tensor
    num_clients: int = 2
    training = LocalTraining(lr=0.25)

    def batches(self):
        return [None] * 3

    def examples(self, rows):
        return self.goal, self.goal

    def differentiated(self, params, value):
        return params - self.goal, (params - self.goal).square().sum() / 2


@pytest.mark.parametrize(
    ("member", "start", "stated"), [(0, 0.0, 0), (2, 5.0, 2), (-3, 5.0, -1), (-1, 0.0, -1)]
)
def test_a_client_trains_the_model_of_its_cluster(member, start, stated):
    others = torch.tensor([[9.0, 9.0], [5.0, 5.0], [0.0, 0.0]])
    shared = {"others": others, "membership": torch.tensor([0.0, float(member)])}
    goal = torch.tensor([8.0, -8.0])
    worked = GMSplit(room=2).work(Client(1, shared, torch.zeros(2), goal))
    left = 0.75**3 * (start - goal)
    assert worked.message.tolist() == pytest.approx((goal + left - start).tolist())
    assert worked.facts == {"cluster": stated}
    with pytest.raises(ValueError, match="room must be at least the number of clients, 3, got 2"):
        GMSplit(room=2).work(Client(1, shared, torch.zeros(2), goal, num_clients=3))


@pytest.mark.parametrize(
    "options",
    [
        *({name: 0} for name in ("warmup", "window", "min_size", "room", "largest_mean", "server_lr")),
        *({"max_clusters": 1}, {"window": 7}, {"most_across": 1.5}, {"least_within": -2}, {"least_norm": -1}),
    ],
)
def test_options_are_checked(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be"):
        GMSplit(**options)
