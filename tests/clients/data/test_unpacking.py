import gzip
import lzma
import subprocess
import sys

import pytest

from gauntlet.clients.data import unpacking
from gauntlet.clients.data.unpacking import read_bytes
from gauntlet.core.errors import DataError

PACKED = {".gz": gzip.compress, ".xz": lzma.compress, ".bin": bytes}


@pytest.mark.parametrize("ending", PACKED)
def test_a_file_is_read_whole_if_it_is_no_larger_than_expected(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    path.write_bytes(PACKED[ending](b"12345"))

    assert read_bytes(path, 5) == read_bytes(path, 500) == b"12345"
    with pytest.raises(DataError, match=f"x{ending} holds more than 4 bytes, which is all that was expected"):
        read_bytes(path, 4)


@pytest.mark.parametrize("ending", [".gz", ".xz"])
def test_a_file_that_is_cut_or_is_none_is_named(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    for content in (PACKED[ending](b"12345")[:-5], b"12345", b"", PACKED[ending](b"12345")[:20]):
        path.write_bytes(content)
        if content or ending == ".xz":  # an empty file is an empty gzip file
            with pytest.raises(DataError, match=r"not a whole (gzip|xz) file"):
                read_bytes(path, 100)


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "pack"), [(".gz", "gzip"), (".xz", "lzma")])
def test_a_file_that_unpacks_to_gigabytes_takes_no_more_memory_than_was_expected(tmp_path, ending, pack):
    """400 MB of zeros in a process that may take 300 MB more than it has: memory follows what is expected."""
    path = tmp_path / f"bomb{ending}"
    code = (
        f"import {pack}, resource, sys\n"
        f"with {pack}.open({str(path)!r}, 'wb') as file:\n"
        "    for _ in range(400): file.write(bytes(10**6))\n"
        "from pathlib import Path\n"
        "from gauntlet.clients.data.unpacking import read_bytes\n"
        "from gauntlet.core.errors import DataError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        f"    read_bytes(Path({str(path)!r}), 10**6)\n"
        "except DataError as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line, grown = done.stdout.splitlines()

    assert "holds more than 1000000 bytes" in line
    assert int(grown) < 100  # MB


def test_what_was_unpacked_last_is_not_unpacked_again(tmp_path, monkeypatch):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"first", mtime=0))
    before = read_bytes(path, 10)
    with monkeypatch.context() as patch:
        patch.setattr(gzip, "open", lambda _: pytest.fail("unpacked again"))
        assert read_bytes(path, 10) == before == b"first"
    path.write_bytes(gzip.compress(b"other", mtime=0))
    assert read_bytes(path, 10) == b"other"
    with pytest.raises(DataError, match="holds more than 4 bytes"):
        read_bytes(path, 4)


def test_what_is_kept_is_bounded(tmp_path):
    for i in range(3):
        path = tmp_path / f"{i}.gz"
        path.write_bytes(gzip.compress(bytes(2**25), compresslevel=1))
        read_bytes(path, 2**25)
    assert sum(map(len, unpacking._KEPT.values())) == 2**26
    path.write_bytes(gzip.compress(bytes(2**26 + 1), compresslevel=1))
    assert len(read_bytes(path, 2**27)) == 2**26 + 1
    assert not unpacking._KEPT
