"""A run's plug-ins: each is built once, whoever asks for it and however often."""

from collections import Counter

import pytest

from gauntlet.core.errors import PluginError
from gauntlet.core.registry import Family
from gauntlet.server.assembly.parts import Parts
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec
from gauntlet.sims.scenario import load_scenario


@pytest.fixture
def built(monkeypatch) -> Counter[str]:
    """Count what families build from now on, by family and name."""
    counted: Counter[str] = Counter()
    build = Family.build

    def counting(self, name, options=None):
        counted[f"{self.name}: {name}"] += 1
        return build(self, name, options)

    monkeypatch.setattr(Family, "build", counting)
    return counted


def test_the_quickstart_builds_each_of_its_plug_ins_once(built):
    prepare(load_scenario("quickstart").run_spec())

    assert set(built.values()) == {1}
    assert sorted(built) == [
        "algorithms: fedavg",
        "audits: none",
        "client_defenses: none",
        "codecs: identity",
        "data_attacks: label_flip_all",
        "datasets: digits",
        "defenses: mean",
        "networks: ideal",
        "partitions: dirichlet",
        "privacy: none",
        "samplers: full",
        "schedules: synchronous",
        "server_optimizers: sgd",
        "servers: honest",
        "tasks: classification",
        "update_attacks: sign_flip",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"defense": PluginSpec("fltrust"), "root_examples": 30},
        {
            "sampler": PluginSpec("poisson", {"sample_rate": 0.5}),
            "privacy": PluginSpec("gaussian", {"clip_norm": 1.0, "epsilon": 4.0, "delta": 1e-3}),
            "defense": PluginSpec("mean", {"weighting": "fixed"}),
            "audit": PluginSpec("one_run", {"num_canaries": 4}),
        },
        {
            "privacy": PluginSpec("dp_sgd", {"clip_norm": 1.0, "epsilon": 4.0, "delta": 1e-3}),
            "model": PluginSpec("logistic_regression"),
        },
        {
            "pre_aggregations": (PluginSpec("nnm", {"num_byzantine": 1}),),
            "defense": PluginSpec("krum", {"num_byzantine": 1}),
            "roles": (RoleSpec(PluginSpec("sign_flip"), sampled=0.3),),
        },
    ],
    ids=["root", "canaries", "examples", "roles"],
)
def test_a_run_of_any_kind_builds_each_of_its_plug_ins_once(small, built, changes):
    """With examples of the server's own two more are built: their task, and that it hides nothing."""
    prepare(small(**changes))

    alone = built.pop("privacy: none", 1)
    clippings = {name: times for name, times in built.items() if name.startswith("clippings")}
    assert alone == 1
    assert built.pop("tasks: classification") == (2 if "root_examples" in changes else 1)
    assert {name for name, times in built.items() if times > 1} - clippings.keys() == set()


def test_an_algorithm_with_halves_of_its_own_stands_for_its_sampler_and_optimizer(small, built):
    parts = Parts(small(algorithm=PluginSpec("dsgld", {"step_size": 1e-4})))

    assert parts.sampler is parts.algorithm
    assert parts.optimizer is parts.algorithm
    assert not [name for name in built if name.startswith(("samplers", "server_optimizers"))]


@pytest.mark.parametrize("field", ["codec", "network", "defense", "server_optimizer", "sampler", "audit"])
def test_a_name_that_does_not_exist_is_refused_before_any_data_are_loaded(small, monkeypatch, field):
    monkeypatch.setattr("gauntlet.server.simulation.load_data", lambda _: pytest.fail("data were loaded"))
    spec: RunSpec = small(**{field: PluginSpec("nonsense")})

    with pytest.raises(PluginError, match=r"unknown .* 'nonsense'"):
        prepare(spec)
