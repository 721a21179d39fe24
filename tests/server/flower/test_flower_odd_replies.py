"""Replies in Flower that are no update, or of an odd form: left out in one line, and the others count."""

import re
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from flower_replies import flat, message, replies_of, started, updates_of
from flwr.app import Array, Error, Message, RecordDict

from gauntlet.defenses import DEFENSES
from gauntlet.defenses.krum import Krum


def npy(value: Any, pickled: bool = False) -> bytes:
    buffer = BytesIO()
    np.save(buffer, value, allow_pickle=pickled)
    return buffer.getvalue()


def said(data: bytes, dtype: str = "float32") -> Array:
    """Return an array that says it is a good ``bias``, whatever the bytes are."""
    return Array(dtype=dtype, shape=(4,), stype="numpy.ndarray", data=data)


def npz() -> bytes:
    buffer = BytesIO()
    np.savez(buffer, np.zeros(4, np.float32))
    return buffer.getvalue()


class Loaded:
    """Leaves a mark when it is unpickled."""

    marks: ClassVar[list[str]] = []

    def __reduce__(self) -> Any:
        return (self.marks.append, ("unpickled",))


def warnings(caplog: Any) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("gauntlet")]


HUGE = np.lib.format.magic(1, 0) + b"\x76\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,)}"


@pytest.mark.parametrize(
    ("bias", "why"),
    [
        (said(b"garbage"), "cannot be decoded"),
        (said(b""), "cannot be decoded"),
        (said((HUGE % 10**13).ljust(128)), "cannot be decoded"),
        (said(npy(np.array([Loaded()] * 4), pickled=True)), "cannot be decoded"),
        (said(npz()), "is not one array"),
        (said(npy(np.zeros(5, np.float32))), r"<f4 \(5,\), in the global model <f4 \(4,\)"),
        (said(npy(np.array(["a"] * 4))), r"<U1 \(4,\)"),
        (Array(np.array(["a"] * 4)), r"<U1 \(4,\)"),
        (Array(np.zeros(4, np.complex64)), r"<c8 \(4,\)"),
        (Array(np.zeros(4, np.int64)), r"<i8 \(4,\)"),
        (Array(np.full(4, 1e300)), "not finite"),
        (Array(dtype="float32", shape=(4,), stype="a\nb", data=npy(np.zeros(4))), "cannot be decoded"),
    ],
)
def test_one_reply_that_is_no_update_is_left_out_in_one_line_and_the_others_count(bias, why, caplog):
    """The oracle is the defense on the three others."""
    updates = updates_of(4)
    expected = DEFENSES.build("mean").aggregate(updates.rows(torch.tensor([0, 1, 3])), None)[0].aggregate
    replies = replies_of(updates)
    replies[2].content["a"]["bias"] = bias

    arrays, metrics = started("mean", updates.context.params).aggregate_train(1, replies)

    assert torch.allclose(flat(arrays), updates.context.params + expected, atol=1e-6)
    assert metrics["loss"] == pytest.approx(2.0)
    (warning,) = warnings(caplog)
    assert re.match(rf"node 16 is left out: .*{why}", warning)
    assert "\n" not in warning
    assert Loaded.marks == []


def test_too_few_replies_for_the_defense_leave_the_arrays_in_one_line(caplog):
    """As flwr's own Bulyan does, and Flower's server goes on with the next round."""
    updates = updates_of(4)
    strategy = started(Krum(2), updates.context.params)

    assert strategy.aggregate_train(1, replies_of(updates)) == (None, None)
    assert warnings(caplog) == ["the arrays stay as they were: the defense needs 7 updates or more, got 4"]
    assert strategy.verdict is None


def test_a_node_that_failed_is_left_out_in_one_line_whatever_its_reason(caplog):
    updates = updates_of(1)
    failed = Message(error=Error(1, "a\nb"), metadata=message(RecordDict(), 5).metadata)

    started("mean", updates.context.params).aggregate_train(1, [failed, *replies_of(updates)])

    assert warnings(caplog) == [r"node 5 is left out: error: 'a\nb'"]


@pytest.mark.parametrize("claim", [True, float("nan"), float("inf"), 2**53, -1, [3]])
def test_a_reply_without_a_number_of_examples_is_left_out(claim, caplog):
    """The oracle is the defense on the three others."""
    updates = updates_of(4)
    expected = DEFENSES.build("mean").aggregate(updates.rows(torch.tensor([0, 1, 3])), None)[0].aggregate
    replies = replies_of(updates)
    vars(replies[2].content["m"])["_data"]["num-examples"] = claim  # Flower itself refuses a bool

    arrays, _ = started("mean", updates.context.params).aggregate_train(1, replies)

    assert torch.allclose(flat(arrays), updates.context.params + expected, atol=1e-6)
    assert warnings(caplog) == ["node 16 is left out: it has no 'num-examples' between 0 and 2**53"]


@pytest.mark.parametrize(
    ("usual", "odd", "mean"),
    [(2.0, [1.0, 2.0], 2.0), ([1.0, 2.0], 5.0, [1.0, 2.0]), ([1.0, 2.0], [3.0], [1.0, 2.0])],
)
def test_metrics_of_another_form_are_left_out_of_the_mean_and_their_update_counts(usual, odd, mean, caplog):
    """By hand: the mean of equal metrics is that metric, whatever the weights."""
    updates = updates_of(4)
    expected = DEFENSES.build("mean").aggregate(updates, None)[0].aggregate
    replies = replies_of(updates)
    for k, reply in enumerate(replies):
        reply.content["m"]["loss"] = odd if k == 2 else usual

    arrays, metrics = started("mean", updates.context.params).aggregate_train(1, replies)

    assert metrics["loss"] == pytest.approx(mean)
    assert torch.allclose(flat(arrays), updates.context.params + expected, atol=1e-6)
    assert [m.partition(":")[0] for m in warnings(caplog)] == ["node 16 is left out of the metrics"]
