"""One round: every step does its part, in order, and a lie is somebody's."""

import pytest
import torch

from gauntlet.clients.codecs.parts.wire import encode_cohort
from gauntlet.core.contracts import CodecStreams, LocalTraining, NoGuarantee, Verdict
from gauntlet.core.errors import PluginError
from gauntlet.server.round import run_round
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec


def one_round(simulation, **changes):
    """Run round 0 with parts of the plan exchanged."""
    from dataclasses import replace

    plan = replace(simulation.plan, **changes)
    return run_round(plan, simulation.first, simulation.serial_pool())


def test_the_global_parameters_move_by_the_weighted_mean_of_the_updates(small):
    """Oracle: FedAvg by hand, sum n_i u_i / sum n_i, in float64."""
    simulation = prepare(small())
    after, outcome = one_round(simulation)
    u, n = outcome.honest.vectors.double(), outcome.honest.num_examples.double()

    expected = simulation.first.params + (n @ u / n.sum()).float()
    assert torch.allclose(after.params, expected, atol=1e-7)
    assert after.round == 1
    assert not torch.equal(after.params, simulation.first.params)


def test_every_byte_is_counted_both_ways(small):
    """By hand: 64*8+8 + 8*10+10 = 610 parameters. A frame is 20 + 4 * 610 bytes and 4 record headers; a
    record header is one byte each for id and tag, and two or one for numel and length (varint, 7 bits)."""
    after, outcome = one_round(prepare(small()))
    heads = (1 + 1 + 2 + 2) + (1 + 1 + 1 + 1) + (1 + 1 + 1 + 2) + (1 + 1 + 1 + 1)
    frame = 20 + 4 * 610 + heads

    assert {len(f) for f in outcome.frames} == {frame}
    assert after.bytes_up == after.bytes_down == 8 * frame


def test_the_defense_is_told_what_the_server_knows(small):
    simulation = prepare(small(seed=5))
    _, outcome = one_round(simulation)
    context = outcome.received.context

    assert (context.round, context.seed, context.layout) == (0, 5, simulation.plan.layout)
    assert torch.equal(context.params, simulation.first.params)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_an_update_that_is_not_finite_is_noted_and_left_out(small, value):
    spec = small(roles=(RoleSpec(PluginSpec("non_finite", {"value": value}), clients=(3,)),))
    after, outcome = one_round(prepare(spec))

    assert outcome.refused == {3: ("non_finite", "the update holds NaN or infinity")}
    assert outcome.received.client_ids.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert bool(after.params.isfinite().all())


def test_a_frame_that_does_not_decode_is_noted_and_left_out(small, monkeypatch):
    """One bit of one client's frame is turned on the wire."""
    from gauntlet.server.mail import sending as module

    def damaged(codec, updates, *rest):
        frames, state = encode_cohort(codec, updates, *rest)
        frames[5] = frames[5][:40] + bytes([frames[5][40] ^ 4]) + frames[5][41:]
        return frames, state

    monkeypatch.setattr(module, "encode_cohort", damaged)
    after, outcome = one_round(prepare(small(codec=PluginSpec("terngrad"))))

    assert outcome.refused == {5: ("undecodable", "frame: the checksum does not fit the bytes")}
    assert len(outcome.received) == 7
    assert bool(after.params.isfinite().all())


SUMMED = {
    "mean": {},
    "uniform": {"defense": PluginSpec("mean", {"weighting": "uniform"})},
    "fixed": {"defense": PluginSpec("mean", {"weighting": "fixed"})},
    "clipped and noised": {
        "defense": PluginSpec("mean", {"weighting": "fixed"}),
        "privacy": PluginSpec("gaussian", {"clip_norm": 0.1, "noise_multiplier": 1.0, "delta": 1e-5}),
    },
    "noised at home": {
        "privacy": PluginSpec("local_gaussian", {"clip_norm": 0.1, "noise_multiplier": 1.0, "delta": 1e-5})
    },
    "sampled": {"sampler": PluginSpec("fixed_size", {"cohort_size": 3})},
}


@pytest.mark.parametrize("changes", SUMMED.values(), ids=SUMMED)
def test_sums_formed_on_the_workers_are_the_same_round(small, changes):
    """Oracle: the round on single updates. Equal to rounding; everything that is recorded is equal."""
    single, summed = prepare(small(**changes)), prepare(small(rows=False, **changes))
    assert summed.plan.summed
    assert not single.plan.summed
    (a, one), (b, other) = one_round(single), one_round(summed)

    assert torch.allclose(a.params, b.params, rtol=1e-6, atol=1e-8)
    assert (a.bytes_up, a.bytes_down) == (b.bytes_up, b.bytes_down)
    assert torch.allclose(one.norms, other.norms, rtol=1e-6)  # rows are rounded to float32
    assert torch.equal(one.losses, other.losses)
    assert torch.equal(one.verdict.weights, other.verdict.weights)
    assert one.bytes_up.tolist() == other.bytes_up.tolist()
    assert one.received.client_ids.tolist() == other.received.client_ids.tolist()
    assert one.epsilon == other.epsilon


def test_an_update_that_is_not_finite_stays_out_of_a_sum(small):
    """A step of 1e38 sends every client to infinity: nobody is left, and the model stays."""
    how = LocalTraining(local_epochs=1, batch_size=16, lr=1e38)
    simulation = prepare(small(rows=False, training=how))
    after, outcome = one_round(simulation)

    assert simulation.plan.summed
    assert set(outcome.refused) == set(range(8))
    assert len(outcome.received) == 0
    assert torch.equal(after.params, simulation.first.params)


def test_a_sum_leaves_out_what_is_not_finite_and_clips_the_rest(small):
    """Clients of infinity stay out of a clipped sum too; oracle: the round on single updates."""
    changes = {**SUMMED["clipped and noised"], "training": LocalTraining(batch_size=16, lr=1e38)}
    single, summed = prepare(small(**changes)), prepare(small(rows=False, **changes))
    (a, one), (b, other) = one_round(single), one_round(summed)

    assert summed.plan.summed
    assert set(one.refused) == set(other.refused) == set(range(8))
    assert torch.allclose(a.params, b.params, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("clipping", ["fixed", "autos", "autov", "psac"])
def test_every_clipping_that_clients_do_alone_is_a_weight_in_a_sum(small, clipping):
    """Oracle: the round on single updates, each clipped in a row of its own."""
    options = {"clip_norm": 0.3, "noise_multiplier": 0.0, "clipping": clipping}
    changes = {"privacy": PluginSpec("gaussian", options)}
    single, summed = prepare(small(**changes)), prepare(small(rows=False, **changes))
    (a, one), (b, other) = one_round(single), one_round(summed)

    assert summed.plan.summed
    assert torch.allclose(a.params, b.params, rtol=1e-6, atol=1e-7)
    assert torch.allclose(one.norms, other.norms, rtol=1e-6)
    assert torch.allclose(one.raw_norms, other.raw_norms, rtol=1e-6)


NOT_SUMMED = {
    "an attack": {"roles": (RoleSpec(PluginSpec("sign_flip"), count=1),)},
    "poisoned data": {"roles": (RoleSpec(PluginSpec("label_flip", {"source": 1, "target": 7}), count=1),)},
    "a robust defense": {"defense": PluginSpec("median")},
    "a pre-aggregation": {"pre_aggregations": (PluginSpec("clipping", {"clip_norm": 1.0}),)},
    "a lossy codec": {"codec": PluginSpec("terngrad")},
    "a network that loses messages": {"network": PluginSpec("links", {"dropout": 0.5})},
    "somebody who looks": {"rows": True},
}


@pytest.mark.parametrize("changes", NOT_SUMMED.values(), ids=NOT_SUMMED)
def test_single_updates_are_sent_wherever_somebody_needs_them(small, changes):
    assert not prepare(small(**{"rows": False, **changes})).plan.summed


def test_a_frame_of_plain_numbers_is_written_when_somebody_looks(small):
    """Oracle: the frames as ``encode_cohort`` writes them."""
    simulation = prepare(small())
    _, outcome = one_round(simulation)
    plan = simulation.plan
    frames, _ = encode_cohort(plan.codec, outcome.sent, plan.layout, plan.public, None, CodecStreams(5, 0))

    assert list(outcome.frames) == frames
    assert outcome.frame(3) == frames[3]
    assert outcome.frame(99) is None
    assert outcome.bytes_up.tolist() == [len(f) for f in frames]


def test_a_cohort_in_which_everybody_lies_is_survived(small):
    spec = small(roles=(RoleSpec(PluginSpec("non_finite", {"value": "nan"}), count=8),))
    simulation = prepare(spec)
    after, outcome = one_round(simulation)

    assert len(outcome.refused) == 8
    assert torch.equal(after.params, simulation.first.params)


def test_an_empty_poisson_cohort_is_noised_and_charged(small):
    """DP needs it: skipping empty cohorts would tell that nobody was drawn."""
    spec = small(
        sampler=PluginSpec("poisson", {"sample_rate": 1e-6}),
        privacy=PluginSpec("gaussian", {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5}),
        defense=PluginSpec("mean", {"weighting": "fixed"}),
    )
    simulation = prepare(spec)
    after, outcome = one_round(simulation)

    assert len(outcome.sent) == 0
    assert not torch.equal(after.params, simulation.first.params)
    assert outcome.epsilon.value is not None


def test_a_message_that_does_not_arrive_counts_as_sent_but_not_as_received(small):
    spec = small(network=PluginSpec("links", {"dropout": 0.5}))
    after, outcome = one_round(prepare(spec))
    arrived = int(outcome.delivery.arrived.sum())

    assert 0 < arrived < 8
    assert len(outcome.received) == arrived
    assert after.bytes_up == sum(map(len, outcome.frames))


def test_the_defense_never_sees_more_than_the_clip_norm(small):
    spec = small(
        privacy=PluginSpec("gaussian", {"clip_norm": 0.01, "noise_multiplier": 0.0, "delta": 1e-5}),
        roles=(RoleSpec(PluginSpec("sign_flip", {"scale": 100.0}), clients=(0,)),),
    )
    simulation = prepare(spec)
    seen = []

    class Watch:
        def init(self):
            return None

        def aggregate(self, updates, state):
            seen.append(updates.vectors.norm(dim=1))
            return Verdict(updates.vectors.mean(dim=0)), state

    _, outcome = one_round(simulation, defense=Watch())

    assert float(outcome.sent.vectors[0].norm()) == pytest.approx(1.0, rel=1e-4)
    assert float(seen[0].max()) <= 0.01 * (1 + 1e-6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"defense": PluginSpec("mean")}, "weights"),
        ({"defense": PluginSpec("mean", {"weighting": "uniform"})}, "weights"),
        ({"defense": PluginSpec("median")}, "aggregator"),
        ({"pre_aggregations": (PluginSpec("nnm", {"num_byzantine": 1}),)}, "aggregator"),
        ({"network": PluginSpec("links", {"policy": "deadline", "deadline_seconds": 9.0})}, "selection"),
        ({"privacy": PluginSpec("none")}, "no_mechanism"),
    ],
)
def test_no_epsilon_where_something_between_clipping_and_noise_breaks_the_proof(small, changes, reason):
    base = {
        "sampler": PluginSpec("poisson", {"sample_rate": 0.9}),
        "privacy": PluginSpec("gaussian", {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5}),
        "defense": PluginSpec("mean", {"weighting": "fixed"}),
    }
    _, sound = one_round(prepare(small(**base)))
    _, broken = one_round(prepare(small(**{**base, **changes})))

    assert sound.epsilon.value > 0
    assert broken.epsilon.value is None
    assert broken.release == NoGuarantee(reason)


def test_a_plug_in_of_the_wrong_shape_is_named(small):
    class Short:
        def init(self):
            return None

        def aggregate(self, updates, state):
            return Verdict(updates.vectors.mean(dim=0)[:5]), state

    with pytest.raises(PluginError, match=r"aggregate of shape \(5,\), expected \(610,\)"):
        one_round(prepare(small()), defense=Short())
