"""A budget that a run cannot keep is refused before the run, with the way out; and the way out is one."""

from dataclasses import replace

import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

FIXED = PluginSpec("mean", {"weighting": "fixed"})


def private(name="gaussian", **options):
    """Return a mechanism with a budget of 8 for the whole run."""
    options = {"clip_norm": 0.5, "epsilon": 8.0, "delta": 1e-3, **options}
    return PluginSpec(name, {key: value for key, value in options.items() if value is not None})


POISSON = PluginSpec("poisson", {"sample_rate": 0.6})
LOSSY = PluginSpec("links", {"dropout": 0.3})
LATE = PluginSpec("links", {"policy": "deadline", "deadline_seconds": 9.0})
SLEEPERS = RoleSpec(PluginSpec("ipm"), clients=(0, 1), start_round=2)
REFUSED = [
    (
        "weighs clients by their examples",
        "weighting = 'fixed'",
        {"defense": PluginSpec("mean")},
        {"defense": FIXED},
    ),
    (
        "divides by who came",
        "weighting = 'fixed'",
        {"defense": PluginSpec("mean", {"weighting": "uniform"})},
        {"defense": FIXED},
    ),
    (
        "how far one client moves what defense 'median'",
        "use defense mean",
        {"defense": PluginSpec("median")},
        {"privacy": private("local_gaussian")},
    ),
    (
        "behind pre-aggregation 'nnm'",
        "no pre-aggregation",
        {"pre_aggregations": (PluginSpec("nnm", {"num_byzantine": 1}),)},
        {"pre_aggregations": ()},
    ),
    ("who comes in time", "wait_all", {"network": LATE}, {"network": LOSSY}),
    (
        "attack 'ipm' would see honest clients' updates",
        "knowledge = 'colluders'",
        {"roles": (SLEEPERS,)},
        {"roles": (replace(SLEEPERS, plugin=PluginSpec("ipm", {"knowledge": "colluders"})),)},
    ),
    (
        "sampled draws its clients from the cohort",
        "relation = 'zero_out'",
        {"roles": (RoleSpec(PluginSpec("sign_flip"), sampled=0.4),)},
        {"privacy": private(relation="zero_out")},
    ),
    (
        "goes out without noise",
        "leave out count_noise_std",
        {"privacy": private(clipping={"name": "quantile", "count_noise_std": 0.0})},
        {"privacy": private(clipping="quantile")},
    ),
]


@pytest.mark.parametrize(("why", "way", "changes", "mended"), REFUSED)
def test_a_budget_that_cannot_be_kept_is_refused_and_the_way_out_is_one(small, why, way, changes, mended):
    spec = small(**{"privacy": private(), "defense": FIXED, **changes})
    with pytest.raises(ScenarioError, match=why) as refused:
        prepare(spec)
    line = str(refused.value)
    assert line.startswith("epsilon = 8 was asked for, and ")
    assert way in line
    assert "\n" not in line
    run = prepare(replace(spec, **mended))
    last = list(run.steps(run.serial_pool()))[-1].outcome.epsilon
    assert last.reason is None
    assert last.value <= 8.0 * 1.05  # the live bound; the tight one below
    assert (
        run.plan.accountant.epsilon(list(run.steps(run.serial_pool()))[-1].state.ledger, tight=True).value
        <= 8
    )


LEARNT = {"path": "t.csv", "label": "c"}
GIVEN = {**LEARNT, "ranges": {"a": (0.0, 40.0)}, "classes": ("no", "yes")}


@pytest.mark.parametrize("name", ["gaussian", "local_gaussian"])
def test_what_a_table_learns_from_its_rows_is_under_no_epsilon(small, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{i},{'no' if i < 20 else 'yes'}" for i in range(40))
    (tmp_path / "t.csv").write_text(f"a,c\n{rows}\n")
    spec = small(
        data=PluginSpec("csv", LEARNT), num_clients=4, privacy=private(name), defense=FIXED, rounds=1
    )

    with pytest.raises(ScenarioError, match="the scale of a, the classes came from training examples"):
        prepare(spec)
    noisy = private(name, epsilon=None, noise_multiplier=2.0)
    for data, reason in ((LEARNT, "fitted_inputs"), (GIVEN, None)):
        run = prepare(replace(spec, privacy=noisy, data=PluginSpec("csv", data)))
        assert next(run.steps(run.serial_pool())).outcome.epsilon.reason == reason


@pytest.mark.parametrize("asked", [{"max_epsilon": 8.0}, {}])
def test_without_a_guarantee_a_run_without_a_budget_runs(small, asked):
    noisy = private(epsilon=None, noise_multiplier=2.0)
    spec = small(privacy=noisy, defense=PluginSpec("mean"), **asked)
    if asked:
        with pytest.raises(ScenarioError, match="max_epsilon = 8 was asked for, and defense 'mean' weighs"):
            prepare(spec)
    else:
        run = prepare(spec)
        assert next(run.steps(run.serial_pool())).outcome.epsilon.reason == "weights"


@pytest.mark.parametrize("name", ["skellam", "discrete_gaussian"])
@pytest.mark.parametrize(
    "changes",
    [{"sampler": POISSON}, {"network": LOSSY}, {"roles": (RoleSpec(PluginSpec("sign_flip"), clients=(0,)),)}],
    ids=["poisson", "dropout", "attacker"],
)
def test_shares_of_noise_that_will_be_missing_are_counted_before_the_run(small, name, changes):
    """The number that the refusal names is the least that suffices."""
    spec = small(privacy=private(name, bits=24), defense=FIXED, rounds=6, **changes)
    with pytest.raises(
        ScenarioError, match=r"fewer honest clients add .* set privacy.max_dropouts = \d+"
    ) as refused:
        prepare(spec)
    number = int(str(refused.value).split("max_dropouts = ")[1].split(";")[0])
    enough = replace(spec, privacy=private(name, bits=24, max_dropouts=number))
    run = prepare(enough)
    assert list(run.steps(run.serial_pool()))[-1].outcome.epsilon.reason is None
    with pytest.raises(ScenarioError, match="fewer honest clients"):
        prepare(replace(spec, privacy=private(name, bits=24, max_dropouts=number - 1)))


def test_budgets_of_examples_are_refused_alike(small):
    """DP-SGD keeps its budget under any defense; noise for examples by a trusted server does not."""
    prepare(small(privacy=private("dp_sgd"), defense=PluginSpec("median"), roles=(SLEEPERS,)))
