"""Replies that no run can apply or record are refused where they come in. Oracle: what each is made of."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import Goal, Release, Verdict
from gauntlet.core.errors import PluginError
from gauntlet.core.replies import REPLIES
from gauntlet.core.task_replies import REPLIES as TASK_REPLIES
from gauntlet.core.updates import Updates

ROWS = Updates(torch.ones(3, 4), torch.arange(3), torch.full((3,), 10), 3.0)
X, Y = torch.rand(5, 2), torch.arange(5)
BENT = {
    "requires grad": lambda t: t.detach().clone().requires_grad_(),
    "sparse_coo": lambda t: t.to_sparse(),
    "meta device": lambda t: t.to("meta"),
    "Parameter": lambda t: torch.nn.Parameter(t, requires_grad=False),
}


def refused(family, verb, came, *asked, match="must return"):
    with pytest.raises(PluginError, match=match):
        REPLIES[family][verb](came, *asked)


def verdict(**said):
    return Verdict(**{"aggregate": torch.ones(4), **said}), None


@pytest.mark.parametrize("how", BENT)
def test_a_tensor_that_is_not_plain_is_refused_and_the_message_says_why(how):
    bend, layout = BENT[how], SimpleNamespace(num_parameters=4)
    refused("defenses", "aggregate", verdict(aggregate=bend(torch.ones(4))), ROWS, match=how)
    refused("defenses", "aggregate", verdict(weights=bend(torch.ones(3))), ROWS, match=how)
    refused("pre_aggregations", "transform", (ROWS.with_vectors(bend(ROWS.vectors)), None), ROWS, match=how)
    refused("codecs", "decode", bend(torch.ones(4)), None, layout, match=how)
    refused("server_optimizers", "step", (bend(torch.ones(4)), None), torch.ones(4), match=how)
    refused("client_defenses", "change", bend(torch.ones(4)), torch.ones(4), match=how)
    refused("data_attacks", "goal", Goal(bend(X), Y, Y), X, Y, match=how)
    with pytest.raises(PluginError, match=how):
        TASK_REPLIES["answer"](bend(torch.ones(5)), X)


def test_what_can_be_written_down_passes():
    said = {0: 2**70, 1: np.float16(1), 2: torch.tensor(float("nan"))}
    table = {0: {"a": float("inf"), "é": np.int64(3)}}
    came = verdict(weights=torch.ones(3), flags={0: "noise"}, scores=said, details=table, fallback="why")
    REPLIES["defenses"]["aggregate"](came, ROWS)


@pytest.mark.parametrize(
    "said",
    [
        {"scores": {0: 10**400}},
        {"scores": {0: np.complex64(1)}},
        {"scores": {0: torch.tensor(1j)}},
        {"scores": {0: torch.tensor(1.0, requires_grad=True)}},
        {"details": {0: {"a": 10**400}}},
        {"details": {0: {"\ud800": 1.0}}},
        {"flags": {0: "\ud800"}},
        {"fallback": "\ud800"},
        {"fallback": 5},
        {"fallback": None},
    ],
)
def test_what_cannot_be_written_down_is_refused(said):
    refused("defenses", "aggregate", verdict(**said), ROWS)


@pytest.mark.parametrize("family", ["algorithms", "server_optimizers"])
@pytest.mark.parametrize("came", [None, iter(()), torch.zeros(2, 3).double(), np.zeros((2, 3))], ids=type)
def test_what_a_server_half_sends_besides_the_parameters_is_a_tensor(family, came):
    refused(family, "extra", came, torch.zeros(3), None, match="must return vectors as a tensor float32")
    REPLIES[family]["extra"](torch.zeros(2, 3), torch.zeros(3), None)


@pytest.mark.parametrize("came", [None, (None, None), ROWS, iter(())], ids=type)
def test_a_secure_sum_is_a_row_of_updates_and_a_state(came):
    refused("privacy", "secure_sum", came, match="must return a pair")
    REPLIES["privacy"]["secure_sum"]((ROWS, None))


@pytest.mark.parametrize(
    "came", [None, iter(()), "3", -1, float("nan")], ids=["none", "iterator", "text", "negative", "nan"]
)
def test_how_many_rows_come_out_is_a_number(came):
    refused("pre_aggregations", "rows_after", came, 6, match="must return a number of rows, a finite number")
    REPLIES["pre_aggregations"]["rows_after"](3, 6)


GROUPS = {"control": torch.zeros(2, 3)}


@pytest.mark.parametrize(
    ("verb", "fine", "amiss"),
    [
        ("scales", ({"control": 2.0}, {}), ([], {"control": "2"}, None)),
        ("start", (GROUPS, torch.zeros(3), {}), (None, iter(()), {"control": [0.0]})),
        ("finish", ((GROUPS, {}), [GROUPS, GROUPS]), (None, GROUPS, (GROUPS, None), ({"control": 1}, {}))),
        ("levels", ((object(),),), (None, (), iter(()))),
    ],
)
def test_what_an_algorithm_says_of_its_groups_is_of_the_types_that_the_engine_takes(verb, fine, amiss):
    for came in fine:
        REPLIES["algorithms"][verb](came)
    for came in amiss:
        refused("algorithms", verb, came, match="must return ")


@pytest.mark.parametrize("kind", [torch.int8, torch.bool, torch.int32])
def test_numbers_of_examples_are_int64(kind):
    came = replace(ROWS, num_examples=ROWS.num_examples.to(kind))
    refused("update_attacks", "corrupt", (came, None), ROWS, match="num_examples as a tensor int64")


@pytest.mark.parametrize(
    "came",
    [
        Goal(X, Y[:1], Y),
        Goal(X, Y, Y[:1]),
        Goal(X, Y, Y[:, None]),
        Goal(X[:2], Y, Y),
        Goal(X, Y + 0.5, Y),
        Goal(X, Y, Y + 0.5),
    ],
)
def test_a_goal_has_one_whole_label_of_each_sort_for_each_example(came):
    refused("data_attacks", "goal", came, X, Y, match="as whole numbers")


def test_a_goal_may_be_on_some_of_the_examples():
    REPLIES["data_attacks"]["goal"](Goal(X[:2], Y[:2], Y[1:3]), X, Y)
    REPLIES["data_attacks"]["goal"](Goal(X[:0], Y[:0], Y[:0]), X, Y, lambda x: x)


def test_a_release_says_how_much_noise_there_was_and_between_which_neighbours():
    REPLIES["privacy"]["event"](Release(0.0, "zero_out"))
    for came, words in (
        (Release(-1.0, "add_remove"), "noise_multiplier, a finite number of at least 0"),
        (Release(float("nan"), "add_remove"), "noise_multiplier"),
        (Release(1.0, "remove"), "a relation, one of add_remove, zero_out, replace_one"),
        (Release(1.0, "none"), "a relation"),
    ):
        refused("privacy", "event", came, match=words)
