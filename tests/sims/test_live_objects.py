"""Scenarios of live objects: a notebook's classes and instances in the place of plug-ins' names."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

import gauntlet as package
from gauntlet.attacks.poisoning.sign_flip import SignFlip
from gauntlet.clients.codecs.fp16 import Fp16
from gauntlet.core.contracts import LocalTraining, Verdict
from gauntlet.core.errors import PluginError, ResultsError, ScenarioError
from gauntlet.core.outside import only_our_own
from gauntlet.defenses import DEFENSES
from gauntlet.defenses.krum import Krum
from gauntlet.sims.report.writing import write_report

from gauntlet.core import live  # isort: skip


def own_classes():
    """Return a defense, one that is no dataclass, and a model, of a function: nobody can import them."""

    @dataclass(frozen=True)
    class Middle:
        stretch: float = 1.0

        def init(self):
            return None

        def aggregate(self, updates, state):
            if len(updates) == 0:
                return Verdict(updates.vectors.sum(dim=0)), state
            low, high = updates.vectors.min(dim=0).values, updates.vectors.max(dim=0).values
            return Verdict(self.stretch * (low + high) / 2), state

    class Scaled:
        def __init__(self, by):
            self.by = torch.tensor(by)

        def init(self):
            return None

        def aggregate(self, updates, state):
            return Verdict(updates.vectors.mean(dim=0) * self.by), state

    class Net(nn.Module):
        def __init__(self, input_shape, num_classes, hidden=8):
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.Linear(hidden, num_classes))

        def forward(self, x):
            return self.layers(x)

    return Middle, Scaled, Net


TINY = {
    "rounds": 3,
    "num_clients": 6,
    "data": "digits",
    "runtime": {"pool": "serial"},
    "checkpoint": {"every": 1},
}
TINY |= {"training": {"local_steps": 1, "batch_size": 4, "lr": 0.5}, "model": {"name": "mlp", "hidden": [8]}}


def scenario(**changes):
    return package.Scenario(**{**TINY, **changes})


def test_a_built_in_object_is_its_name_and_options():
    """So that the scenario is as good as its file, which the command line takes up."""
    found = scenario(
        defense=Krum(num_byzantine=1),
        codec=Fp16(),
        attacks=[{"name": SignFlip(), "count": 1}],
        training=LocalTraining(lr=0.5, local_steps=1, batch_size=4),
        sweep={"defense": [Krum(num_byzantine=1), "median"]},
    )

    assert found.defense.spec().name == "krum"
    assert found.defense.spec().options["num_byzantine"] == 1
    assert found.codec.name == "fp16"
    assert found.attacks[0].name == "sign_flip"
    assert found.sweep["defense"][0]["name"] == "krum"
    assert not live.live_names(found.values())


def test_a_class_of_ones_own_keeps_its_fields_as_options():
    Middle, _, Net = own_classes()
    found = scenario(defense=Middle(0.5), model={"name": Net, "hidden": 4})

    assert found.defense.spec().options == {"stretch": 0.5}
    assert found.defense.name.startswith("live:Middle-")
    assert found.model.spec().options == {"hidden": 4}
    again, _, other = own_classes()
    assert (
        scenario(defense=again(0.5), model={"name": other, "hidden": 4}).fingerprint() == found.fingerprint()
    )
    assert scenario(defense=again(0.25), model=Net).fingerprint() != found.fingerprint()


def test_faults_are_one_line():
    Middle, *_ = own_classes()
    with pytest.raises(ScenarioError, match=r"^unknown key 'defence'.*did you mean 'defense'"):
        scenario(defence=Middle())
    with pytest.raises(ScenarioError, match=r"^'rounds' "):
        scenario(rounds=0)
    with pytest.raises(PluginError, match="unknown option 'strech'; did you mean 'stretch'"):
        package.simulate(scenario(defense={"name": Middle, "strech": 1.0}))
    with pytest.raises(PluginError, match="has no method init and no aggregate"):
        package.simulate(scenario(defense=threading_lock()))


def test_whoever_may_name_the_packages_code_alone_calls_no_object_of_this_process():
    Middle, *_ = own_classes()
    named = scenario(defense=Middle()).defense.name
    assert callable(DEFENSES.find(named))

    with (
        only_our_own("the folder is another's"),
        pytest.raises(PluginError, match="and the folder is another's"),
    ):
        DEFENSES.find(named)


def test_an_attack_that_does_not_say_what_it_sees_is_refused():
    @dataclass(frozen=True)
    class Silent:
        def init(self):
            return None

        def corrupt(self, own, view, state):
            return own, state

    with pytest.raises(PluginError, match="does not say what it sees: knowledge must be a member"):
        package.simulate(scenario(attacks=[{"name": Silent(), "count": 1}]))


def threading_lock():
    import threading

    return threading.Lock()


def test_a_spec_takes_its_object_along_by_value():
    """A class that no other process can import goes whole; "no default" stays the same object."""
    Middle, *_ = own_classes()
    spec = scenario(defense=Middle(0.5)).run_spec()
    code = "import sys, pickle; from gauntlet.defenses import DEFENSES; s = pickle.load(sys.stdin.buffer);"
    code += "print(DEFENSES.build(s.defense.name, s.defense.options))"
    from ray import cloudpickle

    there = subprocess.run(
        [sys.executable, "-c", code], input=cloudpickle.dumps(spec), capture_output=True, check=False
    )

    assert there.stdout.decode().strip().endswith("Middle(stretch=0.5)"), there.stderr.decode()


@pytest.mark.slow
def test_serial_and_ray_give_the_same_bits_and_sweeps_carry_objects(tmp_path, ray_here):
    """What this process hands to its own workers travels by Ray's serialisation."""
    Middle, Scaled, Net = own_classes()
    own = {"defense": Scaled(0.5), "model": Net, "attacks": [{"name": SignFlip(), "count": 1}]}
    ray = {"pool": "ray", "num_workers": 2}
    here = package.simulate(scenario(**own), tmp_path / "here")
    there = package.simulate(scenario(**own, runtime=ray), tmp_path / "there")
    swept = package.sweep(
        scenario(model=Net, runtime=ray), tmp_path / "swept", over={"defense": [Middle(0.5), Scaled(0.5)]}
    )

    assert here.rounds.equals(there.rounds)
    assert [run.manifest["label"] for run in swept] == ["Middle", "Scaled"]
    assert len(swept.table) == 2
    assert len(package.load_sweep(tmp_path / "swept")) == 2


def test_a_module_is_held_as_it_is_now(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    found = scenario(model=net)
    first = package.simulate(found, tmp_path / "a")
    with torch.no_grad():
        net[1].weight.zero_()
    second = package.simulate(found, tmp_path / "b")

    assert first.rounds.equals(second.rounds)
    assert isinstance(first.model(), nn.Sequential)
    assert scenario(model=net).fingerprint() != found.fingerprint()


def test_a_run_says_that_it_is_made_of_objects(tmp_path):
    Middle, *_ = own_classes()
    run = package.simulate(scenario(defense=Middle()), tmp_path / "run")

    (name,) = run.manifest["live"]
    assert name in run.manifest["notes"][0]
    assert "made of live objects" in run._repr_html_()
    again = write_report([run.folder]).read_text(encoding="utf-8").partition('id="repeat"')[2]
    assert f"No file holds its live objects, {name}" in again
    assert "gauntlet run" not in again  # a file with that name in it would not find the object


SCRIPT = """
import sys
from dataclasses import dataclass
import gauntlet
from gauntlet.core.contracts import Verdict

@dataclass(frozen=True)
class Middle:
    stretch: float = 1.0

    def init(self):
        return None

    def aggregate(self, updates, state):
        return Verdict(self.stretch * updates.vectors.mean(dim=0)), state

def stop(row):
    if row["round"] == 1:
        raise SystemError("enough")

if __name__ == "__main__":
    tiny = dict(rounds=4, num_clients=4, data="digits", model={"name": "mlp", "hidden": [4]},
        runtime={"pool": "serial"}, checkpoint={"every": 1},
        training={"local_steps": 1, "batch_size": 2, "lr": 0.5})
    try:
        gauntlet.simulate(gauntlet.Scenario(defense=Middle(0.5), **tiny), sys.argv[1], callbacks=[stop])
    except gauntlet.GauntletError as error:
        print(error)
"""


@pytest.mark.slow
def test_another_process_goes_on_where_it_is_handed_the_same_object(tmp_path, gauntlet):
    """Elsewhere it is refused in one line; what is handed over may be the class as its source makes it."""
    (tmp_path / "script.py").write_text(SCRIPT)
    folder = tmp_path / "run"
    begun = subprocess.run(
        [sys.executable, "script.py", folder], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "callback 'stop' raised SystemError: enough" in begun.stdout, begun.stderr

    said = gauntlet("resume", folder).refusal()
    assert "is an object of a Python process" in said
    assert "gauntlet.resume(folder, objects=[...])" in said
    with pytest.raises(ResultsError, match="does not hold it"):
        package.resume(folder, [own_classes()[0]])
    space = {"__name__": "notebook"}
    exec(compile(SCRIPT, "<cell>", "exec"), space)
    run = package.resume(folder, [space["Middle"](0.5)])
    straight = package.simulate(
        package.Scenario(**run.manifest["scenario"]), tmp_path / "straight", callbacks=[]
    )

    assert run.rounds.equals(straight.rounds)
    assert len(run.rounds) == 4


def test_nothing_of_a_file_is_unpickled(tmp_path):
    """A folder that names an object of another process brings nothing but that name."""
    Middle, *_ = own_classes()
    run = package.simulate(scenario(defense=Middle()), tmp_path / "run")
    held = [p for p in Path(run.folder).rglob("*") if p.is_file() and b"\x80\x04\x95" in p.read_bytes()[:4]]

    assert held == []
    with pytest.raises(PluginError, match="does not hold it"):
        package.simulate(scenario(defense={"name": "live:Middle-0000000000000000"}))
