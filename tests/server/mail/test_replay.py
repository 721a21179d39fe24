"""A client that was away works out the parameters from what it missed: against those of the run itself."""

import pytest
import torch
from whole_runs import rounds

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.contract import is_verbatim_if_it_says_so
from gauntlet.core import trees
from gauntlet.core.errors import FrameError, PluginError, ScenarioError
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.mail.replay import accounts, log_frame, replayed, since
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec

LINKS = PluginSpec("links", {"latency_seconds": 1.0, "dropout": 0.3})


@pytest.fixture
def zeroth(small):
    """MeZO on digits, ten bytes a client, sent down as logs; keywords replace fields."""
    return lambda **changes: small(
        **{
            "rounds": 14,
            "model": PluginSpec("logistic_regression"),
            "algorithm": PluginSpec("mezo", {"lr": 0.3, "scalars_per_round": 4}),
            "codec": PluginSpec("one_byte", {"unit": 0.075, "scalars_per_round": 4}),
            "codec_down": PluginSpec("replay"),
            "sampler": PluginSpec("fixed_size", {"cohort_size": 4}),
            "rows": False,
            **changes,
        }
    )


def run_of(spec):
    """Return the run, and what it had before each round and after the last: (parameters, log)."""
    simulation, steps = rounds(spec)
    seen = [(simulation.first.params, simulation.first.log)]
    seen += [(step.state.params, step.state.log) for step in steps]
    return simulation, seen, steps


CASES = {
    "partial participation": {},
    "drop-outs": {"network": LINKS},
    "alike": {"defense": PluginSpec("mean", {"weighting": "uniform"})},
    "fixed": {"defense": PluginSpec("mean", {"weighting": "fixed"}), "network": LINKS},
    "weight decay": {
        "algorithm": PluginSpec("mezo", {"lr": 0.3, "scalars_per_round": 4, "weight_decay": 0.1})
    },
    "a pool": {
        "algorithm": PluginSpec("mezo", {"scalars_per_round": 4, "seed_pool": 9}),
        "codec": PluginSpec("one_byte", {"scalars_per_round": 4, "seed_pool": 9}),
    },
    "an attacker": {"roles": (RoleSpec(PluginSpec("non_finite"), clients=(2,)),)},
    "another algorithm": {
        "algorithm": PluginSpec("fedavg"),
        "codec": PluginSpec("topk", {"density": 0.01}),
        "server_optimizer": PluginSpec("sgd", {"lr": 0.5}),
    },
    "another algorithm, with masks of the parameters": {
        "algorithm": PluginSpec("fedavg"),
        "codec": PluginSpec("lift", {"density": 0.01, "score": "magnitude"}),
        "server_optimizer": PluginSpec("sgd", {"lr": 0.5}),
    },
    "Poisson": {"sampler": PluginSpec("poisson", {"sample_rate": 0.3})},
}


@pytest.mark.parametrize("case", CASES)
def test_whoever_is_sent_a_log_works_out_the_parameters_of_the_run_bit_for_bit(zeroth, case):
    """From any round that the log still holds to any later one; ten rounds and more are among them."""
    _, seen, _ = run_of(zeroth(**CASES[case]))
    plan, spans = prepare(zeroth(**CASES[case])).plan, set()
    for now in (5, 11, 14):
        params, log = seen[now]
        for first in sorted(log["rounds"]):
            frame = log_frame(plan, log, now, 3, first)
            assert torch.equal(replayed(plan, seen[first][0], frame, now, 3, first), params)
            spans.add(now - first)
    assert max(spans) >= 10 or case.startswith("another algorithm")
    assert not torch.equal(seen[0][0], seen[14][0])


def test_a_client_that_joins_late_starts_from_the_first_parameters(zeroth):
    simulation, seen, _ = run_of(zeroth())
    params, log = seen[11]
    newcomer = next(client for client in range(100, 101))
    assert since(simulation.plan, log, 11, newcomer) == 0
    frame = log_frame(simulation.plan, log, 11, newcomer, 0)
    assert torch.equal(replayed(simulation.plan, simulation.first.params, frame, 11, newcomer, 0), params)
    unknown = prepare(zeroth(codec_down=PluginSpec("replay", {"start_known": False}))).plan
    assert since(unknown, log, 11, newcomer) is None


def test_bytes_are_those_of_the_frames_that_would_be_written(zeroth):
    """Each client is sent the shorter of its log and the parameters: 650 floats, 20, 5 and 4 bytes more."""
    simulation, seen, steps = run_of(zeroth(network=LINKS, rounds=25))
    plan, whole = simulation.plan, 4 * 650 + 20 + 5 + 6
    assert plan.frame_down in (whole, whole - 2, whole - 1)
    logs = 0
    for t, step in enumerate(steps):
        log, ids = seen[t][1], step.outcome.began.tolist()
        found, expected = accounts(plan, log, t, ids), 0
        for client in ids:
            first = since(plan, log, t, client)
            frame = b"" if first is None else log_frame(plan, log, t, client, first)
            logs += first is not None
            expected += len(frame) or plan.frame_down
            assert len(frame) < plan.frame_down
            assert first is None or found[client].frame_bytes == len(frame)
        assert step.outcome.bytes_received == expected
    assert logs > 50


def test_a_log_begins_where_the_clients_own_last_counted_message_did(zeroth):
    """A message that was lost is no receipt: the server does not know what its client received."""
    _, _, steps = run_of(zeroth(network=LINKS))
    held = {}
    for step in steps:
        o = step.outcome
        held |= dict.fromkeys(o.received.client_ids.tolist(), o.round)
        assert step.state.log["held"] == held
    assert any(len(s.outcome.received) < len(s.outcome.began) for s in steps)


def test_a_log_of_another_client_or_with_a_damaged_byte_is_refused(zeroth):
    simulation, seen, _ = run_of(zeroth(rounds=3))
    plan, log = simulation.plan, seen[3][1]
    frame = log_frame(plan, log, 3, 5, 0)
    for told in ((3, 6, 0), (2, 5, 0), (3, 5, 1)):
        with pytest.raises(FrameError):
            replayed(plan, seen[0][0], frame, *told)
    for at in range(len(frame)):
        bad = bytearray(frame)
        bad[at] ^= 1
        with pytest.raises(FrameError):
            replayed(plan, seen[0][0], bytes(bad), 3, 5, 0)


REFUSED = {
    "no plain mean": {"defense": PluginSpec("median")},
    "remembers earlier rounds": {
        "algorithm": PluginSpec("fedavg"),
        "server_optimizer": PluginSpec("adam", {"lr": 0.1}),
    },
    "sgd.*remembers earlier rounds": {
        "algorithm": PluginSpec("fedavg"),
        "server_optimizer": PluginSpec("sgd", {"momentum": 0.5}),
    },
    "sends float32": {"codec": PluginSpec("identity")},
    "shared in each round": {
        "algorithm": PluginSpec("fedavg"),
        "codec": PluginSpec("terngrad", {"share_scales": True}),
    },
    "clips or noises": {
        "algorithm": PluginSpec("fedavg"),
        "privacy": PluginSpec("gaussian", {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3}),
        "defense": PluginSpec("mean", {"weighting": "fixed"}),
    },
    "change these before": {"pre_aggregations": (PluginSpec("clipping", {"clip_norm": 1.0}),)},
    "weighs these by their age": {"schedule": PluginSpec("buffered", {"buffer_size": 2})},
    "messages or models of its own": {
        "algorithm": PluginSpec("scaffold"),
        "defense": PluginSpec("mean", {"weighting": "uniform"}),
    },
}


LOSSY = """
from gauntlet.clients.codecs.fp16 import Fp16

class Halves(Fp16):
    replays = True
"""


def test_a_codec_that_loses_something_of_the_parameters_sends_no_logs(zeroth, tmp_path):
    (tmp_path / "halves.py").write_text(LOSSY)
    codec = PluginSpec(f"{tmp_path}/halves.py:Halves")
    with pytest.raises(ScenarioError, match=r"changes them on the way|must be verbatim"):
        prepare(zeroth(codec_down=codec))
    with pytest.raises(ScenarioError, match="must be verbatim"):
        prepare(zeroth(codec_down=codec, algorithm=PluginSpec("fedavg")))
    with pytest.raises(PluginError, match="must declare verbatim"):
        is_verbatim_if_it_says_so(CODECS.build(codec.name, {}))


@pytest.mark.parametrize("why", REFUSED)
def test_what_does_not_follow_from_messages_alone_is_refused(zeroth, why):
    with pytest.raises(ScenarioError, match=why):
        prepare(zeroth(**REFUSED[why]))


def test_two_workers_and_a_checkpoint_in_between_give_the_same_bits_and_the_same_log(
    zeroth, ray_here, tmp_path
):
    spec = zeroth(network=LINKS, rounds=8)
    _, seen, steps = run_of(spec)
    _, ray = rounds(spec, lambda s: s.ray_pool(2))
    save_checkpoint(tmp_path, steps[4].state, "run")
    _, resumed = rounds(spec, state=load_checkpoint(tmp_path, "run"))
    for other in (ray[-1].state, resumed[-1].state):
        assert torch.equal(other.params, seen[-1][0])
        assert trees.equal(other.log, seen[-1][1])
        assert other.bytes_down == steps[-1].state.bytes_down
