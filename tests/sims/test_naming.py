"""What runs are called: all that tells them apart, and nothing that they share."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from gauntlet.sims.naming import plugin_label, run_names, without_shared
from gauntlet.sims.sweep import variants

QUANTILE = {"name": "gaussian", "clipping": {"name": "quantile", "target": 0.5, "lr": 0.2}, "clip_norm": 1.0}


@dataclass(frozen=True)
class Folder:
    """A result folder's manifest, as ``run_names`` reads it."""

    label: str = ""
    seed: int = 0
    origin: str = ""
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def manifest(self) -> dict[str, Any]:
        return {"label": self.label, "seed": self.seed, "scenario": {"name": "tiny", **self.told}}


@pytest.mark.parametrize(
    ("among", "labels"),
    [
        (["mean", "median"], ["mean", "median"]),
        (["mean", {"name": "mean", "weighting": "fixed"}], ["mean", "mean weighting=fixed"]),
        ([{"name": "krum", "f": 1, "m": 2}, {"name": "krum", "f": 2, "m": 2}], ["krum f=1", "krum f=2"]),
        ([{"name": "krum", "f": 1, "m": 2}, "median"], ["krum", "median"]),
        (
            [QUANTILE, {**QUANTILE, "clipping": {"name": "quantile", "target": 0.8, "lr": 0.2}}],
            ["gaussian target=0.5", "gaussian target=0.8"],
        ),
        (
            [QUANTILE, {**QUANTILE, "clipping": "moo"}],
            ["gaussian clipping=quantile target=0.5 lr=0.2", "gaussian clipping=moo"],
        ),
        (
            [
                {"name": "g", "a": {"name": "p", "z": 1}, "z": 1},
                {"name": "g", "a": {"name": "p", "z": 2}, "z": 2},
            ],
            ["g a.z=1 z=1", "g a.z=2 z=2"],
        ),
        (
            [
                "identity",
                {"name": "error_feedback", "codec": {"name": "topk", "density": 0.05}},
                {"name": "error_feedback", "codec": {"name": "topk", "density": 0.1}},
                {"name": "error_feedback", "codec": "own.py:Sign"},
            ],
            [
                "identity",
                "topk + error_feedback density=0.05",
                "topk + error_feedback density=0.1",
                "Sign + error_feedback",
            ],
        ),
        (["a/x.py:Mine", "b/y.py:Yours"], ["Mine", "Yours"]),
        (["a/x.py:Mine", "b/x.py:Mine", "mean"], ["a/x.py:Mine", "b/x.py:Mine", "mean"]),
        ([[], [{"name": "nnm", "f": 1}, "arc"]], ["[]", "[nnm f=1, arc]"]),
        ([0.1, 1e-05, True, [1, 2]], ["0.1", "1e-05", "True", "[1, 2]"]),
    ],
)
def test_a_plug_in_is_told_from_its_namesakes_by_the_options_that_differ(among, labels):
    assert [plugin_label(value, among) for value in among] == labels


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["mean, lr = 0.1", "median, lr = 0.1"], ["mean", "median"]),
        (["mean, lr = 0.1", "mean, lr = 0.2"], ["lr = 0.1", "lr = 0.2"]),
        (["mean, lr = 0.1, z = [1, 2]", "mean, lr = 0.2, z = [1, 2]"], ["lr = 0.1", "lr = 0.2"]),
        (["z = [1, 2]", "z = [1, 3]"], ["z = [1, 2]", "z = [1, 3]"]),
        (["a", "a, b"], ["a", "a, b"]),  # one would be left without a name
        (["a, b", "b, a"], ["a, b", "b, a"]),  # both would
        (["same", "same"], ["same", "same"]),
        ([], []),
    ],
)
def test_parts_that_all_names_share_are_left_out(names, short):
    assert without_shared(names) == short


def test_runs_of_one_label_that_were_told_different_things_are_no_seeds_of_each_other():
    """Two folders of one scenario, run with another step size and another seed."""
    runs = [
        Folder(seed=0, told={"training": {"lr": 0.1, "batch_size": 2}, "seed": 0}),
        Folder(seed=1, told={"training": {"lr": 0.2, "batch_size": 2}, "seed": 1}),
        Folder(seed=2, told={"training": {"lr": 0.2, "batch_size": 2}, "seed": 2}),
    ]
    assert run_names(runs) == ["lr = 0.1", "lr = 0.2", "lr = 0.2"]


def test_where_clients_ran_and_how_often_they_were_scored_tells_nothing_apart():
    told = (
        {"runtime": {"pool": p}, "evaluation": {"every": e}, "seed": s}
        for p, e, s in (("ray", 1, 0), ("serial", 2, 1))
    )
    assert run_names([Folder(seed=s, told=t) for s, t in enumerate(told)]) == ["tiny", "tiny"]


def test_a_key_that_came_with_a_later_version_tells_nothing_apart_at_its_default():
    """The manifest of an earlier version does not hold it."""
    runs = [Folder(seed=0), Folder(seed=1, told={"noise_seed": "run", "root_examples": 0})]
    other = Folder(seed=2, told={"noise_seed": "system"})

    assert run_names(runs) == ["tiny", "tiny"]
    assert run_names([*runs, other]) == ["noise_seed = run"] * 2 + ["noise_seed = system"]


def test_a_section_that_only_one_run_has_is_told():
    runs = [
        Folder(seed=0, told={"defense": {"name": "mean"}}),
        Folder(
            seed=1,
            told={"defense": {"name": "krum", "num_byzantine": 2}, "attacks": [{"name": "ipm", "count": 1}]},
        ),
    ]
    assert run_names(runs) == ["defense = mean", "defense = krum, num_byzantine = 2, attacks = [ipm count=1]"]


def test_the_same_run_from_two_folders_bears_the_folder():
    assert run_names([Folder(origin="a"), Folder(origin="b")]) == ["a: tiny", "b: tiny"]


def test_labels_of_several_sweeps_lose_what_all_share_and_keep_what_differs():
    runs = [
        Folder("mean, lr = 0.1, momentum = 0.9"),
        Folder("median, lr = 0.1, momentum = 0.9"),
        Folder("median, lr = 0.2, momentum = 0.9"),
    ]
    assert run_names(runs) == ["mean, lr = 0.1", "median, lr = 0.1", "median, lr = 0.2"]


def test_a_sweep_names_what_error_feedback_is_put_around_by_default(tiny):
    swept = tiny(sweep={"codec": ["identity", "error_feedback", {"name": "error_feedback", "codec": "sign"}]})
    labels = ["identity", "topk + error_feedback", "sign + error_feedback"]
    assert [variant.label for variant in variants(swept)] == labels
