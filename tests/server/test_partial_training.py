"""Runs whose clients train parts of a model: FedAvg where the parts are all of it, and bytes counted."""

from dataclasses import dataclass, replace

import pytest
import torch
from level_runs import UNIFORM
from whole_runs import states, steps

from gauntlet.clients.algorithms.nested_depth import NestedDepth
from gauntlet.clients.algorithms.parts.local_sgd import descend
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import ScenarioError
from gauntlet.server.spec import PluginSpec

PLAIN = LocalTraining(local_epochs=1, batch_size=16, lr=0.1)
RESIDUAL = {"width": 8, "blocks": 2}
DEEP = PluginSpec("mlp", {"hidden": [8, 8, 8]})
NESTED = NestedDepth((0.0, 0.5, 1.0), mode="dynamic")
HERE = __file__


@dataclass(frozen=True)
class Procedure:
    """Nested depth as a procedure."""

    def levels(self, model, input_shape):
        return NESTED.levels(model, input_shape)

    def level(self, client_id, num_clients, draw):
        return NESTED.level(client_id, num_clients, draw)

    def schedule(self, training):
        return training

    def work(self, visit):
        def value(model, batch):
            loss = visit.loss(model(batch.x), batch.y)
            return loss, loss

        local, loss = descend(visit, value)
        return local - visit.received, loss

    def init(self):
        return None

    def step(self, params, aggregate, state):
        return params + aggregate, state


@dataclass(frozen=True)
class Prepared(Procedure):
    """Nested depth as a procedure that also prepares something."""

    def prepare(self, visit):
        return 1


def test_a_procedure_with_levels_is_the_rule_with_the_same_levels_to_the_last_bit(small):
    same = {"model": DEEP, "defense": PluginSpec("median"), "training": PLAIN, "vectorize": "off"}
    rule = PluginSpec("nested_depth", {"depths": [0.0, 0.5, 1.0], "mode": "dynamic"})
    (*_, one), (*_, other) = (
        steps(small(algorithm=algorithm, **same)) for algorithm in (rule, PluginSpec(f"{HERE}:Procedure"))
    )
    assert torch.equal(one.state.params, other.state.params)
    assert one.outcome.sent.presence.sizes().tolist() == other.outcome.sent.presence.sizes().tolist()
    with pytest.raises(ScenarioError, match=r"several sizes: .* cannot declare prepare"):
        steps(small(algorithm=PluginSpec(f"{HERE}:Prepared"), **same))


def test_with_every_block_kept_stochastic_depth_is_fedavg_to_the_last_bit(small):
    whole = PluginSpec("stochastic_depth", {"blocks": 2, "keep_last": 1.0})
    ends = [
        states(small(model=PluginSpec("residual_mlp", RESIDUAL), defense=UNIFORM, algorithm=algorithm))[-1]
        for algorithm in (PluginSpec("fedavg"), whole)
    ]
    assert torch.equal(ends[0].params, ends[1].params)


def test_blocks_drawn_per_batch_are_drawn_for_each_client(small):
    """After one step from one model an absent block has not moved; which ones differs over clients."""
    model = PluginSpec("residual_mlp", {**RESIDUAL, "keep_last": 0.3, "per_batch": True})
    one = LocalTraining(local_steps=1, batch_size=16, lr=0.1)
    first, *_ = steps(small(model=model, training=one, rounds=1))
    moved = (first.outcome.sent.vectors[:, -90 - 144 : -90] != 0).any(dim=1)  # of the last block
    assert bool(moved.any())
    assert not bool(moved.all())


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


def test_fedskel_goes_with_robust_rules_where_clients_send_whole_models_alone(small):
    options = {"keep_ratios": [0.5]}
    changes = {"model": PluginSpec("mlp", {"hidden": [8]}), "defense": PluginSpec("median")}
    with pytest.raises(ScenarioError, match=r"needs the plain mean: .* got 'median'"):
        steps(small(algorithm=PluginSpec("fedskel", options), **changes))
    spec = small(algorithm=PluginSpec("fedskel", {**options, "masked": False}), **changes)
    first, *_, last = steps(spec)
    assert last.outcome.sent.vectors.shape == (len(last.outcome.sent.client_ids), 610)  # 8 65 + 10 9
    assert float(last.outcome.losses.mean()) < float(first.outcome.losses.mean())


def test_clients_of_noprop_exchange_the_blocks_that_they_train(small):
    """A block has 8 (64 + 10) + 8 + 90 = 690 parameters: one a client of three; the clients' loss falls."""
    spec = small(
        model=PluginSpec("noprop", {"hidden": 8}),
        algorithm=PluginSpec("noprop", {"blocks_per_client": 1}),
        defense=PluginSpec("median"),
        training=replace(PLAIN, lr=1.0),
        rounds=3,
    )
    first, *_, last = steps(spec)
    presence = last.outcome.sent.presence
    assert set(presence.sizes().tolist()) == {690}
    assert len(set(presence.level.tolist())) > 1
    assert float(last.outcome.losses.mean()) < float(first.outcome.losses.mean())
