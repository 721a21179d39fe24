"""Codecs that keep a subspace, in a run: what both sides know, is restored, charged, summed and refused."""

import pytest
import torch
from level_runs import hetero
from whole_runs import fields, rounds, steps

from gauntlet.clients.codecs.lift import Lift
from gauntlet.core.contracts import CodecStreams, LocalTraining, NoGuarantee
from gauntlet.core.errors import ScenarioError
from gauntlet.core.trees import equal, num_bytes
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.recording.probe import knowledge_of
from gauntlet.server.recording.recordings import save_observation
from gauntlet.server.recording.replays import load_observation
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

MAGNITUDE = PluginSpec("lift", {"density": 0.1, "score": "magnitude"})
LOW_RANK = PluginSpec("low_rank", {"rank": 2, "period": 3})
UNIFORM = PluginSpec("mean", {"weighting": "uniform"})
SOME = PluginSpec("fixed_size", {"cohort_size": 5})
LOSSY = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.3})


@pytest.mark.parametrize("schedule", ["synchronous", "buffered"])
def test_a_mask_follows_from_what_the_clients_of_that_round_received(small, schedule):
    """Behind a codec that rounds the parameters on their way down: those that were received count."""
    options = {"buffer_size": 3, "concurrency": 5} if schedule == "buffered" else {}
    how = {"network": LOSSY, "schedule": PluginSpec(schedule, options)}
    spec = small(codec=MAGNITUDE, codec_down=PluginSpec("fp16"), **how)
    simulation, found = rounds(spec)
    for step in found:
        received, layout = step.outcome.received, simulation.plan.layout
        assert len(received)
        for row, began in zip(received.vectors, received.started.tolist(), strict=True):
            params = step.outcome.downs[began].broadcast.params
            supports = Lift(**MAGNITUDE.options)._supports(
                layout, CodecStreams(0, 0, params=params).context(0)
            )
            mask = torch.zeros(len(row), dtype=torch.bool)
            for slot, places in zip(layout.parameters, supports, strict=True):
                mask[slot.start + torch.from_numpy(places)] = True
            assert 0 < int((row != 0).sum()) <= int(mask.sum())
            assert not bool(row[~mask].any())


def test_a_recording_is_read_with_the_parameters_that_were_sent(small, tmp_path):
    """A support that follows from them is found again, days later and from disk."""
    how = LocalTraining(local_steps=1, batch_size=4, lr=0.25)
    spec = small(rounds=1, codec=MAGNITUDE, training=how, model=PluginSpec("mlp", {"hidden": [8]}))
    simulation, (step,) = rounds(spec)
    kernel = simulation.kernel
    truth = kernel.truth(1, 0)
    knowledge = knowledge_of(spec, kernel.training, truth, 1, False, kernel.rule)
    facts = (spec, simulation.data, step.outcome, 1, knowledge, truth, {"attack": "dlg"})
    seen = load_observation(save_observation(tmp_path / "seen", *facts))
    assert torch.equal(seen.update, step.outcome.received.vectors[1])


@pytest.mark.parametrize(
    "codec",
    [
        LOW_RANK,
        PluginSpec("error_feedback", {"codec": {"name": "low_rank", "rank": 2, "period": 2, "bits": 4}}),
        PluginSpec("frugal", {"rank": 2, "period": 3, "refresh": "server", "space": "columns"}),
        PluginSpec("gradnorm_lorp", {"rank": 1, "period": 3}),
        PluginSpec("grass", {"density": 0.5, "refresh": 2}),
        PluginSpec("subspace", {"rank": 2, "warmup": 2, "refresh": 3}),
    ],
    ids=["low_rank", "with feedback", "frugal", "gradnorm_lorp", "grass", "subspace"],
)
def test_a_run_goes_on_from_a_checkpoint_to_the_same_bits(small, tmp_path, codec):
    spec = small(rounds=6, codec=codec, sampler=SOME, network=LOSSY)
    whole = steps(spec)
    save_checkpoint(tmp_path, whole[2].state, "run")
    resumed = steps(spec, state=load_checkpoint(tmp_path, "run"))
    assert equal(fields(whole[-1].state), fields(resumed[-1].state))


def test_bases_go_down_and_are_counted(small):
    """Rounds 1 and 2 of a period of 3: 2 bases of 2 columns and 8 numbers each, in float32."""
    plain, found = steps(small(rounds=4)), steps(small(rounds=4, codec=LOW_RANK))
    more = [num_bytes(step.outcome.downs[step.outcome.round].shared) for step in found]
    assert more[0] == 0
    assert more[1] == more[2] == 2 * (4 * 8 * 2 + 8 + 8 + 1)
    sizes = [b.outcome.bytes_received - a.outcome.bytes_received for a, b in zip(plain, found, strict=True)]
    assert sizes == [8 * size for size in more]
    assert found[0].outcome.bytes_up[0] > found[1].outcome.bytes_up[0]


@pytest.mark.parametrize(
    ("codec", "holds"),
    [
        (MAGNITUDE, True),
        (PluginSpec("low_rank", {"rank": 2, "refresh": "random"}), True),
        (LOW_RANK, False),
        (PluginSpec("frugal", {"rank": 2}), False),
    ],
    ids=["lift", "random bases", "remembered bases", "frugal"],
)
def test_an_epsilon_holds_where_nothing_is_remembered(small, codec, holds):
    noise = PluginSpec("gaussian", {"clip_norm": 0.5, "noise_multiplier": 1.0, "delta": 0.01})
    mean = PluginSpec("mean", {"weighting": "fixed"})
    sampler = PluginSpec("poisson", {"sample_rate": 0.7})
    found = steps(small(rounds=1, codec=codec, privacy=noise, defense=mean, sampler=sampler))[-1].outcome
    assert (found.epsilon.value is not None) == holds
    assert (found.release == NoGuarantee("client_memory")) != holds


@pytest.mark.parametrize(
    ("codec", "adds"),
    [(MAGNITUDE, True), (LOW_RANK, True), (PluginSpec("frugal", {"rank": 2}), False)],
    ids=str,
)
def test_linear_ones_add_up_under_secure_aggregation_and_signs_do_not(small, codec, adds):
    """The sum that the server sees is that of what the clients' own frames decode to."""
    spec = small(rounds=2, codec=codec, defense=UNIFORM)
    secure = small(
        rounds=2,
        codec=codec,
        defense=UNIFORM,
        privacy=PluginSpec("secure_sum"),
    )
    if not adds:
        with pytest.raises(ScenarioError, match="cannot be added up"):
            steps(secure)
        return
    torch.testing.assert_close(steps(secure)[-1].state.params, steps(spec)[-1].state.params)


def test_messages_of_several_sizes_are_refused_by_what_reads_whole_parameters(levels):
    with pytest.raises(ScenarioError, match="codec 'lift' reads the parameters of whole ones"):
        steps(levels(codec=PluginSpec("lift"), algorithm=hetero()))
    with pytest.raises(ScenarioError, match="codec 'low_rank' shares one of whole messages"):
        steps(levels(codec=PluginSpec("low_rank"), algorithm=hetero()))
    assert steps(levels(codec=PluginSpec("low_rank", {"rank": 2, "refresh": "random"}), rounds=1))


def test_an_algorithm_of_two_groups_is_projected_in_both(small):
    """SCAFFOLD's message repeats the model's tensors: so do masks, and bases are of each of its tensors."""
    for codec in (MAGNITUDE, LOW_RANK):
        how = {"algorithm": PluginSpec("scaffold"), "defense": UNIFORM}
        simulation, found = rounds(small(codec=codec, rounds=3, **how))
        total = simulation.plan.layout.num_parameters
        vectors = found[-1].outcome.received.vectors
        assert vectors.shape[1] == 2 * total
        assert bool((vectors[:, total:] != 0).any())


def test_bases_of_the_servers_parameters_are_of_both_groups_too(small):
    """From the second round on each group's matrix [8, 64] has rank 2 at most (the first is whole)."""
    codec = PluginSpec("low_rank", {"rank": 2, "period": 2, "refresh": "server"})
    how = {"algorithm": PluginSpec("scaffold"), "defense": UNIFORM}
    simulation, found = rounds(small(codec=codec, rounds=3, **how))
    slot, total = simulation.plan.layout.parameters[0], simulation.plan.layout.num_parameters
    for step, most in zip(found, (8, 2, 2), strict=True):
        vectors = step.outcome.received.vectors
        for group in (vectors[0, :total], vectors[0, total:]):
            matrix = group[slot.start : slot.start + slot.size].view(slot.shape[0], -1)
            assert int((torch.linalg.svdvals(matrix.double()) > 1e-6).sum()) <= most


@pytest.mark.parametrize(
    ("codec", "fits"),
    [
        (LOW_RANK, False),
        (PluginSpec("frugal", {"rank": 2}), False),
        (PluginSpec("gradnorm_lorp", {"rank": 2}), False),
        (PluginSpec("grass"), False),
        (PluginSpec("subspace"), False),
        (PluginSpec("error_feedback", {"codec": {"name": "low_rank", "rank": 2}}), False),
        (PluginSpec("low_rank", {"rank": 2, "refresh": "server"}), True),
        (PluginSpec("frugal", {"rank": 2, "refresh": "random"}), True),
        (MAGNITUDE, True),
    ],
    ids=str,
)
def test_what_learns_from_the_aggregate_of_one_round_goes_with_no_mixture_of_rounds(small, codec, fits):
    """Under ``buffered`` an aggregate holds whole messages beside projected ones: no basis follows."""
    spec = small(codec=codec, schedule=PluginSpec("buffered", {"buffer_size": 3, "concurrency": 5}))
    if fits:
        prepare(spec)
        return
    with pytest.raises(
        ScenarioError, match=f"codec '{codec.name}' learns from the server's aggregate of one"
    ):
        prepare(spec)
