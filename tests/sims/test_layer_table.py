"""The table of layers against lengths counted by hand, and against the table of frames."""

import numpy as np
import pytest

from gauntlet.sims.run import simulate

LINEAR = {"model": {"name": "mlp", "hidden": []}, "rounds": 4, "num_clients": 4}
MENU = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5]
GRECO = {"name": "l_greco", "codec": "topk", "option": "density", "menu": MENU, "uniform": 3}


@pytest.fixture
def small(tiny, tmp_path):
    """Return a function from changes to a finished run of 4 clients on digits: a linear model 64 to 10."""
    return lambda **changes: simulate(tiny(**LINEAR, **changes), tmp_path / "run")


def test_layers_are_the_records_of_a_rounds_first_message(small):
    """By hand, sign: bodies of 84 and 6 bytes for 640 and 10 coordinates, and n + 32 bits at best."""
    run = small(codec="sign")
    layers = run.layers
    assert len(layers) == 8
    assert layers.payload_bytes.tolist() == [84, 6] * 4
    assert layers.numel.tolist() == [640, 10] * 4
    assert layers.ideal_bits.tolist() == [672, 42] * 4
    assert set(layers.client_id) == {0}
    assert layers.choice.isna().all()
    assert layers.layer.nunique() == 2


@pytest.mark.parametrize(
    "codec",
    [
        "terngrad",
        {"name": "topk", "density": 0.1},
        "natural",
        {"name": "randk", "density": 0.2},
        "eden",
        GRECO,
    ],
    ids=str,
)
def test_layers_of_a_message_add_up_to_its_frame(small, codec):
    run = small(codec=codec)
    first = run.frames[(run.frames.client_id == 0) & (run.frames.direction == "up")]
    found = run.layers.groupby("round")
    np.testing.assert_array_equal(found.payload_bytes.sum(), first.payload_bytes)
    np.testing.assert_allclose(found.ideal_bits.sum(), first.ideal_bits, rtol=1e-9)


def test_a_planners_choices_stand_in_it_also_behind_error_feedback(small):
    """Round 0 has the uniform choice; later ones are of the menu, and differ from layer to layer or round."""
    run = small(codec={"name": "error_feedback", "codec": {**GRECO, "every": 1}})
    choices = run.layers.choice
    assert choices[:2].tolist() == [0.2, 0.2]
    assert set(choices) <= set(MENU)
    assert len(set(choices)) > 1


def test_float32_needs_no_table(small):
    assert small().layers is None
