"""Whole runs in which clients train models of several widths. Oracle: small torch networks, built by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.clients.codecs.wire import decode_cohort, encode_cohort
from gauntlet.clients.minibatches import minibatches
from gauntlet.core.contracts import CodecStreams, LocalTraining, NoGuarantee
from gauntlet.core.errors import GauntletError, ScenarioError
from gauntlet.core.seeds import generator
from gauntlet.core.trees import equal
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

UNIFORM = PluginSpec("mean", {"weighting": "uniform"})
TRAINING = LocalTraining(local_epochs=2, batch_size=16, lr=0.1, momentum=0.5, weight_decay=0.01)
WIDTHS = {1.0: (12, 6), 0.5: (6, 3), 0.25: (3, 2)}  # ceil of what is kept of 12 and 6


def hetero(**options) -> PluginSpec:
    return PluginSpec("heterofl", {"rates": (1.0, 0.5, 0.25), "mode": "fix", **options})


@pytest.fixture
def levels(small):
    """Return a spec of nine clients at three levels on two hidden layers; keywords replace its fields."""
    base = small(
        num_clients=9,
        training=TRAINING,
        vectorize="off",
        model=PluginSpec("mlp", {"hidden": [12, 6]}),
        partition=PluginSpec("pathological", {"classes_per_client": 4}),
        algorithm=hetero(),
        defense=UNIFORM,
    )
    return lambda **changes: replace(base, **changes)


def rounds(spec, pool=None, state=None):
    simulation = prepare(spec)
    pool = pool(simulation) if pool else simulation.serial_pool()
    found = list(simulation.steps(pool, state))
    pool.close()
    return simulation, found


def fields(state):
    return {name: getattr(state, name) for name in state.__dataclass_fields__}


def trained_alone(params: list[torch.Tensor], x, y, batches, rate: float, held) -> list[torch.Tensor]:
    """Return one client's parameters after local SGD on its own small network, in float64, the slow way."""
    wide = 1 if rate is None else rate
    layers = [nn.Linear(*reversed(weight.shape)).double() for weight in params[::2]]
    own = [p for layer in layers for p in (layer.weight, layer.bias)]
    with torch.no_grad():
        for parameter, value in zip(own, params, strict=True):
            parameter.copy_(value)
    steps = torch.optim.SGD(
        own, lr=TRAINING.lr, momentum=TRAINING.momentum, weight_decay=TRAINING.weight_decay
    )
    for rows in batches:
        h = x[rows].flatten(1).double()
        for layer in layers[:-1]:
            h = torch.relu(layer(h) / wide)
        steps.zero_grad()
        functional.cross_entropy(layers[-1](h) * held, y[rows]).backward()
        steps.step()
    return [p.detach() for p in own]


def cut(tensors: list[torch.Tensor], rate: float) -> list[torch.Tensor]:
    """Return the leading entries of three linear layers at a rate, by hand."""
    a, b = WIDTHS[rate]
    w1, b1, w2, b2, w3, b3 = tensors
    return [w1[:a], b1[:a], w2[:b, :a], b2[:b], w3[:, :b], b3]


def expected_updates(simulation, params: torch.Tensor, round_: int) -> list[tuple[list, torch.Tensor]]:
    """Return for each client what it changes of every tensor, NaN where it has nothing; its labels held."""
    layout, found = simulation.plan.layout, []
    whole = [p.double() for p in layout.views(params).values()]
    for client in range(9):
        x, y = simulation.data.client(client)
        rate = (1.0, 0.5, 0.25)[client // 3]
        held = torch.bincount(y, minlength=10) > 0
        batches = minibatches(len(y), TRAINING, generator(7, "batches", round_, client))
        begun = cut(whole, rate)
        ended = trained_alone(begun, x, y, batches, rate, held.double())
        change = [torch.full_like(p, float("nan")) for p in whole]
        for home, new, old in zip(cut(change, rate), ended, begun, strict=True):
            home.copy_(new - old)
        for tensor in change[-2:]:
            tensor[~held] = float("nan")
        found.append((change, held))
    return found


@pytest.mark.parametrize("vectorize", [pytest.param("on", marks=pytest.mark.slow), "off"])
def test_clients_train_the_small_networks_and_the_server_averages_over_who_has_a_coordinate(
    levels, vectorize
):
    """Three rounds, each from the engine's own parameters: every client's message, and the next model."""
    simulation, found = rounds(levels(vectorize=vectorize))
    before = simulation.first.params
    for step in found:
        expected = expected_updates(simulation, before, step.outcome.round)
        flat = torch.stack([torch.cat([t.flatten() for t in change]) for change, _ in expected])  # [K, P]
        there = ~flat.isnan()

        sent = step.outcome.sent
        assert torch.equal(sent.presence.levels[sent.presence.level], there)
        torch.testing.assert_close(sent.vectors.double(), flat.nan_to_num(0), atol=1e-5, rtol=0)
        mean = flat.nan_to_num(0).sum(dim=0) / there.sum(dim=0).clamp(min=1)
        torch.testing.assert_close(step.state.params.double(), before + mean, atol=1e-5, rtol=0)
        before = step.state.params
    assert not bool(there.all())


def test_stacked_clients_of_one_width_train_as_each_one_alone(levels):
    """To rounding, logits of other labels at 0 and all: a small case of the test above."""
    spec = levels(
        rounds=1, num_clients=3, algorithm=hetero(rates=(0.5,)), model=PluginSpec("mlp", {"hidden": [6]})
    )
    stacked, alone = (rounds(replace(spec, vectorize=way))[1][0].outcome for way in ("on", "off"))

    torch.testing.assert_close(stacked.sent.vectors, alone.sent.vectors, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(stacked.losses, alone.losses)


def test_whole_models_whose_labels_are_all_there_are_uniform_fedavg_bit_for_bit(levels):
    plain = rounds(levels(algorithm=PluginSpec("fedavg"), partition=PluginSpec("iid")))[1]
    ours = rounds(levels(algorithm=hetero(rates=(1.0, 1.0)), partition=PluginSpec("iid")))[1]

    for a, b in zip(plain, ours, strict=True):
        assert equal(fields(a.state), fields(b.state))
        assert torch.equal(a.outcome.sent.vectors, b.outcome.sent.vectors)
        assert a.score == b.score
    assert ours[0].outcome.sent.presence is None


def test_bytes_follow_the_coordinates_that_are_there(levels):
    """By hand: 64-12-6-10 has 928 parameters, 64-6-3-10 451, 64-3-2-10 233; all labels, or four of ten."""
    sizes = {12: 64 * 12 + 12 + 12 * 6 + 6, 6: 64 * 6 + 6 + 6 * 3 + 3, 3: 64 * 3 + 3 + 3 * 2 + 2}
    narrow = {12: 7, 6: 4, 3: 3}  # a row of the last layer: inputs and bias
    simulation, found = rounds(levels(rounds=1))
    state, outcome = found[0].state, found[0].outcome
    labels = (simulation.data.label_counts() > 0).sum(axis=1)

    expected = [sizes[w] + narrow[w] * labels[k] for k, w in enumerate(np.repeat([12, 6, 3], 3))]
    heads = outcome.bytes_up - 4 * np.array(expected)
    assert (heads > 20).all()
    assert (heads < 20 + 6 * 8).all()
    assert [len(frame) for frame in outcome.frames] == outcome.bytes_up.tolist()
    down = 3 * 4 * sum(sizes[w] + 10 * narrow[w] for w in (12, 6, 3))
    assert 9 * 20 < outcome.bytes_received - down < 9 * (20 + 6 * 8)
    assert (state.bytes_up, state.bytes_down) == (outcome.bytes_up.sum(), outcome.bytes_received)


def test_a_rule_that_cannot_deal_with_absent_coordinates_is_refused(levels):
    with pytest.raises(
        ScenarioError, match="defense 'krum' cannot deal with absent coordinates; allowed: mean, "
    ):
        prepare(levels(defense=PluginSpec("krum", {"num_byzantine": 1})))
    with pytest.raises(
        ScenarioError, match="median, trimmed_mean, norm_clipping, or one of yours that declares"
    ):
        prepare(levels(defense=PluginSpec("flower:FedMedian")))
    with pytest.raises(
        ScenarioError, match="pre-aggregation 'nnm' cannot deal with absent coordinates; allowed"
    ):
        prepare(levels(pre_aggregations=(PluginSpec("nnm", {"num_byzantine": 1}),)))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"defense": PluginSpec("mean")}, "needs a mean that weighs all clients alike"),
        (
            {"roles": (RoleSpec(PluginSpec("alie"), count=2),)},
            "attack 'alie' looks at several clients' updates as if they had the same coordinates; allowed: ",
        ),
        (
            {"algorithm": hetero(mode="dynamic"), "codec": PluginSpec("error_feedback")},
            "other ones in each round, and codec 'error_feedback' remembers",
        ),
        ({"codec_down": PluginSpec("fp16")}, "codec_down 'fp16' encodes whole ones; use identity"),
        (
            {"privacy": PluginSpec("skellam", {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3})},
            "the server sees only the sum",
        ),
        (
            {"model": PluginSpec("logistic_regression", {"reference_class": True})},
            "needs a row of the last layer for each of the 10 labels of digits, and the model's has 9",
        ),
    ],
    ids=["weights", "alie", "residuals", "downlink", "sums", "model"],
)
def test_what_does_not_go_with_levels_is_one_line(levels, changes, complaint):
    with pytest.raises(GauntletError) as caught:
        prepare(levels(**changes))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def eventful(levels):
    """A run with levels in which everything takes part that has a state or draws random numbers."""
    return levels(
        rounds=4,
        num_clients=12,
        algorithm=hetero(mode="dynamic"),
        model=PluginSpec("mlp", {"hidden": [12, 6], "dropout": 0.2}),
        sampler=PluginSpec("poisson", {"sample_rate": 0.7}),
        codec=PluginSpec("terngrad"),
        network=PluginSpec("links", {"bandwidth_down": 1e3, "jitter": 0.3, "dropout": 0.2}),
        privacy=PluginSpec("gaussian", {"clip_norm": 0.5, "noise_multiplier": 0.4, "delta": 0.01}),
        defense=PluginSpec("norm_clipping", {"noise_std": 0.01}),
        server_optimizer=PluginSpec("adam", {"lr": 0.01}),
        roles=(
            RoleSpec(PluginSpec("additive_noise", {"std": 0.1}), count=1),
            RoleSpec(PluginSpec("label_flip", {"source": 1, "target": 7}), clients=(2,)),
        ),
    )


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ray_gives_the_same_bits(eventful, ray_here, workers):
    serial = rounds(eventful)[1]
    ray = rounds(eventful, lambda simulation: simulation.ray_pool(workers))[1]

    for a, b in zip(serial, ray, strict=True):
        assert equal(fields(a.state), fields(b.state))
        assert torch.equal(a.outcome.received.vectors, b.outcome.received.vectors)
        assert (a.outcome.bytes_up == b.outcome.bytes_up).all()


def test_a_run_goes_on_from_any_round_to_the_same_bits(eventful, tmp_path):
    whole = rounds(eventful)[1]
    for stop in (1, 3):
        save_checkpoint(tmp_path / str(stop), whole[stop - 1].state, "run")
        state = load_checkpoint(tmp_path / str(stop), "run")
        rest = rounds(eventful, state=state)[1]
        assert equal(fields(rest[-1].state), fields(whole[-1].state))


def test_levels_are_drawn_anew_by_the_server_and_narrow_clients_get_there_sooner(eventful):
    """Links of 1 kB/s down and nothing else but jitter: seconds are the bytes received times a factor."""
    still = PluginSpec("links", {"bandwidth_down": 1e3})
    _, found = rounds(replace(eventful, network=still))
    drawn = []
    for step in found:
        sent, seconds = step.outcome.sent, step.outcome.delivery.client_seconds
        level = [sent.presence.sizes()[k].item() for k in range(len(sent))]
        drawn.append(dict(zip(sent.client_ids.tolist(), level, strict=True)))
        assert step.outcome.bytes_received == pytest.approx(1e3 * seconds.sum())
        assert len(set(np.round(seconds, 6))) <= 3
    both = drawn[0].keys() & drawn[1].keys()
    assert any(drawn[0][client] != drawn[1][client] for client in both)


@pytest.mark.parametrize("codec", ["topk", "terngrad", "fp16", "error_feedback"])
def test_codecs_send_what_a_client_has_and_nothing_else(levels, codec):
    """Absent coordinates come back as exact zeros; a narrow client's frame is shorter than a wide one's."""
    for step in rounds(levels(codec=PluginSpec(codec), rounds=2))[1]:
        received, sizes = step.outcome.received, step.outcome.bytes_up
        assert len(received) == 9
        assert not bool(received.vectors[~received.presence.levels[received.presence.level]].any())
        assert bool((received.vectors != 0).any(dim=1).all())
        assert max(sizes[6:]) < min(sizes[:3])


def test_error_feedback_keeps_a_residual_of_each_clients_own_length(levels):
    """p - d of what was counted, with d from the last frame: the residual of the paper's Algorithm 2."""
    spec = levels(codec=PluginSpec("error_feedback"), rounds=2)
    first, second = rounds(spec)[1]
    presence = second.outcome.sent.presence
    for client in range(9):
        there = presence.levels[presence.level[client]]
        before = first.state.codec["residuals"][client]
        wanted = before + second.outcome.sent.vectors[client, there]
        left = wanted - second.outcome.received.vectors[client, there]
        torch.testing.assert_close(second.state.codec["residuals"][client], left)


def test_a_hostile_frame_of_another_level_is_rejected(levels):
    """A narrow client that sends a wide client's coordinates: its frame is of another spec."""
    simulation, found = rounds(levels(codec=PluginSpec("topk"), rounds=1))
    plan, sent = simulation.plan, found[0].outcome.sent
    streams = CodecStreams(plan.seed, 0)
    everybody = replace(sent.presence, level=sent.presence.level[[0, 0, 0, 0, 0, 0, 0, 0, 0]])
    forged = replace(sent, presence=everybody, vectors=everybody.masked(torch.ones_like(sent.vectors)))
    frames, _ = encode_cohort(plan.codec, forged, plan.exchange.up, plan.public, None, streams)
    how = plan.exchange.up, plan.public, streams, sent.presence

    vectors, rejected = decode_cohort(plan.codec, frames, list(range(9)), *how)

    same = (sent.presence.level == sent.presence.level[0]).nonzero().flatten().tolist()
    assert len(vectors) == len(same)
    assert [row for row, _ in rejected] == [row for row in range(9) if row not in same]
    assert all("spec" in reason for _, reason in rejected)


def test_an_attacker_sends_no_more_than_its_level_has(levels):
    """Noise everywhere, NaN everywhere: what the level lacks is 0, and a client that sends NaN is refused."""
    noise = RoleSpec(PluginSpec("gaussian", {"std": 9.0}), clients=(8,))
    broken = RoleSpec(PluginSpec("non_finite"), clients=(4,))
    outcome = rounds(levels(rounds=1, roles=(noise, broken)))[1][0].outcome
    presence = outcome.sent.presence

    absent = ~presence.levels[presence.level]
    assert not bool(outcome.sent.vectors[absent].any())
    there = ~absent[8]
    assert bool((outcome.sent.vectors[8, there].abs() > 0).all())
    assert list(outcome.refused) == [4]
    assert outcome.verdict.aggregate.isfinite().all()


def test_attackers_see_the_parameters_that_they_received(levels, tmp_path):
    """An attack that sends minus what its view holds: nothing outside of its level."""
    file = tmp_path / "mirror.py"
    file.write_text(MIRROR)
    role = RoleSpec(PluginSpec(f"{file}:Mirror"), clients=(8,))
    simulation, (step,) = rounds(levels(rounds=1, roles=(role,)))
    presence, first = step.outcome.sent.presence, simulation.first.params
    there = presence.levels[presence.level[8]]

    assert step.outcome.sent.num_examples[8] == int((first[there] != 0).sum())
    assert torch.equal(step.outcome.sent.vectors[8, there], -first[there])


MIRROR = """
from dataclasses import dataclass, replace
from typing import ClassVar
import torch
from gauntlet.core.contracts import UpdateKnowledge

@dataclass(frozen=True)
class Mirror:
    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN
    def init(self): return None
    def corrupt(self, own, view, state):
        seen = int((view.params != 0).sum())
        counts = torch.full_like(own.num_examples, seen)
        return replace(own, vectors=-view.params[None], num_examples=counts), state
"""


@pytest.mark.parametrize("defense", ["median", "trimmed_mean", "norm_clipping"])
def test_robust_rules_outvote_a_liar_where_enough_others_are(levels, defense):
    """One of three wide clients sends noise of 1e3: with clipping it moves nothing by more than its share."""
    options = {"num_byzantine": 1} if defense == "trimmed_mean" else {}
    role = RoleSpec(PluginSpec("gaussian", {"std": 1e3}), clients=(0,))
    spec = levels(rounds=1, roles=(role,), defense=PluginSpec(defense, options), algorithm=hetero(mask=False))
    aggregate = rounds(spec)[1][0].outcome.verdict.aggregate

    assert float(aggregate.abs().max()) < 5


def private(privacy, weighting="fixed", **algorithm):
    return {
        "privacy": privacy,
        "defense": PluginSpec("mean", {"weighting": weighting}),
        "algorithm": hetero(**algorithm),
        "sampler": PluginSpec("poisson", {"sample_rate": 0.5}),
        "model": PluginSpec("mlp", {"hidden": [12, 6]}),
        "rounds": 2,
        "training": LocalTraining(local_epochs=1, batch_size=16, lr=0.1),
    }


CENTRAL = PluginSpec("gaussian", {"clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 1e-3})
LOCAL = PluginSpec("local_gaussian", {"clip_norm": 0.5, "noise_multiplier": 4.0, "delta": 1e-3})
STEPS = PluginSpec("dp_sgd", {"clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 1e-3})
MECHANISMS = [
    pytest.param(CENTRAL, id="gaussian"),
    pytest.param(LOCAL, id="local_gaussian"),
    pytest.param(STEPS, id="dp_sgd", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("privacy", MECHANISMS)
def test_epsilon_is_fedavgs_where_the_denominator_is_fixed_and_labels_are_not_told(levels, privacy):
    """A client moves the sum by at most C whatever it lacks: over the fixed size, as much as in FedAvg."""
    plain = private(privacy) | {"algorithm": PluginSpec("fedavg")}
    theirs = rounds(levels(**plain))[1][-1].outcome
    ours = rounds(levels(**private(privacy, mask=False)))[1][-1].outcome

    assert ours.epsilon.value == theirs.epsilon.value
    assert ours.epsilon.value is not None
    assert ours.sent.presence is not None


@pytest.mark.parametrize("privacy", MECHANISMS)
def test_telling_labels_leaves_no_epsilon_and_says_why(levels, privacy):
    outcome = rounds(levels(**private(privacy)))[1][-1].outcome

    assert outcome.release == NoGuarantee("extra_release")
    assert outcome.epsilon.value is None


def test_a_count_of_who_has_a_coordinate_leaves_no_epsilon(levels):
    outcome = rounds(levels(**private(CENTRAL, "uniform", mask=False)))[1][-1].outcome

    assert outcome.release == NoGuarantee("weights")
    assert outcome.epsilon.value is None


def test_a_budget_that_labels_break_is_refused_with_the_way_out(levels):
    budget = PluginSpec("gaussian", {"clip_norm": 0.5, "epsilon": 5.0, "delta": 1e-3})
    with pytest.raises(
        ScenarioError, match="tells the server which labels each client holds, which nothing prot"
    ):
        prepare(levels(**private(budget)))
    assert prepare(levels(**private(budget, mask=False))).plan.levels is not None


def test_local_noise_covers_what_a_client_has_and_nothing_else(levels):
    outcome = rounds(levels(**private(LOCAL, mask=False)))[1][0].outcome
    presence = outcome.sent.presence
    there = presence.levels[presence.level]

    assert bool((outcome.sent.vectors[there] != 0).all())
    assert not bool(outcome.sent.vectors[~there].any())


def test_central_noise_covers_every_coordinate_though_nobody_has_it(levels):
    """Three narrow clients alone: what they lack moves by the noise, of standard deviation z C / size."""
    spec = levels(**private(CENTRAL, rates=(0.25,), mask=False))
    spec = replace(spec, algorithm=hetero(rates=(1.0, 0.25), shares=(0.01, 0.99), mask=False))
    simulation, found = rounds(spec)
    before, after = simulation.first.params, found[0].state.params
    there = simulation.plan.levels.parts[1].present

    assert not bool(found[0].outcome.verdict.aggregate[~there].any())
    moved = (after - before)[~there]
    assert float(moved.std()) == pytest.approx(0.5 / 4.5, rel=0.15)


def test_a_level_may_train_nothing_that_is_sent_in_clear_of_others(levels):
    """Every cohort of partial participation has its own presence, and the server's model stays finite."""
    spec = levels(sampler=PluginSpec("fixed_size", {"cohort_size": 2}), rounds=6)
    for step in rounds(spec)[1]:
        presence = step.outcome.sent.presence
        nobody = ~presence.levels[presence.level].any(dim=0)
        assert bool(nobody.any()) == (step.outcome.verdict.aggregate[nobody].numel() > 0)
        assert not bool(step.outcome.verdict.aggregate[nobody].any())
        assert bool(step.state.params.isfinite().all())


@pytest.mark.parametrize("codec", ["identity", "topk"])
def test_messages_that_come_later_have_the_level_of_the_round_in_which_they_began(levels, tmp_path, codec):
    """Buffered: levels are drawn, jobs last for rounds; a checkpoint in between goes on to the same bits."""
    spec = levels(
        rounds=6,
        algorithm=hetero(mode="dynamic"),
        codec=PluginSpec(codec),
        schedule=PluginSpec("buffered", {"buffer_size": 3}),
        network=PluginSpec("links", {"latency_seconds": 1.0, "jitter": 1.0}),
    )
    simulation, whole = rounds(spec)
    plan, late = simulation.plan, 0
    for step in whole:
        received = step.outcome.received
        late += int((received.started < step.outcome.round).sum())
        for row, (client, started) in enumerate(zip(received.client_ids, received.started, strict=True)):
            alone = plan.levels.presence([int(client)], [int(started)])
            there = alone.levels[alone.level[0]]
            assert torch.equal(received.presence.levels[received.presence.level[row]], there)
            assert not bool(received.vectors[row, ~there].any())
    assert late > 0
    save_checkpoint(tmp_path, whole[2].state, "run")
    rest = rounds(spec, state=load_checkpoint(tmp_path, "run"))[1]
    ends = [fields(run[-1].state) | {"mailbox": None} for run in (rest, whole)]
    assert equal(*ends)
