"""The table of frames against lengths counted by hand, and against the other tables."""

import numpy as np
import pytest

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
