"""State without pickle."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gauntlet.core.trees import equal, pack, unpack

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
KEYS = st.text(max_size=4) | st.integers()
TREES = st.recursive(
    LEAVES,
    lambda t: st.lists(t, max_size=3) | st.dictionaries(KEYS, t, max_size=3) | st.tuples(t, t),
    max_leaves=12,
)


@given(TREES)
def test_any_tree_survives_json(tree):
    skeleton, tensors = pack(tree)

    assert unpack(json.loads(json.dumps(skeleton)), tensors) == tree


def test_tensors_types_and_key_types_survive():
    tree = {3: torch.tensor([1, 2]), "3": (torch.tensor(0.1), [None, 0.1])}

    back = unpack(*pack(tree))

    assert equal(back, tree)
    assert back[3].dtype == torch.int64
    assert isinstance(back["3"], tuple)


def test_the_saved_tensor_is_a_copy():
    tensor = torch.zeros(2)
    _, tensors = pack([tensor])
    tensor += 1

    assert tensors["s.0"].tolist() == [0, 0]


@pytest.mark.parametrize("stranger", [object(), {1.5: 0}, {True: 0}, {"a": {1, 2}}])
def test_what_is_no_tree_is_refused_with_its_place(stranger):
    with pytest.raises(TypeError, match=r"state at s\.0"):
        pack([stranger])


def nested(levels):
    tree = 1
    for _ in range(levels):
        tree = [tree]
    return tree


def test_what_no_file_could_hold_is_refused_with_its_place():
    circle: list = []
    circle.append(circle)
    sparse, hollow = torch.ones(3).to_sparse(), torch.ones(3, device="meta")
    for stranger in (circle, nested(5000), 10**5000, sparse, hollow):
        with pytest.raises(TypeError, match=r"state at s\.0"):
            pack([stranger])


def test_what_a_file_can_just_hold_survives():
    tree = [nested(90), 10**4000]
    skeleton, tensors = pack(tree)

    assert unpack(json.loads(json.dumps(skeleton)), tensors) == tree


@pytest.mark.parametrize("value", [[1], {"x": 1}, {"t": "gone"}, {"l": [], "d": []}, 1.5])
def test_what_was_not_packed_is_refused(value):
    with pytest.raises(ValueError, match="packed state"):
        unpack(value, {})


def test_equal_looks_at_every_bit():
    assert equal([torch.tensor([float("nan")])], [torch.tensor([float("nan")])])
    assert not equal(torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64))
    assert not equal({"a": 1.0}, {"a": 1})
    assert not equal(torch.tensor([1.0]), torch.tensor([1.0 + 1e-7]))
