"""What every server optimiser owes, and that one which owes it still is found out."""

from types import SimpleNamespace

import pytest
import torch

from gauntlet.core.errors import PluginError
from gauntlet.server.optimizers import SERVER_OPTIMIZERS
from gauntlet.server.optimizers.contract import CHECKS
from gauntlet.server.optimizers.sgd import SGD

OPTIONS: dict[str, list[dict[str, object]]] = {
    "sgd": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"warmup_rounds": 3}],
    "adabelief": [{}, {"accumulate_eps": False}],
    "grokfast": [{}, {"start": "zero"}],
    "adam": [{}, {"bias_correction": "adam", "v0": "zero"}, {"bias_correction": "flower"}],
}
CASES = [(name, options) for name in SERVER_OPTIMIZERS.table for options in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_server_optimizer(name, options, check):
    check(SERVER_OPTIMIZERS.build(name, options))


def stepping(step):
    return SimpleNamespace(init=lambda: None, step=step)


def in_float64(params, aggregate, state):
    return params.double() + aggregate, state


def diverging(params, aggregate, state):
    return params + aggregate / 0.0, state


def in_place(params, aggregate, state):
    return params.add_(aggregate), state


def state_in_place(params, aggregate, state):
    state = torch.zeros_like(params) if state is None else state
    return params + state.add_(aggregate), state


def decaying(params, aggregate, state):
    return 0.99 * params + aggregate, state


def descending(params, aggregate, state):
    return params - aggregate, state


def counting_objects(params, aggregate, state):
    """Steps by what is lost in a checkpoint: whether the state is the very object it returned."""
    step = 1.0 if state is None or state is KEPT else 2.0
    return params + step * aggregate, KEPT


KEPT = {"v": torch.zeros(1)}


class Remembering:
    def __init__(self):
        self.velocity = torch.zeros(12)

    def init(self):
        return None

    def step(self, params, aggregate, state):
        self.velocity = 0.9 * self.velocity + aggregate
        return params + self.velocity, None


def with_momentum():
    momentum = SGD(momentum=0.5)
    return SimpleNamespace(init=momentum.init, step=momentum.step, memoryless=True)


BROKEN = [
    ("keeps_shape_and_dtype", stepping(in_float64), "expected torch.float32"),
    ("keeps_shape_and_dtype", stepping(diverging), "not finite"),
    ("leaves_its_inputs_as_they_were", stepping(in_place), "wrote to its inputs"),
    ("leaves_its_inputs_as_they_were", stepping(state_in_place), "wrote to its inputs"),
    ("stands_still_on_a_zero_aggregate", stepping(decaying), "moved the parameters"),
    ("moves_along_the_aggregate_at_the_first_step", stepping(descending), "the aggregate's way"),
    ("continues_from_a_packed_state", stepping(counting_objects), "another step"),
    ("remembers_nothing_itself", Remembering(), "another way"),
    ("is_memoryless_if_it_says_so", with_momentum(), "a later step is another one"),
]


@pytest.mark.parametrize(("name", "optimizer", "complaint"), BROKEN)
def test_an_optimizer_that_breaks_a_check_is_found_out(name, optimizer, complaint):
    check = {c.__name__: c for c in CHECKS}[name]
    check(SGD(momentum=0.5))
    with pytest.raises(PluginError, match=complaint):
        check(optimizer)


def test_every_check_has_an_optimizer_that_breaks_it():
    assert {name for name, _, _ in BROKEN} == {check.__name__ for check in CHECKS}
