"""The table of frames against lengths counted by hand, and against the other tables."""

from math import isfinite

import numpy as np
import pytest

from gauntlet.clients.codecs.parts.wire import frame_spec
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Envelope, payload_bytes, read_frame
from gauntlet.core.presence import reduced
from gauntlet.server.simulation import prepare
from gauntlet.sims.frame_table import frame_rows
from gauntlet.sims.run import simulate


@pytest.fixture
def small(tiny, tmp_path):
    """Return a function from changes to a finished run of 4 clients on digits: a linear model 64 to 10."""

    def run(**changes):
        linear = {"model": {"name": "mlp", "hidden": []}, "rounds": 2, "num_clients": 4}
        return simulate(tiny(**linear, **changes), tmp_path / f"run{len(list(tmp_path.iterdir()))}")

    return run


def test_a_frames_parts_add_up_as_counted_by_hand(small):
    """Tensors of 640 and 10. Sign: bodies 84 and 6 behind headers of 5 and 4 bytes, 20 more: 119.

    Ideal: a bit an element and 32 a scale. Down, halves: 1280 and 20 behind 6 and 4, and 16 bits an element.
    """
    frames = small(codec={"name": "sign"}, codec_down={"name": "fp16"}).frames
    up, down = frames[frames.direction == "up"], frames[frames.direction == "down"]
    assert len(up) == 8
    assert len(down) == 2
    for rows, payload, whole, ideal in ((up, 90, 119, 714), (down, 1300, 1330, 10400)):
        assert set(rows.payload_bytes) == {payload}
        assert set(rows.frame_bytes) == {whole}
        assert set(rows.ideal_bits) == {ideal}
        assert set(rows.numel) == {650}
    assert up.client_id.tolist() == [0, 1, 2, 3] * 2
    assert down.client_id.isna().all()


def test_bytes_of_frames_are_those_of_the_other_tables(small):
    run = small(codec={"name": "topk", "density": 0.05}, codec_down={"name": "fp16"})
    up, down = (run.frames[run.frames.direction == way] for way in ("up", "down"))
    np.testing.assert_array_equal(up.frame_bytes, run.clients.bytes_up)
    np.testing.assert_array_equal(up.groupby("round").frame_bytes.sum(), run.rounds.bytes_up)
    np.testing.assert_array_equal(4 * down.frame_bytes, run.rounds.bytes_down)


def test_what_is_lost_is_what_the_codec_says(small):
    """Sign loses 1 - ||u||_1^2 / (n ||u||^2) of a tensor, between 0 and 1; halves at most 2^-22."""
    frames = small(codec={"name": "sign"}, codec_down={"name": "fp16"}).frames
    assert frames[frames.direction == "up"].nmse.between(0.05, 0.95).all()
    assert frames[frames.direction == "down"].nmse.between(0, 2.0**-22).all()


def test_float32_both_ways_needs_no_table(small):
    assert small().frames is None


def test_only_one_direction_is_listed_where_the_other_is_float32(small):
    assert set(small(codec_down={"name": "fp16"}).frames.direction) == {"down"}
    assert set(small(codec={"name": "fp16"}).frames.direction) == {"up"}


def test_seconds_of_coding_stand_in_the_table_that_differs_between_runs(small):
    times = small(codec={"name": "terngrad"}).timings
    assert (times.encode_seconds > 0).all()
    assert (times.decode_seconds > 0).all()


def slow_rows(plan, o):
    """Return what the table says of a round's messages, each frame read once more and alone."""
    for row, client in enumerate(o.sent.client_ids.tolist()):
        layout, spec, frame = plan.exchange.up, plan.public, o.frames[row]
        if o.sent.presence is not None:
            present = o.sent.presence.levels[o.sent.presence.level[row]]
            layout, spec = reduced(layout, present), frame_spec(spec, present)
        envelope = Envelope(plan.codec.codec_id, int(o.sent.started[row]), client, spec)
        try:
            records = read_frame(frame, envelope, plan.codec.records(layout), len(frame))
            bits = float(plan.codec.ideal_bits(records, layout))
        except FrameError:
            bits = None
        lost = None
        if client in o.received.client_ids.tolist():
            own = o.sent.vectors[row].double()
            came = o.received.vectors[o.received.client_ids == client][0].double()
            length, error = float(own.square().sum()), float((came - own).square().sum())
            lost = error / length if length > 0 and isfinite(error / length) else None
        yield {
            "round": o.round,
            "client_id": client,
            "direction": "up",
            "numel": layout.num_parameters,
            "ideal_bits": bits,
            "payload_bytes": payload_bytes(frame),
            "frame_bytes": len(frame),
            "nmse": lost,
        }


LATE = {
    "schedule": {"name": "buffered", "buffer_size": 3, "concurrency": 5},
    "defense": {"weighting": "uniform"},
    "num_clients": 8,
}
LINKS = {"name": "links", "latency_seconds": 1.0, "jitter": 1.0, "dropout": 0.2}


@pytest.mark.parametrize("codec", ["fp16", "terngrad", "topk", "qsgd"])
@pytest.mark.parametrize(
    "changes",
    [
        {"attacks": [{"name": "non_finite", "count": 1}, {"name": "zero", "count": 1}], "network": LINKS},
        {"algorithm": {"name": "heterofl", "rates": [1.0, 0.5]}, "defense": {"weighting": "uniform"}},
        {**LATE, "network": LINKS},
    ],
    ids=["attacked", "levels", "late"],
)
def test_rows_are_those_of_frames_read_once_more_one_by_one(tiny, codec, changes):
    """To the last bit: where messages are lost, late or of several lengths, and where some do not decode."""
    simulation = prepare(tiny(codec={"name": codec}, **changes).run_spec())
    for step in simulation.steps(simulation.serial_pool()):
        table = frame_rows(simulation.plan, step)
        assert table.to_pylist() == list(slow_rows(simulation.plan, step.outcome))


def test_what_a_client_that_was_away_received_has_a_row_and_is_counted_down(small):
    """Of 650 parameters: whole 2,600 bytes in records of 6 and 4 behind 20; a tenth goes down in a frame."""
    down = {"name": "difference", "codec": {"name": "topk", "density": 0.1}}
    run = small(codec_down=down, sampler={"name": "round_robin", "period": 2})
    frames = run.frames
    away, frame = frames[frames.direction == "catchup"], frames[frames.direction == "down"]
    assert away["round"].tolist() == [0, 0, 1, 1]
    assert set(away.frame_bytes) == {2630}
    total = away.groupby("round").frame_bytes.sum().to_numpy() + 2 * frame.frame_bytes.to_numpy()
    np.testing.assert_array_equal(total, run.rounds.bytes_down)


def test_frames_that_were_decoded_are_not_read_again(tiny, monkeypatch):
    from gauntlet.clients.codecs.parts import accounts

    again = []
    monkeypatch.setattr(accounts, "read_frame", lambda frame, *rest: again.append(read_frame(frame, *rest)))
    simulation = prepare(tiny(codec={"name": "fp16"}).run_spec())
    for step in simulation.steps(simulation.serial_pool()):
        assert frame_rows(simulation.plan, step).num_rows == 6
    assert not again
