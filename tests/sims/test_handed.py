"""What Python callers may hand over by mistake is one line, never a traceback of something else."""

from functools import partial

import pytest
from torch import nn

import gauntlet
from gauntlet.core.errors import GauntletError, ScenarioError
from gauntlet.sims.handed import list_of

TINY = {"rounds": 1, "num_clients": 4, "data": "digits", "model": "logistic_regression"}


def tiny(**changes):
    return gauntlet.Scenario(**{**TINY, **changes})


class Net(nn.Sequential):
    def __init__(self, input_shape, num_classes, hidden=8, activation=nn.ReLU):
        super().__init__(nn.Flatten(), nn.Linear(64, hidden), activation(), nn.Linear(hidden, num_classes))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: gauntlet.simulate(None), "scenario must be a gauntlet.Scenario, a name or a path, got None"),
        (lambda: gauntlet.simulate(TINY), "scenario must be a gauntlet.Scenario, a name or a path, got {"),
        (lambda: gauntlet.simulate(tiny(), out=3), "out must be a path, got 3"),
        (
            lambda: gauntlet.simulate(tiny(), callbacks=print),
            "callbacks must be a list, got <",
        ),
        (lambda: gauntlet.simulate(tiny(), callbacks="print"), "callbacks must be a list, got 'print'"),
        (
            lambda: gauntlet.simulate(tiny(), callbacks=[3]),
            "callbacks must be functions of a round's row, got 3",
        ),
        (
            lambda: gauntlet.simulate(tiny(), progress="x"),
            "progress must be True, False or an object with begin",
        ),
        (
            lambda: gauntlet.sweep(tiny(), over={"defense": "median"}),
            r"over\['defense'\] must be a list, got",
        ),
        (lambda: gauntlet.sweep(tiny(), over={"seed": 3}), r"over\['seed'\] must be a list, got 3"),
        (lambda: gauntlet.sweep(tiny(), over=["seed"]), "over must be a table of lists by key, got"),
        (lambda: gauntlet.matrix(tiny(), attacks="sign_flip"), "attacks must be a list, got 'sign_flip'"),
        (
            lambda: gauntlet.matrix(tiny(), ["sign_flip"], defenses="mean"),
            "defenses must be a list, got 'mean'",
        ),
        (
            lambda: gauntlet.matrix(tiny(), ["sign_flip"], ["mean"], shares=0.2),
            "shares must be a list, got 0.2",
        ),
        (lambda: gauntlet.resume("nowhere", objects=Net), "objects must be a list, got <class"),
        (lambda: gauntlet.resume("nowhere", objects=Net((64,), 2)), "objects must be a list, got Net"),
        (lambda: gauntlet.resume(None), "folder must be a path, got None"),
        (lambda: gauntlet.load_run(None), "folder must be a path, got None"),
        (lambda: gauntlet.load_sweep(3), "folder must be a path, got 3"),
        (lambda: gauntlet.plot("accuracy", None), "results must be a list, got None"),
        (lambda: gauntlet.attack(None, "dlg"), "results must be a list, got None"),
        (
            lambda: gauntlet.load_scenario(None),
            "scenario must be a gauntlet.Scenario, a name or a path, got None",
        ),
        (
            lambda: gauntlet.load_scenario("quickstart", "rounds=3"),
            "overrides must be a list, got 'rounds=3'",
        ),
        (
            lambda: gauntlet.load_scenario("quickstart", [3]),
            "an override must be 'key=value' or a pair of both",
        ),
        (
            lambda: tiny(model=partial(Net, 3)),
            r"partial\(Net, ...\) must give options by keyword, got \(3,\)",
        ),
        (
            lambda: tiny(model=partial(Net, activation=nn.Tanh)),
            r"activation=...\): options must be plain values",
        ),
        (lambda: tiny(model=partial(nn.Linear(2, 2))), "functools.partial must be of a class or a function"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, mistake, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GauntletError, match=message) as caught:
        mistake()
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_partial_of_a_model_is_its_options():
    scenario = tiny(model=partial(Net, hidden=4))
    assert scenario.model.spec().options == {"hidden": 4}
    assert scenario.model.name == tiny(model=Net).model.name


def test_what_gives_its_members_one_after_the_other_is_a_list():
    assert list_of((n for n in (1, 2)), "x") == list_of({1: 0, 2: 0}.keys(), "x") == [1, 2]
    with pytest.raises(ScenarioError):
        list_of({1: 0}, "x")
