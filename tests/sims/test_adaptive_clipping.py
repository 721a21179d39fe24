"""The shipped studies of clip norms: what they say at equal privacy, in small."""

import numpy as np
import pytest

from gauntlet.sims.scenario import load_scenario
from gauntlet.sims.sweep import sweep, variants


@pytest.mark.slow
def test_a_moving_bound_is_as_good_as_the_best_fixed_one_and_far_better_than_a_bad_one(tmp_path):
    """Digits at epsilon 8, three seeds: within 0.03 of the best fixed norm, 0.10 above a norm of 3."""
    wanted = {
        "best": {"clip_norm": 0.3},
        "bad": {"clip_norm": 3.0},
        "moo": {"clip_norm": 1.0, "clipping": "moo"},
        "quantile": {"clip_norm": 1.0, "clipping": "quantile"},
    }
    tables = [{"name": "gaussian", "delta": 1e-3, "epsilon": 8.0, **options} for options in wanted.values()]
    over = {"sweep": {"privacy": tables, "seed": [0, 1, 2]}, "runtime.pool": "serial"}
    runs = sweep(load_scenario("adaptive-clipping-digits", over), tmp_path / "study")
    accuracy = {
        name: np.mean([run.rounds["accuracy"].iloc[-1] for run in runs[3 * n : 3 * n + 3]])
        for n, name in enumerate(wanted)
    }

    assert len({run.manifest["epsilon"]["value"] for run in runs}) == 1
    assert 7.9 < runs[0].manifest["epsilon"]["value"] <= 8.0
    for moving in ("moo", "quantile"):
        assert accuracy[moving] >= accuracy["best"] - 0.03
        assert accuracy[moving] >= accuracy["bad"] + 0.10


def test_the_long_study_crosses_data_clippings_starts_budgets_and_seeds():
    found = variants(load_scenario("adaptive-clipping"))
    assert len(found) == 3 * 3 * 3 * 5 * 3
    starts = {(v.scenario.privacy.spec().options["clip_norm"]) for v in found}
    assert starts == {0.05, 0.5, 5.0}  # a tenth, one and ten times the median norm of an update
    assert {v.scenario.privacy.spec().options["clipping"] for v in found} == {"fixed", "quantile", "moo"}
