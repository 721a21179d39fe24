"""A checkpoint comes back to the last bit or not at all."""

import json
import struct
import zlib
from dataclasses import fields, replace
from random import Random

import pytest
import torch
from safetensors.torch import save

from gauntlet.core.errors import CheckpointError
from gauntlet.core.trees import equal, pack
from gauntlet.server.checkpoint import load_newest, read_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare


@pytest.fixture
def state(small):
    return prepare(small()).first


@pytest.fixture
def saved(state, tmp_path):
    return save_checkpoint(tmp_path, state, "run", {"tables": {"bytes": 3, "digest": "ab"}, "audit": [0.5]})


def test_what_was_saved_beside_the_state_comes_back_with_it(saved):
    assert read_checkpoint(saved, "run").beside == {"tables": {"bytes": 3, "digest": "ab"}, "audit": [0.5]}


def test_equal_states_give_equal_bytes(state, saved, tmp_path):
    again = save_checkpoint(tmp_path / "b", state, "run", read_checkpoint(saved, "run").beside)

    assert again.read_bytes() == saved.read_bytes()


def test_no_turned_bit_is_accepted(saved):
    """Every bit of the digest and of the file's first bytes, and 300 others: head, padding, tensors."""
    whole = saved.read_bytes()
    at = whole.index(b"digest")
    bits = [*range(64), *range(8 * (at - 20), 8 * (at + 90)), *Random(0).sample(range(8 * len(whole)), 300)]
    for bit in bits:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        saved.write_bytes(content)
        with pytest.raises(CheckpointError):
            read_checkpoint(saved, "run")


def test_bytes_behind_the_end_are_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(CheckpointError):
        read_checkpoint(saved, "run")


def in_schema_1(state, run="run"):
    """A file as the version before wrote it: a CRC of the tensors in the head."""
    skeleton, tensors = pack({f.name: getattr(state, f.name) for f in fields(state)})
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes(), total)
    head = {"schema": 1, "run": run, "state": skeleton, "checksum": total}
    return save(tensors, metadata={"gauntlet": json.dumps(head)})


def test_schema_1_is_read(state, tmp_path):
    path = tmp_path / "round-000000.safetensors"
    path.write_bytes(in_schema_1(state))
    found = read_checkpoint(path, "run")

    assert found.beside is None
    assert all(equal(getattr(found.state, f.name), getattr(state, f.name)) for f in fields(state))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"round": -1}, "round is -1, expected a whole number"),
        ({"round": True}, "round is True"),
        ({"bytes_up": 0.5}, "bytes_up is 0.5"),
        ({"clock": "now"}, "clock is 'now'"),
        ({"params": None}, "params is no vector of float32"),
        ({"params": torch.zeros(3, dtype=torch.bfloat16)}, "params is no vector"),
        ({"buffers": torch.zeros(2, 2)}, "buffers is no vector"),
    ],
)
def test_a_state_of_other_types_is_refused(state, tmp_path, changes, words):
    """A well made file with a right checksum, which no run writes."""
    name = tmp_path / "round-000009.safetensors"
    name.write_bytes(in_schema_1(replace(state, **changes)))
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(name, "run")


def test_the_newest_that_is_whole_is_taken_and_the_others_are_named(state, tmp_path):
    paths = [save_checkpoint(tmp_path, replace(state, round=t), "run") for t in (1, 2)]
    paths[1].write_bytes(b"torn")

    found, refused = load_newest(tmp_path, "run", lambda _: None)
    assert found.state.round == 1
    assert len(refused) == 1
    assert "round-000002.safetensors cannot be read" in refused[0]


def test_what_a_checkpoint_stands_on_is_looked_at_before_it_is_taken(state, tmp_path):
    for t in (1, 2):
        save_checkpoint(tmp_path, replace(state, round=t), "run")

    def refuse(checkpoint):
        if checkpoint.state.round == 2:
            raise CheckpointError("no rows")

    found, refused = load_newest(tmp_path, "run", refuse)
    assert (found.state.round, refused) == (1, ["no rows"])


def test_where_none_is_whole_the_way_out_is_named(state, tmp_path):
    for t in (1, 2):
        save_checkpoint(tmp_path, replace(state, round=t), "run").write_bytes(b"torn")

    with pytest.raises(CheckpointError, match=r"000002.* before it .*; delete .* from round 0"):
        load_newest(tmp_path, "run", lambda _: None)


def test_a_checkpoint_drops_those_of_rounds_that_are_run_again(state, tmp_path):
    """After the newest was refused, its round comes again; until then no older one may be dropped for it."""
    for t in (1, 2, 5):
        save_checkpoint(tmp_path, replace(state, round=t), "run")
    save_checkpoint(tmp_path, replace(state, round=3), "run")

    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "round-000002.safetensors",
        "round-000003.safetensors",
    ]


def test_a_head_that_is_longer_than_the_file_is_refused(saved):
    saved.write_bytes(struct.pack("<Q", 2**60) + saved.read_bytes()[8:])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(saved, "run")
