"""The digits that stand for an object: equal code and values, equal digits; anything else, others."""

import copy
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from gauntlet.core.errors import PluginError
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


def digit(source, **beside):
    """Return the digits of what ``source`` calls ``made``."""
    space = {"__name__": "__main__", **beside}
    exec(compile(source, "<cell>", "exec"), space)
    return digest_of(space["made"])


DIFFERENT = {
    "what is tried": ("def made(x):\n try: x(); x()\n except ValueError: return 1",
                      "def made(x):\n try: x()\n except ValueError: return 1\n else: x()"),
    "a star": ("def made(x): return len(x)", "def made(*x): return len(x)"),
    "a keyword alone": ("def made(x, y): return x", "def made(x, *, y): return x"),
    "a class method": ("class made:\n @classmethod\n def f(c): return c",
                       "class made:\n @staticmethod\n def f(c): return c"),
    "an attribute of a function": ("def made(): return made.k\nmade.k = 1",
                                   "def made(): return made.k\nmade.k = 2"),
    "a metaclass": ("class M(type):\n k = 1\nclass made(metaclass=M): pass",
                    "class M(type):\n k = 2\nclass made(metaclass=M): pass"),
    "a list's class": ("class L(list):\n k = 1\nmade = L([1])", "class L(list):\n k = 2\nmade = L([1])"),
    "a list's attribute": ("class L(list): pass\nmade = L(); made.k = 1",
                           "class L(list): pass\nmade = L(); made.k = 2"),
    "a table's class": ("class D(dict):\n k = 1\nmade = D()", "class D(dict):\n k = 2\nmade = D()"),
    "a table's default": ("from collections import defaultdict as d\nmade = d(int)",
                          "from collections import defaultdict as d\nmade = d(list)"),
    "a tuple": ("made = [1, 2]", "made = (1, 2)"),
    "where a table ends": ("made = {'a': {'b': 1}, 'c': 2}", "made = {'a': {'b': 1, 'c': 2}}"),
    "a stream's state": ("import random\nmade = [random.Random(0)]",
                         "import random\nmade = [random.Random(1)]"),
    "a queue": ("from collections import deque\nclass Q(deque): pass\nmade = Q([1]); made.own = 1",
                "from collections import deque\nclass Q(deque): pass\nmade = Q([2]); made.own = 1"),
    "a partial": ("from functools import partial\ndef f(x): return 1\nmade = partial(f)",
                  "from functools import partial\ndef f(x): return 2\nmade = partial(f)"),
}  # fmt: skip


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_in_anything_that_it_does_has_other_digits(one, other):
    assert digit(one) == digit(one) != digit(other)


def test_what_code_names_of_a_module_of_ones_own_counts():
    helper, other = ModuleType("helper_of_mine"), ModuleType("helper_of_mine")
    source = "FACTOR, UNUSED = {}, {}\ndef scaled(x): return x * FACTOR"
    exec(source.format(2, 1), vars(helper))
    exec(source.format(3, 1), vars(other))
    code = "def made(x): return helper.scaled(x)"
    before = digit(code, helper=helper)
    helper.UNUSED = 5

    assert digit(code, helper=helper) == before != digit(code, helper=other)


def test_a_name_of_an_attribute_is_no_global():
    code = "def made(x): return x.run"

    assert digit(code, run=1) == digit(code, run=2)


def test_what_is_trained_of_a_module_counts():
    net = nn.Linear(2, 2)
    frozen = copy.deepcopy(net).requires_grad_(False)

    assert digest_of(net) != digest_of(frozen)
    assert digest_of(torch.eye(2).to_sparse()) != digest_of(torch.eye(2))


def test_what_an_object_keeps_for_speed_does_not_count():
    path, frame = [Path("a/b")], pd.DataFrame({"a": [1, 2]})
    before = digest_of(path), digest_of(frame), digest_of(logging.getLogger("mine"))
    _ = str(path[0]), repr(frame), frame.index.is_unique, logging.getLogger("another")

    assert (digest_of(path), digest_of(frame), digest_of(logging.getLogger("mine"))) == before


def test_what_is_nested_too_deeply_is_refused_in_one_line():
    deep: list = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(PluginError, match="nested too deeply"):
        digest_of(deep)
