"""A part of some runs, by what their scenarios say."""

from dataclasses import dataclass

import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.select import only


@dataclass
class Told:
    """A run of which only the scenario is looked at."""

    manifest: dict


RUNS = [
    Told({"scenario": {"seed": seed, "data": {"name": data}, "privacy": {"name": "gaussian", "clipping": c}}})
    for seed in (0, 1)
    for data in ("mnist", "cifar10")
    for c in ("fixed", {"name": "quantile", "clip_lr": 1.0})
]


def test_runs_are_taken_by_number_by_name_and_by_a_whole_table():
    assert only(RUNS, ["seed=1"]) == RUNS[4:]
    assert only(RUNS, ["data=mnist", "seed=0"]) == RUNS[:2]
    assert only(RUNS, ["privacy.clipping=quantile"]) == RUNS[1::2]
    assert only(RUNS, ['privacy.clipping={name="quantile",clip_lr=1.0}']) == RUNS[1::2]
    assert only(RUNS, []) == RUNS


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("seed=7", "--only seed=7 leaves no run: it is 0, 1"),
        ("data=mnits", "--only data=mnits leaves no run: it is mnist, cifar10"),
        ("sede=1", "--only sede=1 leaves no run: no run has that key"),
        ("seed", "--only needs key=value, got 'seed'"),
    ],
)
def test_a_condition_that_leaves_nothing_is_one_clear_line(condition, message):
    with pytest.raises(ScenarioError) as raised:
        only(RUNS, [condition])
    assert str(raised.value) == message


FILES = [
    Told({"scenario": {"defense": {"name": name}}})
    for name in ("/mine/work/caps.py:Cap", "/mine/old/caps.py:Cap", "mean", "live:Cap-1a2b3c4d")
]


def test_a_plug_in_of_a_file_is_taken_as_it_was_typed_and_as_pictures_show_it():
    assert only(FILES, ["defense=caps.py:Cap"]) == FILES[:2]
    assert only(FILES, ["defense=work/caps.py:Cap"]) == FILES[:1]
    assert only(FILES, ["defense=/mine/old/caps.py:Cap"]) == FILES[1:2]
    assert only(FILES, ["defense=Cap"])[:2] == FILES[:2]
    with pytest.raises(ScenarioError, match="leaves no run: it is Cap, mean"):
        only(FILES, ["defense=other.py:Cap"])


def test_values_of_one_key_allow_each_other():
    assert only(RUNS, ["seed=0", "seed=1", "data=mnist"]) == [*RUNS[:2], *RUNS[4:6]]
    with pytest.raises(ScenarioError, match="seed=7 leaves no run"):
        only(RUNS, ["seed=0", "seed=7"])
