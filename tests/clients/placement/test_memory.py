"""Freed memory stays with the process: the system's own count of page faults is the oracle."""

import sys

import pytest
from forked import finish, start
from page_faults import write_faults


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is the GNU C library's")
def test_what_is_freed_is_used_again_without_asking_the_system(tmp_path):
    assert finish(start(write_faults, tmp_path / "faults")) == 0
    given_back, kept = map(int, (tmp_path / "faults").read_text().split())
    assert 3 * kept < given_back
