"""The digits that stand for an object: equal code and values, equal digits; anything else, others."""

import re
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.core.live_digest import digest_of

SOURCE = """
from dataclasses import dataclass
FACTOR = {factor}
def scaled(x):
    return x * FACTOR
@dataclass(frozen=True)
class Rule:
    power: float = {default}
    # {comment}
    def aggregate(self, x):
        return scaled(x) ** self.power + {constant}
"""


def written(factor=2, default=1.0, comment="", constant=3):
    """Return a class as another process would make it of that source."""
    space = {"__name__": "__main__"}
    text = SOURCE.format(factor=factor, default=default, comment=comment, constant=constant)
    exec(compile(text, "<cell>", "exec"), space)
    return space["Rule"]


def test_the_same_source_has_the_same_digits_and_a_comment_changes_none():
    assert digest_of(written()) == digest_of(written()) == digest_of(written(comment="otherwise"))
    assert re.fullmatch("[0-9a-f]{16}", digest_of(written()))


@pytest.mark.parametrize("changed", [{"factor": 5}, {"default": 2.0}, {"constant": 4}])
def test_a_constant_a_default_and_a_global_that_is_named_count(changed):
    assert digest_of(written()) != digest_of(written(**changed))


def test_a_class_of_a_script_is_that_of_a_notebook():
    """What dataclasses write into a class names its module, where there is one."""
    source = SOURCE.format(factor=2, default=1.0, comment="", constant=3)
    space = {"__name__": "somewhere"}
    exec(compile(source, "<cell>", "exec"), space)

    assert digest_of(space["Rule"]) == digest_of(written())


def test_values_count():
    rule = written()

    assert digest_of(rule(0.5)) == digest_of(written()(0.5)) != digest_of(rule(0.25))


def test_tensors_arrays_and_modules_count_by_their_numbers():
    torch.manual_seed(0)
    net, other = nn.Linear(2, 2), nn.Linear(2, 2)
    same = nn.Linear(2, 2)
    same.load_state_dict(net.state_dict())

    assert digest_of(net) == digest_of(same) != digest_of(other)
    assert digest_of(np.zeros(3)) != digest_of(np.zeros(3, np.float32)) != digest_of(torch.zeros(3))
    assert digest_of(torch.tensor(1.0)) != digest_of(torch.tensor(2.0))


def test_what_holds_itself_ends():
    endless: list = []
    endless.append(endless)

    assert digest_of(endless) == digest_of(endless)


def test_what_cannot_be_written_down_is_equal_to_itself_alone():
    import threading

    lock = threading.Lock()

    assert digest_of(lock) == digest_of(lock) != digest_of(threading.Lock())


def test_a_dataclass_with_factories_and_closures():
    def made(number):
        @dataclass
        class Own:
            values: list = field(default_factory=list)

            def get(self):
                return number

        return Own

    assert digest_of(made(1)) == digest_of(made(1)) != digest_of(made(2))
