"""The journal of a run's tables: rows come back as they were added, and nothing else comes back."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from forged_journals import forged, parts_of, sealed

from gauntlet.core.errors import ResultsError
from gauntlet.sims.journal import Journal, Mark, frames, read_tables

SCHEMAS = {
    "a": pa.schema([("round", pa.int64()), ("x", pa.float64())]),
    "empty": pa.schema([("s", pa.string())]),
}


def rows(number: int) -> pa.Table:
    return pa.Table.from_pylist([{"round": number, "x": number / 3}, {"round": number}], schema=SCHEMAS["a"])


@pytest.fixture
def written(tmp_path):
    """Five rounds; and the marks after each."""
    journal, marks = Journal(tmp_path / "j", SCHEMAS), []
    for number in range(5):
        journal.add("a", rows(number))
        marks.append(journal.flush())
    return tmp_path / "j", marks


def test_rows_come_back_as_they_were_added(written):
    path, marks = written

    assert read_tables(path)["a"] == pa.concat_tables([rows(n) for n in range(5)])
    assert read_tables(path, marks[1].size)["a"] == pa.concat_tables([rows(0), rows(1)])
    assert read_tables(path)["empty"] == SCHEMAS["empty"].empty_table()
    assert [Mark.read(m.stored) for m in marks] == marks


def test_the_bytes_do_not_depend_on_when_they_are_written(written, tmp_path):
    path, marks = written
    once = Journal(tmp_path / "once", SCHEMAS)
    for number in range(5):
        once.add("a", rows(number))
    again = Journal(path, SCHEMAS, marks[2])
    again.add("a", rows(3))
    again.add("a", rows(4))

    assert once.flush() == again.flush() == marks[-1]
    assert (tmp_path / "once").read_bytes() == path.read_bytes()


def test_a_flush_writes_the_new_rows_alone(written):
    _, marks = written
    sizes = [after.size - before.size for before, after in pairwise(marks)]

    assert len(set(sizes)) == 1
    assert sizes[0] < marks[0].size


def test_no_turned_bit_is_read(written):
    """Every byte of the file, one bit each."""
    path, marks = written
    whole = path.read_bytes()
    for at in range(len(whole)):
        content = bytearray(whole)
        content[at] ^= 1 << at % 8
        path.write_bytes(content)
        with pytest.raises(ResultsError):
            Journal(path, SCHEMAS, marks[-1])
        with pytest.raises(ResultsError, match="is damaged at byte"):
            read_tables(path)


def test_a_tail_that_was_cut_off_is_left_out_and_no_mark_counts_on_it(written):
    path, marks = written
    whole = path.read_bytes()
    for size in range(marks[3].size, marks[4].size):
        path.write_bytes(whole[:size])
        assert [frame.mark for frame in frames(path)][-1] == marks[3]
        Journal(path, SCHEMAS, marks[3])
        with pytest.raises(ResultsError, match=f"is cut off after {marks[3].size} of {marks[4].size} bytes"):
            Journal(path, SCHEMAS, marks[4])


def test_another_runs_journal_of_the_same_length_is_refused(written, tmp_path):
    path, marks = written
    other = Journal(tmp_path / "other", SCHEMAS)
    for number in (0, 1, 2, 3, 5):
        other.add("a", rows(number))
    assert other.flush().size == marks[-1].size
    (tmp_path / "other").replace(path)

    with pytest.raises(ResultsError, match="holds other rows than those that were written"):
        Journal(path, SCHEMAS, marks[-1])


def test_columns_that_a_later_version_has_more_are_empty_before(written):
    path, marks = written
    more = {**SCHEMAS, "a": SCHEMAS["a"].append(pa.field("new", pa.string()))}
    journal = Journal(path, more, marks[-1])
    journal.add("a", pa.Table.from_pylist([{"round": 5, "new": "yes"}], schema=more["a"]))
    journal.flush()

    found = read_tables(path)["a"]
    assert found.schema == more["a"]
    assert found["new"].to_pylist() == [None] * 10 + ["yes"]


@pytest.mark.parametrize("stored", [None, 3, {}, {"bytes": -1, "digest": ""}, {"bytes": 1, "digest": "x"}])
def test_what_is_no_mark_is_refused(stored):
    with pytest.raises(ValueError):
        Mark.read(stored)


def strings(path, values):
    journal = Journal(path, {"s": pa.schema([("s", pa.string())])})
    journal.add("s", pa.table({"s": pa.array(values, pa.string())}))
    journal.flush()
    return parts_of(path)


def test_rows_that_say_they_lie_beyond_their_frame_are_refused_and_not_looked_for(tmp_path):
    """Arrow believes the offsets of strings, and would read memory that is not the file's."""
    (_, _, columns), (_, _, payload) = strings(tmp_path / "j", ["a" * 40, "b" * 40])
    far = payload.replace((80).to_bytes(4, "little"), (2**30).to_bytes(4, "little"))
    assert far != payload
    (tmp_path / "j").write_bytes(sealed([("s", b"c", columns), ("s", b"r", far)]))

    with pytest.raises(ResultsError, match=r"j cannot be read: "):
        read_tables(tmp_path / "j")


def test_rows_without_columns_and_columns_that_are_none_are_refused(tmp_path):
    (_, _, columns), (_, _, payload) = strings(tmp_path / "j", ["a"])
    for parts in ([("s", b"r", payload)], [("s", b"c", payload)], [("s", b"c", columns), ("s", b"r", b"")]):
        content = sealed(parts)
        (tmp_path / "j").write_bytes(content)
        with pytest.raises(ResultsError, match=r"j cannot be read: "):
            read_tables(tmp_path / "j")


def test_a_run_does_not_go_on_behind_columns_that_are_none(tmp_path):
    (_, _, payload) = strings(tmp_path / "j", ["a"])[1]
    content = sealed([("s", b"c", payload)])
    (tmp_path / "j").write_bytes(content)

    with pytest.raises(ResultsError, match=r"j cannot be read: "):
        Journal(tmp_path / "j", SCHEMAS, Mark(len(content), content[-len(payload) - 32 :][:32]))


def test_more_rows_than_a_frame_has_bits_are_refused(tmp_path):
    """A column of nothing has as many rows as it says, whatever the frame's size."""
    nothing = pa.schema([("n", pa.null())])
    batch = pa.record_batch([pa.nulls(10**6)], schema=nothing)
    parts = [("n", b"c", bytes(nothing.serialize())), ("n", b"r", bytes(batch.serialize()))]
    (tmp_path / "j").write_bytes(sealed(parts))

    with pytest.raises(ResultsError, match=r"j cannot be read: ValueError: 1000000 rows in \d+ bytes"):
        read_tables(tmp_path / "j")


def test_a_journal_that_somebody_writes_who_knows_the_format_is_read_or_refused_in_one_line(written):
    path, _ = written
    parts, ended = parts_of(path), {"read": 0, "refused": 0}
    for number in range(150):
        path.write_bytes(forged(parts, np.random.default_rng(number)))
        try:
            for table in read_tables(path).values():
                table.to_pandas(ignore_metadata=True)
            ended["read"] += 1
        except ResultsError as error:
            ended["refused"] += 1 if "\n" not in str(error) else -1000

    assert min(ended.values()) > 8, ended
