"""Plug-ins that write into what they are handed. Oracle: the value itself, changed in every way we know."""

import copy

import numpy as np
import pytest
import torch

from gauntlet.core.errors import ForbiddenWrite, InfeasibleCohort, PluginError
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.untouched import untouched
from gauntlet.core.updates import Context, Updates

SIZES = [(1,), (7,), (3, 5), (101, 503), (64, 2036), (2, 509 * 8)]  # the last two fill whole rows of a digest


def swap_the_ends(x: torch.Tensor) -> None:
    flat = x.view(-1)
    flat[[0, -1]] = flat[[-1, 0]]


def change_one(x: torch.Tensor) -> None:
    x.view(-1)[len(x.view(-1)) // 2] += 1e-3


WRITES = {
    "add": lambda x: x.add_(1.0),
    "flip": lambda x: x.neg_(),
    "zero": lambda x: x.zero_(),
    "double": lambda x: x.mul_(2.0),
    "one": change_one,
    "swap": swap_the_ends,
    "data": lambda x: x.data.mul_(-1),
    "numpy": lambda x: np.negative(x.numpy(), out=x.numpy()),
    "numpy_one": lambda x: x.numpy().reshape(-1).__setitem__(0, 9.0),
    "numpy_sort": lambda x: x.numpy()[...].reshape(-1)[::-1].sort(),
    "nan": lambda x: x.view(-1)[0].fill_(float("nan")),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_way_of_writing_is_seen(write, size, dtype):
    x = torch.from_numpy(np.random.default_rng(0).normal(size=size)).to(dtype)
    before = x.clone()
    refused = pytest.raises(PluginError, match="defense 'mine' wrote into what it was handed")
    if size == (1,) and write in ("swap", "numpy_sort"):
        return  # one number has no order
    with refused, untouched("defense 'mine'", x):
        WRITES[write](x)
    assert not torch.equal(x, before)


@pytest.mark.parametrize("offset", [0, 1, 3])
def test_slices_that_begin_anywhere_are_seen(offset):
    base = torch.randn(20_001)
    part = base[offset:-1]
    for place in (0, 1, len(part) // 2, len(part) - 1):
        with pytest.raises(PluginError), untouched("it", part):
            part[place] *= -1
    with untouched("it", part):
        base[-1] = 0.0


def test_columns_of_a_matrix_and_empty_or_whole_numbers_are_looked_at():
    columns = torch.arange(6000.0).reshape(3, 2000)[:, ::2]
    with pytest.raises(PluginError), untouched("it", columns):
        columns[1, 7] = 0
    ids = torch.arange(5)
    with pytest.raises(PluginError), untouched("it", ids):
        ids[0] = 1
    with untouched("it", torch.empty(0), torch.empty(3, 0), np.empty(0)):
        pass


def cohort() -> Updates:
    layout = Layout((Slot("w", (4,), 0),))
    context = Context(0, torch.zeros(4), layout, 0, torch.ones(4))
    return Updates(torch.ones(3, 4), torch.arange(3), torch.ones(3, dtype=torch.int64), context=context)


@pytest.mark.parametrize(
    "write",
    [
        lambda u: u.vectors.mul_(2),
        lambda u: u.client_ids.add_(1),
        lambda u: u.num_examples.fill_(9),
        lambda u: u.context.params.add_(1),
        lambda u: u.context.root.add_(1),
    ],
)
def test_whatever_a_cohort_holds_is_looked_at(write):
    updates = cohort()
    with pytest.raises(PluginError), untouched("it", updates):
        write(updates)


@pytest.mark.parametrize(
    "write",
    [
        lambda s: s["sums"][3].add_(1),
        lambda s: s["sums"].__setitem__(4, torch.zeros(2)),
        lambda s: s["sums"].pop(3),
        lambda s: s["rounds"].append(5),
        lambda s: s.__setitem__("count", 2),
    ],
)
def test_a_state_is_looked_at_by_what_torch_counts_and_by_its_values(write):
    state = {"sums": {3: torch.zeros(2)}, "rounds": [1], "count": 1, "nan": float("nan")}
    with untouched("it", state):
        copy.deepcopy(state)
    with pytest.raises(PluginError), untouched("it", state):
        write(state)


def test_reading_is_no_writing_and_an_error_is_passed_on():
    x = torch.randn(5000)
    with untouched("it", x, cohort(), [x, None, "word", 1.5]):
        x.numpy().copy().sort()
        x.clone().mul_(2)
    with pytest.raises(KeyError), untouched("it", x):
        raise KeyError("its own")


@pytest.mark.parametrize("error", [ValueError, InfeasibleCohort, PluginError])
def test_a_write_before_an_error_is_a_write(error):
    """Whoever catches the error and goes on would go on with what was written."""
    x = torch.zeros(3)

    def write_and_raise() -> None:
        with untouched("it", x):
            x.numpy()[1] = 1
            raise error("cannot judge")

    with pytest.raises(ForbiddenWrite, match="it wrote into what it was handed"):
        write_and_raise()
