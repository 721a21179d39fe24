"""Clipping over the rounds, on clients whose norms are known."""

import numpy as np
import pandas as pd
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.clip_norm import clip_norm


@pytest.fixture
def clipped(recorded):
    def make(label="", bounds=(5.0, 9.0), **more):
        people = pd.DataFrame(
            {
                "round": np.repeat([0, 1], 12),
                "client_id": np.tile(np.arange(12), 2),
                "truth": np.tile(["honest"] * 11 + ["canary"], 2),
                "raw_norm": np.tile([*np.arange(11.0), np.nan], 2),
                "flag": None,
                "update_norm": 1.0,
            }
        )
        return recorded(label, clients=people, clip_norm=list(bounds), **more)

    return make


def test_quantiles_and_the_unclipped_share_are_those_of_the_norms_before_clipping(clipped):
    """Norms 0 to 10: quantiles 1, 2.5, 5, 7.5, 9; of eleven, 6 are at most 5 and 10 at most 9."""
    figure, table = clip_norm([clipped()])

    first = table.iloc[0]
    names = ["norm_q10", "norm_q25", "norm_q50", "norm_q75", "norm_q90"]
    assert first[names].tolist() == [1.0, 2.5, 5.0, 7.5, 9.0]
    assert table["unclipped"].tolist() == pytest.approx([6 / 11, 10 / 11])
    bound = next(line for line in figure.axes[0].lines if line.get_label() == "clip norm C")
    assert bound.get_ydata().tolist() == [5.0, 9.0]
    assert figure.axes[0].get_yscale() == "log"


def test_the_target_of_adaptive_clipping_is_a_dashed_line(clipped):
    scenario = {"name": "tiny", "privacy": {"name": "adaptive", "target_unclipped": 0.3}}
    figure, _ = clip_norm([clipped(manifest={"scenario": scenario})])
    assert [0.3, 0.3] in [list(line.get_ydata()) for line in figure.axes[1].lines]


def test_above_six_labels_the_first_six_are_drawn_and_the_picture_says_so(clipped):
    figure, table = clip_norm([clipped(f"run {i}") for i in range(8)])
    assert "The first 6 of 8 labels" in figure.get_supxlabel()
    assert table["label"].nunique() == 8


def test_runs_that_did_not_clip_are_refused(recorded):
    with pytest.raises(ScenarioError, match="no run clipped and recorded the norms before it"):
        clip_norm([recorded("a")])
