"""Ideal secure aggregation: the server sees a sum; the run is the same to the last bit."""

from dataclasses import replace

import pytest
import torch

from gauntlet.core.contracts import NoGuarantee
from gauntlet.core.errors import ScenarioError
from gauntlet.server.recording.observed_sum import observed_sum
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

SECURE = PluginSpec("secure_sum")
UNIFORM = PluginSpec("mean", {"weighting": "uniform"})
SIGHTLESS = '''
class Sightless:
    """A linear defense that must never be handed a message."""

    linear, individual = True, False

    def init(self):
        return None

    def aggregate(self, updates, state):
        raise AssertionError(f"it sees {len(updates)} messages")

    def counts(self, num_examples):
        return num_examples.double() ** 0.5

    def denominator(self, counts, expected_size):
        return float(counts.sum()) or 1.0
'''


def run(spec):
    simulation = prepare(spec)
    return simulation, list(simulation.steps(simulation.serial_pool()))


@pytest.fixture
def lossy(small):
    """A run in which clients lie, are drawn by chance, and lose messages."""
    return small(
        sampler=PluginSpec("poisson", {"sample_rate": 0.7}),
        network=PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.2}),
        roles=(
            RoleSpec(PluginSpec("sign_flip"), count=1),
            RoleSpec(PluginSpec("non_finite"), clients=(3,)),
            RoleSpec(PluginSpec("alie"), clients=(1, 2)),
        ),
    )


@pytest.mark.parametrize("weighting", ["num_examples", "uniform", "fixed"])
def test_a_run_has_the_same_bits_as_without(lossy, weighting):
    spec = replace(lossy, defense=PluginSpec("mean", {"weighting": weighting}))
    _, plain = run(spec)
    simulation, secure = run(replace(spec, privacy=SECURE))

    for one, other in zip(plain, secure, strict=True):
        assert torch.equal(one.state.params, other.state.params)
        assert torch.equal(one.outcome.verdict.weights, other.outcome.verdict.weights)
        assert one.state.bytes_up == other.state.bytes_up
    for step in secure:
        came = step.outcome.received
        assert len(came) < len(step.outcome.sent)  # client 3 sends NaN; others are lost
        seen = observed_sum(simulation.plan, step.outcome)
        counts = came.num_examples.double() if weighting == "num_examples" else torch.ones(len(came)).double()
        by_hand = sum(c * u for c, u in zip(counts, came.vectors.double(), strict=True))
        assert torch.allclose(seen.vector.double(), by_hand, rtol=1e-6, atol=1e-9)
        assert seen.client_ids == tuple(came.client_ids.tolist())
        assert seen.weight == float(counts.sum())
        assert seen.by_examples == (weighting == "num_examples")
        # what the server applies is what it saw, over what it knows
        size = simulation.plan.sampling.expected_size if weighting == "fixed" else seen.weight
        assert torch.allclose(step.outcome.verdict.aggregate, seen.vector / size, rtol=1e-6, atol=1e-9)


def test_workers_that_add_up_make_the_same_run(small):
    """Nobody needs a single message, so that nobody is sent one."""
    fast = small(rows=False, privacy=SECURE)
    simulation, summed = run(fast)
    _, rows = run(replace(fast, rows=True))

    assert simulation.plan.summed
    assert torch.equal(summed[-1].state.params, rows[-1].state.params)


def test_the_defense_is_handed_no_message(small, tmp_path):
    """Broken once by handing it the rows: its ``aggregate`` then raises."""
    place = tmp_path / "sightless.py"
    place.write_text(SIGHTLESS)
    spec = small(privacy=SECURE, defense=PluginSpec(f"{place}:Sightless"))
    _, (step, *_) = run(spec)

    came = step.outcome.received
    counts = came.num_examples.double().sqrt()
    mean = (counts[:, None] * came.vectors.double()).sum(dim=0) / counts.sum()
    assert torch.allclose(step.outcome.verdict.aggregate.double(), mean, rtol=1e-6, atol=1e-9)


def test_nothing_is_proved_and_the_reason_is_said(small):
    _, steps = run(small(privacy=SECURE))
    assert {step.outcome.release for step in steps} == {NoGuarantee("no_mechanism")}
    assert steps[-1].outcome.epsilon.value is None


def test_a_round_without_a_message_leaves_the_model(small):
    lost = PluginSpec("links", {"dropout": 0.9})
    simulation, steps = run(small(privacy=SECURE, network=lost, num_clients=2, rounds=6))
    before = simulation.first.params
    empty = 0
    for step in steps:
        if not len(step.outcome.received):
            assert torch.equal(step.state.params, before)
            assert observed_sum(simulation.plan, step.outcome) is None
            empty += 1
        before = step.state.params
    assert empty


ONLY = "with privacy 'secure_sum' the server sees only the sum of the updates, and "


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"defense": PluginSpec("median")}, ONLY + "defense 'median' needs single updates; use mean"),
        ({"defense": PluginSpec("mud_hog")}, ONLY + "defense 'mud_hog' needs single updates; use mean"),
        (
            {"pre_aggregations": (PluginSpec("nnm", {"num_byzantine": 1}),)},
            ONLY + "pre-aggregation 'nnm' needs single updates; leave it out",
        ),
        (
            {"codec": PluginSpec("topk", {"density": 0.1})},
            ONLY + "what codec 'topk' makes cannot be added up; use identity",
        ),
        ({"codec": PluginSpec("fp16")}, ONLY + "what codec 'fp16' makes cannot be added up; use identity"),
        (
            {"codec": PluginSpec("error_feedback", {"codec": {"name": "topk", "density": 0.1}})},
            ONLY + "what codec 'error_feedback' makes cannot be added up; use identity",
        ),
        (
            {"schedule": PluginSpec("buffered", {"buffer_size": 2, "concurrency": 4})},
            "counts messages of clients that did not begin together, and privacy 'secure_sum' sums those of "
            "one cohort; use schedule synchronous",
        ),
        (
            {
                "algorithm": PluginSpec("heterofl"),
                "model": PluginSpec("mlp", {"hidden": [8]}),
                "defense": UNIFORM,
            },
            "with privacy 'secure_sum' the server sees only the sum of whole messages",
        ),
        (
            {"audit": PluginSpec("one_shot_canaries", {"num_canaries": 2})},
            "audit 'one_shot_canaries' needs a privacy mechanism that clips, got 'secure_sum'",
        ),
        ({"max_epsilon": 3.0}, "privacy 'secure_sum' adds no noise: choose a mechanism and its noise"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_what_needs_single_messages_is_refused_in_one_line(small, changes, words):
    with pytest.raises(ScenarioError) as told:
        prepare(small(privacy=SECURE, **changes))
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("algorithm", ["scaffold", "feddyn", "ditto"])
def test_what_else_clients_send_and_remember_goes_on(small, algorithm):
    spec = small(algorithm=PluginSpec(algorithm), model=PluginSpec("mlp", {"hidden": [8]}), defense=UNIFORM)
    _, plain = run(spec)
    simulation, secure = run(replace(spec, privacy=SECURE))
    assert torch.equal(plain[-1].state.params, secure[-1].state.params)
    length = simulation.plan.exchange.up.num_parameters
    assert observed_sum(simulation.plan, secure[-1].outcome).vector.shape == (length,)
