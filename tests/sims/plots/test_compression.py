"""Pictures of compression against numbers by hand."""

import numpy as np
import pandas as pd
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.codec_leakage import codec_leakage
from gauntlet.sims.plots.compression import compression
from gauntlet.sims.plots.layers import bits, plan


def frames(ideal_bits, frame_bytes, numel=100):
    count = len(ideal_bits)
    columns = {"ideal_bits": ideal_bits, "frame_bytes": frame_bytes, "numel": numel, "direction": "up"}
    return pd.DataFrame({"round": range(count), "client_id": 0, **columns})


def layers(choice=(np.nan, np.nan)):
    rows = [
        (t, name, numel, ideal, payload, value)
        for t in range(2)
        for (name, numel, ideal, payload), value in zip(
            [("0.weight", 80, 80.0, 20), ("0.bias", 8, 40.0, 8)], choice, strict=True
        )
    ]
    return pd.DataFrame(rows, columns=["round", "layer", "numel", "ideal_bits", "payload_bytes", "choice"])


def test_a_point_is_the_last_accuracy_at_all_bytes_and_its_ideal_with_what_goes_beside_frames(recorded):
    """By hand: 3 MB were sent, 2.5 of them frames; ideal 8 and 4 million bits are 1.5 MB, and 0.5 beside."""
    run = recorded(
        "sign",
        accuracy=[0.2, 0.9],
        total_bytes_up=[1_500_000, 3_000_000],
        virtual_seconds=[4.0, 9.5],
        frames=frames([8e6, 4e6], [1_250_000, 1_250_000]),
    )
    _, table = compression([run])
    row = table.iloc[0]
    assert (row.accuracy, row.megabytes, row.seconds) == (0.9, 3.0, 9.5)
    assert row.ideal_megabytes == pytest.approx(2.0)


def test_the_front_is_of_those_whom_nobody_beats_for_less(recorded):
    """Golden: (MB, accuracy) of (1, .5), (2, .8), (3, .7): the third is beaten by the second."""
    points = {"a": (1, 0.5), "b": (2, 0.8), "c": (3, 0.7)}
    runs = [
        recorded(name, accuracy=[y], total_bytes_up=[x * 10**6], virtual_seconds=[4.0 - x])
        for name, (x, y) in points.items()
    ]
    figure, table = compression(runs)
    assert table.pareto_megabytes.tolist() == [True, True, False]
    assert table.pareto_seconds.tolist() == [False, True, True]
    assert len(figure.axes) == 2
    assert np.isnan(table.ideal_megabytes).all()


def test_without_a_clock_there_is_one_panel_and_seeds_are_a_range(recorded):
    runs = [recorded("a", seed=s, accuracy=[y], total_bytes_up=[10**6]) for s, y in ((0, 0.5), (1, 0.7))]
    figure, table = compression(runs)
    assert len(figure.axes) == 1
    assert table.accuracy.tolist() == [pytest.approx(0.6)]
    assert (table.accuracy_low[0], table.accuracy_high[0]) == (0.5, 0.7)


def test_a_run_that_was_never_evaluated_has_no_point(recorded):
    with pytest.raises(ScenarioError, match="no accuracy to draw against bytes"):
        compression([recorded(accuracy=[np.nan])])


def test_bits_of_a_layer_are_its_bodies_and_its_bound_by_coordinate(recorded):
    """By hand: 20 bytes of 80 coordinates are 2 bits, 80 bits 1; 8 bytes of 8 are 8, 40 bits 5."""
    _, table = bits([recorded("a", layers=layers())])
    assert table.layer.tolist() == ["0.weight", "0.bias"]
    assert table.bits.tolist() == [2.0, 8.0]
    assert table.ideal_bits.tolist() == [1.0, 5.0]


def test_a_plan_is_drawn_of_runs_that_have_one(recorded):
    figure, table = plan([recorded("a", layers=layers((0.01, 0.1))), recorded("b", layers=layers())])
    assert table.choice.tolist() == [0.01, 0.1] * 2
    assert set(table.label) == {"a"}
    assert figure.axes[0].get_yticklabels()[0].get_text() == "0.weight (80)"
    with pytest.raises(ScenarioError, match="no run has a codec that chooses"):
        plan([recorded("b", layers=layers())])
    with pytest.raises(ScenarioError, match="no table of layers"):
        bits([recorded("b")])


def test_leakage_stands_at_the_bits_of_whole_frames_once_for_each_kind_of_attacker(recorded, rebuilt):
    """By hand: frames of 50 and 75 bytes for 100 coordinates each are 5 bits."""
    image = np.zeros((1, 1, 2, 2))
    items = [
        rebuilt(image, image, [psnr], [0.5], attack="inverting_gradients", codec_aware=aware,
                settings={"objective": objective})
        for psnr, aware, objective in ((10.0, False, "plain"), (40.0, True, "auto"))
    ]  # fmt: skip
    coded = recorded(
        "topk", items=items, scenario={"codec": {"name": "topk"}}, frames=frames([1, 1], [50, 75])
    )
    plain = recorded("identity", items=items[:1], scenario={"codec": {"name": "identity"}})
    _, table = codec_leakage([coded, plain])
    assert table[["label", "knows", "bits", "mean"]].to_numpy().tolist() == [
        ["topk", "no", 5.0, 10.0],
        ["topk", "yes", 5.0, 40.0],
        ["identity", "", 32.0, 10.0],
    ]


def test_the_bits_of_a_logarithmic_axis_are_plain_numbers(recorded):
    """Within a decade matplotlib writes 2 x 10^0, 3 x 10^0, and 10."""
    figure, _ = bits([recorded("a", layers=layers())])
    figure.draw_without_rendering()
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    ticks = [*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks()]
    shown = [t.label1.get_text() for t in ticks if low <= t.get_loc() <= high and t.label1.get_text()]

    assert len(shown) >= 3
    assert all(float(text) > 0 for text in shown)
