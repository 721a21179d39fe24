"""What docs/robustness-backdoors.md says of rules that look for backdoors, on its own scenario, seed 0.

Oracles: the papers' claim, success below a tenth where mean, median and Multi-Krum let it through; and
what the page publishes as failures.
"""

import pytest

import gauntlet

TRIGGER = {
    "name": "pixel_backdoor",
    "pixels": [[0, 0], [0, 1], [1, 0], [1, 1], [6, 6], [6, 7], [7, 6], [7, 7]],
    "target": 7,
}


def success(folder, defense, count, partition="iid"):
    """Return the share of triggered test images that are taken for the attackers' class at the end."""
    scenario = gauntlet.Scenario(
        rounds=15,
        num_clients=20,
        data="digits",
        partition=partition,
        model={"name": "mlp", "hidden": [32]},
        training={"local_epochs": 2, "batch_size": 16, "lr": 0.2},
        evaluation={"every": 15},
        attacks=[TRIGGER | {"count": count}],
        defense=defense,
        runtime={"pool": "serial"},
    )
    return float(gauntlet.simulate(scenario, folder / "run").rounds["attack_success_rate"].iloc[-1])


@pytest.mark.parametrize("rule", ["freqfed", "rflbat"])
def test_nine_of_twenty_are_left_out_by_who_sees_two_groups(rule, tmp_path):
    assert success(tmp_path, rule, 9) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "count"), [("deepsight", 8), ("multi_metrics", 8), ("alignins", 6)])
def test_the_others_leave_out_as_many_as_the_page_says(rule, count, tmp_path):
    assert success(tmp_path, rule, count) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["median", {"name": "multi_krum", "num_byzantine": 8}], ids=str)
def test_the_median_and_multi_krum_let_nine_of_twenty_through(rule, tmp_path):
    assert success(tmp_path, rule, 9) > 0.2


@pytest.mark.slow
def test_sign_majority_lets_eight_of_twenty_through(tmp_path):
    assert success(tmp_path, "sign_majority", 8) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["deepsight", "alignins", "freqfed", "rflbat"])
def test_five_of_twenty_come_through_where_clients_differ(rule, tmp_path):
    """Where honest clients hold few classes, they look like attackers and attackers like them."""
    assert success(tmp_path, rule, 5, {"name": "dirichlet_class", "alpha": 0.5}) > 0.5
