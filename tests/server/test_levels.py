"""Whole runs in which clients train models of several widths. Oracle: small torch networks, built by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from level_runs import TRAINING, hetero
from torch import nn
from torch.nn import functional
from whole_runs import fields, rounds

from gauntlet.clients.training.minibatches import minibatches
from gauntlet.core.errors import GauntletError, ScenarioError
from gauntlet.core.seeds import generator
from gauntlet.core.trees import equal
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

WIDTHS = {1.0: (12, 6), 0.5: (6, 3), 0.25: (3, 2)}  # ceil of what is kept of 12 and 6


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


def test_a_level_may_train_nothing_that_is_sent_in_clear_of_others(levels):
    """Every cohort of partial participation has its own presence, and the server's model stays finite."""
    spec = levels(sampler=PluginSpec("fixed_size", {"cohort_size": 2}), rounds=6)
    for step in rounds(spec)[1]:
        presence = step.outcome.sent.presence
        nobody = ~presence.levels[presence.level].any(dim=0)
        assert bool(nobody.any()) == (step.outcome.verdict.aggregate[nobody].numel() > 0)
        assert not bool(step.outcome.verdict.aggregate[nobody].any())
        assert bool(step.state.params.isfinite().all())
