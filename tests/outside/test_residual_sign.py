"""The codec with a residual: what it sends, by hand."""

from outsiders import scenario

from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario


def test_it_sends_a_bit_a_coordinate(tmp_path):
    """By hand, an MLP 64-16-10: bodies of 4 + 128, 4 + 2, 4 + 20 and 4 + 2 bytes in a frame of 20.

    Record heads: 1 + 1 for the id and the tag, 2 for 1024 or 160 elements and 1 below 128, 2 for 132 bytes.
    """
    run = simulate(make_scenario(scenario("residual_sign.py:ResidualSign", rounds=2)), tmp_path / "run")
    assert set(run.clients["bytes_up"]) == {20 + (132 + 6 + 24 + 6) + (6 + 4 + 5 + 4)}
    assert set(run.clients["status"]) == {"ok", "dropped"}
