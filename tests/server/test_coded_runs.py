"""Gradient coding in whole runs: what decodes is the gradient of all examples, whoever straggles.

Oracles: the same run without a code, full-batch gradient descent by clients without copies, and the sum of
what uncoded clients send, in float64.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from whole_runs import fields
from whole_runs import rounds as run

from gauntlet.clients.algorithms.parts.coded_jobs import code_of, decoded, whole
from gauntlet.core import trees
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.server.networks.ideal import Ideal
from gauntlet.server.schedules.parts.coded_rounds import Multiplexed, SelectiveRepeat
from gauntlet.server.spec import PluginSpec, RoleSpec

LATE = {
    "network": PluginSpec("links", {"latency_seconds": 1.0, "jitter": 1.0}),
    "schedule": PluginSpec("over_select", {"goal": 11}),
}


@pytest.fixture
def coded(small):
    """Sixteen clients of unequal size that code; keywords replace fields."""

    def spec(options=None, name="gc", **changes):
        return small(
            **{
                "rounds": 4,
                "num_clients": 16,
                "partition": PluginSpec("dirichlet", {"alpha": 0.5}),
                "model": PluginSpec("logistic_regression"),
                "algorithm": PluginSpec(name, {"lr": 1.0, **(options or {})}),
                "rows": False,
                **changes,
            }
        )

    return spec


@pytest.mark.parametrize("form", ["cyclic", "repeated"])
def test_a_run_without_its_stragglers_is_the_run_of_all_examples(coded, form):
    """Eleven of sixteen count in each round; in float32 nothing tells the runs apart."""
    spare = 5 if form == "cyclic" else 3
    late = {**LATE, "schedule": PluginSpec("over_select", {"goal": 16 - spare})}
    _, found = run(coded({"num_stragglers": spare, "form": form}, **late))
    _, uncoded = run(coded({"num_stragglers": 0}))
    training = LocalTraining(lr=1.0)
    _, plain = run(coded(algorithm=PluginSpec("gradient_descent"), training=training))
    assert len({tuple(step.outcome.received.client_ids.tolist()) for step in found}) > 1
    for one, other, descent in zip(found, uncoded, plain, strict=True):
        assert len(one.outcome.received) == 16 - spare
        assert one.outcome.verdict.fallback == ""
        torch.testing.assert_close(one.state.params, other.state.params, rtol=2e-7, atol=1e-9)
        torch.testing.assert_close(one.state.params, descent.state.params, rtol=1e-5, atol=1e-6)
    assert found[-1].state.clock < 0.7 * run(coded(network=LATE["network"]))[1][-1].state.clock


def test_what_eleven_of_sixteen_sent_decodes_to_eight_digits(coded):
    """The truth is the float64 sum of what uncoded clients send: each the sum over its own examples."""
    _, (found, *_) = run(coded({"num_stragglers": 5}, rounds=1, rows=True, **LATE))
    simulation, (uncoded, *_) = run(coded({"num_stragglers": 0}, rounds=1, rows=True))
    truth, came = whole(uncoded.outcome.sent.vectors).sum(dim=0), found.outcome.received
    total = decoded(code_of("cyclic", 16, 5, 0), came.client_ids, came.vectors)
    assert float((total - truth).norm()) < 1e-8 * float(truth.norm())
    assert float(total[-1]) == pytest.approx(sum(len(simulation.data.client(i)[1]) for i in range(16)))
    alone = decoded(code_of("cyclic", 16, 5, 0), came.client_ids, came.vectors.bfloat16().float())
    assert float((alone - truth).norm()) > 1e-6 * float(truth.norm())  # what a lossy codec would cost


def test_a_message_claims_its_chunks_so_that_clocks_by_examples_tell_the_load(coded):
    simulation, (step, *_) = run(coded({"num_stragglers": 2}, rounds=1, rows=True))
    sizes = [len(simulation.data.client(i)[1]) for i in range(16)]
    held = [sum(sizes[(i + j) % 16] for j in range(3)) for i in range(16)]
    assert step.outcome.sent.num_examples.tolist() == held


def test_where_too_few_came_the_model_stays_and_the_round_says_why(coded):
    late = {**LATE, "schedule": PluginSpec("over_select", {"goal": 10})}
    _, steps = run(coded({"num_stragglers": 5}, rounds=2, **late))
    for step in steps:
        assert step.outcome.verdict.fallback.startswith("10 of 16 results do not give the sum: off by")
        assert torch.equal(step.state.params, step.outcome.broadcast.params)


@dataclass(frozen=True)
class Slowed:
    """Everybody takes a second, but for none to three clients a round, who take seven."""

    blind = True
    complete = True
    timed_by = ()

    def deliver(self, examples, bytes_down, bytes_up, generator):
        return Ideal().deliver(examples, bytes_down, bytes_up, generator)

    def own_seconds(self, client_ids, round_, seed):
        draw = np.random.default_rng(round_)
        late = draw.choice(16, draw.integers(4), replace=False)
        return np.where(np.isin(client_ids, late), 7.0, 1.0)


BURSTS = [
    ("sr_sgc", {"burst": 1, "window": 2, "most_late": 3}),
    ("sr_sgc", {"burst": 2, "window": 3, "most_late": 4}),
    ("m_sgc", {"burst": 1, "window": 2, "most_late": 3}),
    ("m_sgc", {"burst": 2, "window": 3, "most_late": 4}),
]
SPECS = [("gc", {"num_stragglers": 5}), BURSTS[1], BURSTS[3]]


def bursts(options):
    return {"network": PluginSpec(f"{__file__}:Slowed"), "schedule": PluginSpec("bursty", options)}


@pytest.mark.parametrize(("name", "options"), BURSTS, ids=str)
def test_models_in_turn_go_the_way_of_a_run_without_a_code(coded, name, options):
    """A model that was told k jobs is that of the uncoded run after k rounds, whoever straggled."""
    delay = options["burst"] + (0 if name == "sr_sgc" else options["window"] - 2)
    _, uncoded = run(coded({"num_stragglers": 0}))
    _, steps = run(coded(options, name, rounds=3 * (delay + 1), **bursts(options)))
    assert sum(len(step.outcome.received) < 16 for step in steps) >= 3
    start = uncoded[0].outcome.broadcast.params
    expected = [start, *(step.state.params for step in uncoded)]
    assert name == "m_sgc" or any(step.state.optimizer["again"] for step in steps)
    for step in steps:
        told = step.state.round // (delay + 1)  # jobs of the model whose turn is next
        first = step.state.round <= delay
        assert step.outcome.verdict.fallback.startswith("the first job is told in round" if first else "")
        assert first or step.outcome.verdict.fallback == ""
        torch.testing.assert_close(step.state.params, expected[told], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), BURSTS[1::2], ids=str)
def test_a_job_that_is_not_told_leaves_its_model_as_it_was(coded, name, options):
    """Three of sixteen never count: more than a code spares where nothing can be repeated in time."""
    late = {**LATE, "schedule": PluginSpec("over_select", {"goal": 9})}
    _, steps = run(coded(options, name, rounds=6, **late))
    assert all("the model stays as it was" in step.outcome.verdict.fallback for step in steps)
    assert torch.equal(steps[-1].state.params, steps[0].outcome.broadcast.params)


@pytest.mark.parametrize(("name", "options"), [SPECS[0], *BURSTS[::2]], ids=str)
def test_one_client_that_is_never_finite_stops_m_sgc_alone(coded, name, options):
    """The others decode without it; its own parts of a multiplexed job nobody else holds."""
    spec = coded(options, name, roles=(RoleSpec(PluginSpec("non_finite"), clients=(5,)),))
    _, steps = run(spec)
    assert all(5 in step.outcome.refused for step in steps)
    told = [step.outcome.verdict.fallback == "" for step in steps]
    if name == "m_sgc":
        assert "1 clients did not deliver all parts of their own" in steps[-1].outcome.verdict.fallback
        assert not any(told)
    else:
        assert all(told[1:])
    assert torch.equal(steps[-1].state.params, steps[0].outcome.broadcast.params) == (name == "m_sgc")


@pytest.mark.parametrize(("name", "options"), BURSTS, ids=str)
def test_what_clients_work_on_is_the_load_of_the_scheme(coded, name, options):
    """Krishnan et al. (2023), Section 3: without stragglers everybody works on the load, to whole rows."""
    burst, window, most = options.values()
    scheme = (Multiplexed if name == "m_sgc" else SelectiveRepeat)(16, most, burst, window)
    spec = coded(options, name, rounds=scheme.delay + 1, partition=PluginSpec("iid"), rows=True)
    simulation, steps = run(spec)
    sizes = [len(simulation.data.client(i)[1]) for i in range(16)]
    claimed = steps[-1].outcome.sent.num_examples.double().mean() / sum(sizes)
    assert float(claimed) == pytest.approx(scheme.load, rel=0.03)


@pytest.mark.parametrize(("name", "options"), SPECS[1:], ids=str)
def test_a_run_taken_up_from_a_checkpoint_ends_with_the_same_bits(coded, name, options):
    spec = coded(options, name, rounds=6, **bursts(options))
    _, steps = run(spec)
    middle = steps[3].state
    packed = trees.unpack(*trees.pack(fields(middle)))
    _, rest = run(spec, state=replace(middle, **packed))
    assert len(rest) == 2
    assert torch.equal(rest[-1].state.params, steps[-1].state.params)
    assert trees.equal(rest[-1].state.optimizer, steps[-1].state.optimizer)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize(("name", "options"), SPECS, ids=str)
def test_any_pool_gives_the_same_bits(coded, name, options):
    spec = coded(options, name, rounds=6, **(LATE if name == "gc" else bursts(options)))
    _, serial = run(spec)
    _, ray = run(spec, lambda simulation: simulation.ray_pool(2))
    assert torch.equal(ray[-1].state.params, serial[-1].state.params)
    assert trees.equal(ray[-1].state.optimizer, serial[-1].state.optimizer)


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        ({"num_stragglers": 16}, {}, "16 clients cannot spare 16, allowed: 0 to 15"),
        (
            {"num_stragglers": 2, "form": "repeated"},
            {},
            "needs a multiple of 3 clients, got 16",
        ),
        (
            {},
            {"sampler": PluginSpec("fixed_size", {"cohort_size": 8})},
            r"leave \[sampler\] out",
        ),
        ({}, {"defense": PluginSpec("krum", {"num_byzantine": 1})}, r"own defense: leave \[defense\] out"),
        ({}, {"codec": PluginSpec("qsgd")}, "'qsgd' loses of each; use identity"),
        ({}, {"codec_down": PluginSpec("fp16")}, "codec_down 'fp16' changes them on the way; use identity"),
        ({}, {"schedule": PluginSpec("buffered", {"buffer_size": 4})}, "that began in the same round"),
        (
            {},
            {"privacy": PluginSpec("gaussian", {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5})},
            "algorithm 'gc' goes with privacy none, got 'gaussian'",
        ),
    ],
)
def test_what_a_linear_code_does_not_go_with_is_refused_in_one_line(coded, options, changes, words):
    with pytest.raises((ScenarioError, PluginError), match=words) as caught:
        run(coded(options, **changes))
    assert "\n" not in str(caught.value)
