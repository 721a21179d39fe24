"""Our defenses in Flower. Oracles: a defense of ours called directly; hand calculations."""

import os
import re
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from flower_replies import flat, message, record, replies_of, updates_of
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from gauntlet.defenses import DEFENSES
from gauntlet.defenses.krum import Krum
from gauntlet.server.flower import GauntletStrategy, client_id_of

ROOT = Path(__file__).parents[3]


def started(defense: Any, params: torch.Tensor, round_: int = 1, **options: Any) -> GauntletStrategy:
    """Return a strategy that has sent ``params`` out to nobody: with fraction 0 no grid is asked."""
    strategy = GauntletStrategy(defense, fraction_train=0.0, **options)
    strategy.configure_train(round_, record(params), ConfigRecord(), None)
    return strategy


# ---- GauntletStrategy -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mean", {}),
        ("multi_krum", {"num_byzantine": 2}),
        ("foolsgold", {}),
        ("centered_clipping", {"clip_norm": 0.5}),
    ],
)
def test_a_defense_decides_in_flower_as_it_does_here(name, options):
    """Three rounds, so that what FoolsGold and centered clipping remember counts."""
    defense = DEFENSES.build(name, options)
    memory, strategy = defense.init(), GauntletStrategy(name, options, fraction_train=0.0)
    for t in range(3):
        updates = updates_of(round_=t)
        expected, memory = defense.aggregate(updates, memory)
        strategy.configure_train(t + 1, record(updates.context.params), ConfigRecord(), None)

        arrays, metrics = strategy.aggregate_train(t + 1, reversed(replies_of(updates)))

        assert torch.allclose(flat(arrays), updates.context.params + expected.aggregate, atol=1e-5)
        assert metrics["loss"] == pytest.approx(2.0)


def test_a_reply_that_does_not_fit_or_is_not_finite_is_left_out():
    updates = updates_of()
    bad = updates.vectors.clone()
    bad[1, 0] = float("nan")
    replies = replies_of(updates.with_vectors(bad))
    replies[3].content["m"] = MetricRecord({"num-examples": -5})
    del replies[4].content["a"]["bias"]
    good = updates.rows(torch.tensor([0, 2, 5, 6, 7, 8, 9, 10]))
    expected = DEFENSES.build("mean").aggregate(good, None)[0].aggregate
    strategy = started("mean", updates.context.params)

    arrays, _ = strategy.aggregate_train(1, replies)

    assert torch.allclose(flat(arrays), updates.context.params + expected, atol=1e-5)


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


class Counted(Array):
    """An array that counts how often it is decoded."""

    times: ClassVar[list[int]] = [0]

    def numpy(self):
        self.times[0] += 1
        return super().numpy()


def test_each_reply_is_decoded_once():
    """By hand: one array of this kind in each of four replies."""
    updates = updates_of(4)
    replies = replies_of(updates)
    for reply in replies:
        reply.content["a"]["bias"] = Counted(reply.content["a"]["bias"].numpy())

    started("mean", updates.context.params).aggregate_train(1, replies)

    assert Counted.times == [4]


@pytest.mark.parametrize("dtype", ["<f2", "<f8", ">f4"])
def test_floating_arrays_of_another_width_or_byte_order_are_an_update(dtype):
    """Zeros in any of them: the local parameters are 0, the mean of one update gives them back."""
    params = updates_of().context.params
    zeros = ArrayRecord({k: Array(np.zeros(a.shape, dtype)) for k, a in record(params).items()})
    reply = message(RecordDict({"a": zeros, "m": MetricRecord({"num-examples": 1})}), 5)

    arrays, _ = started("mean", params).aggregate_train(1, [reply])

    assert torch.allclose(flat(arrays), torch.zeros(17), atol=1e-6)


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


def test_numbers_with_and_without_a_point_are_metrics_of_one_form():
    """By hand: (2 * 1 + 5.0 * 2) / 3 = 4, with the 1 and 2 examples of the first two clients."""
    updates = updates_of(2)
    replies = replies_of(updates)
    replies[0].content["m"]["loss"], replies[1].content["m"]["loss"] = 2, 5.0

    _, metrics = started("mean", updates.context.params).aggregate_train(1, replies)

    assert metrics["loss"] == pytest.approx(4.0)


def test_nobody_to_listen_to_leaves_flowers_model_alone():
    strategy = started("mean", updates_of().context.params)

    assert strategy.aggregate_train(1, []) == (None, None)


def test_whole_numbers_stay_as_they_were_and_types_are_kept():
    """A batch counter is no parameter; a float64 array comes back as one: (1 + 3) / 2 - 0 = 2."""
    before = ArrayRecord({"w": Array(np.zeros(2)), "batches": Array(np.array([7]))})
    strategy = GauntletStrategy("mean", fraction_train=0.0)
    strategy.configure_train(1, before, ConfigRecord(), None)
    metrics = MetricRecord({"num-examples": 1})
    replies = [
        message(
            RecordDict(
                {"a": ArrayRecord({"w": Array(np.full(2, v)), "batches": Array(np.array([9]))}), "m": metrics}
            ),
            node,
        )
        for node, v in ((2**64 - 1, 1.0), (5, 3.0))
    ]

    arrays, _ = strategy.aggregate_train(1, replies)

    assert arrays["w"].numpy().tolist() == [2.0, 2.0]
    assert arrays["w"].numpy().dtype == np.float64
    assert arrays["batches"].numpy().tolist() == [7]


def test_every_node_has_a_client_id_of_its_own_that_int64_holds():
    assert [client_id_of(n) for n in (0, 5, 2**63 - 1, 2**63, 2**64 - 1)] == [0, 5, 2**63 - 1, -(2**63), -1]


# ---- the example ----------------------------------------------------------------------------------------


EXAMPLE = ROOT / "docs/examples/flower"


def test_the_example_names_its_apps_and_the_parts_that_flower_does_not_deprecate():
    """``flwr run`` reads the components; Flower 1.41 deprecates ``run_simulation``."""
    app = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    code = (EXAMPLE / "digits.py").read_text()

    assert app["components"] == {"serverapp": "digits:server", "clientapp": "digits:client"}
    assert all(f"\n{name} = " in code for name in ("server", "client"))
    assert "run_simulation" not in code
    DEFENSES.build(app["config"]["defense"], {"num_byzantine": 3})


@pytest.fixture
def superlink(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Run a SuperLink of our own on a free port of this machine; return the environment that finds it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    off = ("FLWR_DISABLE_UPDATE_CHECK", "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION")
    environment = os.environ | dict.fromkeys(off, "1")
    environment |= {"FLWR_HOME": str(tmp_path), "FLWR_TELEMETRY_ENABLED": "0", "RAY_ADDRESS": "local"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    (tmp_path / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    command = ["flower-superlink", "--insecure", "--simulation", "--isolation", "subprocess"]
    with (tmp_path / "superlink.log").open("w") as log:
        where = ["--host", "127.0.0.1", "--port", str(port)]
        service = subprocess.Popen([*command, *where], env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and service.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        yield environment
    finally:
        service.terminate()
        service.wait(60)


@pytest.mark.slow
def test_the_example_learns_behind_multi_krum_and_not_behind_the_mean(superlink):
    accuracies = {d: _last_accuracy(d, superlink) for d in ("multi_krum", "mean")}

    assert accuracies["multi_krum"] > 0.85
    assert accuracies["mean"] < 0.5


def _last_accuracy(defense: str, environment: dict[str, str]) -> float:
    nodes, chosen = "num-supernodes=10", f'defense="{defense}"'
    options = ["--stream", "--federation-config", nodes, "--run-config", chosen]
    command = ["flwr", "run", str(EXAMPLE), "here", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    said = done.stdout + done.stderr
    lines = [line for line in said.splitlines() if line.startswith("round 3 accuracy")]
    assert done.returncode == 0, said[-2000:]
    assert lines, said[-2000:]
    assert "DEPRECATED" not in said
    return float(lines[0].split()[-1])
