"""Runs whose clients train parts of a model: FedAvg where the parts are all of it, and bytes counted."""

from dataclasses import replace

import pytest
import torch
from level_runs import UNIFORM
from whole_runs import states, steps

from gauntlet.core.contracts import LocalTraining
from gauntlet.server.spec import PluginSpec

PLAIN = LocalTraining(local_epochs=1, batch_size=16, lr=0.1)
RESIDUAL = {"width": 8, "blocks": 2}


def test_with_every_block_kept_stochastic_depth_is_fedavg_to_the_last_bit(small):
    whole = PluginSpec("stochastic_depth", {"blocks": 2, "keep_last": 1.0})
    ends = [
        states(small(model=PluginSpec("residual_mlp", RESIDUAL), defense=UNIFORM, algorithm=algorithm))[-1]
        for algorithm in (PluginSpec("fedavg"), whole)
    ]
    assert torch.equal(ends[0].params, ends[1].params)


def test_bytes_are_those_of_the_blocks_that_clients_had(small):
    """64 8 + 8 + 8 10 + 10 = 610 parameters, and 144 a block: a message is 610, 754 or 898 floats long."""
    model = PluginSpec("residual_mlp", {**RESIDUAL, "keep_last": 0.3})
    algorithm = PluginSpec("stochastic_depth", {"blocks": 2, "keep_last": 0.3})
    *_, last = steps(small(model=model, defense=UNIFORM, algorithm=algorithm))
    present = last.outcome.sent.presence.sizes()
    assert set(present.tolist()) <= {610, 754, 898}
    assert len(set(present.tolist())) > 1
    assert bool(last.state.params.isfinite().all())


def test_with_all_channels_kept_fedskel_is_fedavg_to_the_last_bit(small):
    same = {"defense": UNIFORM, "training": PLAIN, "vectorize": "off"}
    spec = small(model=PluginSpec("mlp", {"hidden": [8]}), **same)
    ends = [states(replace(spec, algorithm=PluginSpec(name)))[-1].params for name in ("fedavg", "fedskel")]
    assert torch.equal(*ends)


@pytest.mark.parametrize("name", ["tpsgd", "dfa", "randomized_backward", "forward_gradient"])
def test_rules_with_a_backward_pass_of_their_own_learn_and_go_with_defenses(small, name):
    """Three rounds under the median and of lying clients: the loss of the clients falls."""
    own = {"lr": 0.05, "num_draws": 16, "local_steps": 4} if name == "forward_gradient" else {}
    spec = small(
        model=PluginSpec("mlp", {"hidden": [16], "activation": "tanh"}),
        algorithm=PluginSpec(name, own),
        defense=PluginSpec("median"),
        rounds=3,
    )
    first, *_, last = steps(spec)
    assert float(last.outcome.losses.mean()) < float(first.outcome.losses.mean())
