"""MUD-HoG's preset ``general`` on digits, end to end: attacks, rhythms and local work it was not made for."""

import pytest

from gauntlet.sims.detection import totals
from gauntlet.sims.run import simulate

TRAINING = {"local_epochs": 4, "batch_size": 8, "lr": 0.1, "momentum": 0.5}
GENERAL = {"name": "mud_hog", "preset": "general"}


def run(tiny, folder, attacks, **changes):
    values = {
        "rounds": 12,
        "num_clients": 40,
        "model": {"name": "mlp", "hidden": [64]},
        "partition": {"name": "dirichlet_class", "alpha": 0.9, "partition_seed": 1},
        "training": TRAINING,
        "defense": GENERAL,
        "checkpoint": {"every": 0},
    }
    return simulate(tiny(**{**values, "attacks": attacks, **changes}), folder)


def test_boosted_and_turned_updates_are_named_in_four_rounds_of_a_small_federation(tiny, tmp_path):
    """The fast one: 12 clients, 4 rounds."""
    attacks = [{"name": "sign_flip", "count": 1}, {"name": "model_replacement", "scale": 8.0, "count": 1}]
    training = {**TRAINING, "local_epochs": 1}
    found = run(tiny, tmp_path / "run", attacks, num_clients=12, rounds=4, training=training)
    found = totals(found.clients)
    assert (found["recall"], found["wrongly"]) == (1.0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": 20},
        {"rounds": 40, "training": {"local_steps": 1, "batch_size": 32, "lr": 0.2}},
        {"training": {**TRAINING, "local_epochs": 10}},
        {"partition": {"name": "dirichlet", "alpha": 0.1, "min_size": 4}},
        {"num_clients": 12},
        {"num_clients": 10, "rounds": 10, "training": {**TRAINING, "local_epochs": 6}},
        {
            "seed": 3,
            "training": {"local_epochs": 6, "batch_size": 4, "lr": 0.2, "momentum": 0.5},
            "partition": {"name": "dirichlet_class", "alpha": 0.9, "partition_seed": 4},
        },
    ],
)
def test_nobody_is_named_where_nobody_attacks(tiny, tmp_path, changes):
    found = run(tiny, tmp_path / "run", [], **changes)
    assert totals(found.clients)["wrongly"] == 0
    assert found.rounds["excluded_honest_share"].mean() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("wakes", [0, 6])
def test_nineteen_of_forty_are_named_within_six_rounds_of_waking(tiny, tmp_path, wakes):
    attacks = [
        {"name": "sign_flip", "count": 5, "start_round": wakes},
        {"name": "additive_noise", "std": 0.1, "count": 6, "start_round": wakes},
        {"name": "multi_label_flip", "count": 8, "start_round": wakes},
    ]
    found = totals(run(tiny, tmp_path / "run", attacks, rounds=max(wakes + 6, 10)).clients)
    assert found["recall"] >= 0.9
    assert found["wrongly"] <= 1


@pytest.mark.slow
def test_a_backdoor_sent_five_times_is_kept_out_from_the_first_round_on(tiny, tmp_path):
    """Without the defense it succeeds on more than half of the triggered images after two rounds."""
    attack = {"name": "pixel_backdoor", "count": 4, "update": {"name": "model_replacement", "scale": 5.0}}
    kept = run(tiny, tmp_path / "kept", [attack])
    assert totals(kept.clients)["recall"] == 1.0
    assert kept.attacks["success_rate"].iloc[-1] <= 0.1
    let_in = run(tiny, tmp_path / "in", [attack], rounds=2, defense={"name": "mean", "weighting": "uniform"})
    assert let_in.attacks["success_rate"].iloc[-1] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack", [{"name": "ipm", "tau": 3.0}, {"name": "min_max"}, {"name": "alie", "z": -1.5}]
)
def test_who_colludes_is_named_and_nobody_else(tiny, tmp_path, attack):
    found = totals(run(tiny, tmp_path / "run", [{**attack, "count": 8}], rounds=6).clients)
    assert (found["recall"], found["wrongly"]) == (1.0, 0)
