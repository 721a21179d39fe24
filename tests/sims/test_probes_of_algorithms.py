"""Probes on algorithms whose clients remember, or send more than an update: what they rebuild, and when."""

import pytest

from gauntlet.core.errors import GauntletError
from gauntlet.sims.run import simulate

ONE = {
    "rounds": 2,
    "model": {"name": "mlp", "hidden": [16], "activation": "sigmoid"},
    "training": {"local_steps": 1, "batch_size": 1, "lr": 0.5},
    "defense": {"name": "mean", "weighting": "uniform"},
}


@pytest.mark.parametrize(("attack", "least"), [("idlg", 100), ("bias_trick", 120)])
@pytest.mark.parametrize("algorithm", ["scaffold", "feddyn", "moon", "ditto"])
def test_in_round_0_an_update_is_a_gradient_and_gives_the_example_away(
    tiny, tmp_path, algorithm, attack, least
):
    """Controls, slopes and the contrast are 0 then. 120 dB is what a perfect copy counts as.

    A search stops as soon as its cost is within 1e-10.
    """
    probe = {"name": attack, "client": 2}
    run = simulate(tiny(**ONE, algorithm=algorithm, probes=[probe]), tmp_path / "run")

    (rebuilt,) = run.gallery()
    assert rebuilt.psnr.tolist() >= [least]


@pytest.mark.parametrize("algorithm", ["scaffold", "feddyn", "moon"])
def test_later_on_what_a_client_remembers_is_in_its_step_and_the_attack_says_so(tiny, tmp_path, algorithm):
    probe = {"name": "idlg", "client": 2, "rounds": [1]}
    with pytest.raises(GauntletError, match=f"IDLG .*got optimizer = {algorithm}") as caught:
        simulate(tiny(**ONE, algorithm=algorithm, probes=[probe]), tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_model_that_stays_changes_nothing_in_any_round(tiny, tmp_path):
    """What is rebuilt of ditto's round 1 is what is rebuilt of FedAvg's."""
    rebuilt = []
    for algorithm in ("fedavg", "ditto"):
        probe = {"name": "bias_trick", "client": 2, "rounds": [1]}
        run = simulate(tiny(**ONE, algorithm=algorithm, probes=[probe]), tmp_path / algorithm)
        rebuilt += run.gallery()
    assert [one.round for one in rebuilt] == [1, 1]
    assert rebuilt[0].psnr.tolist() == rebuilt[1].psnr.tolist()
    assert rebuilt[0].psnr[0] > 100
