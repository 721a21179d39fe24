"""A finished run without its page: the process died between the two, at any place."""

import shutil

import pytest

from gauntlet.core.locks import FolderLock
from gauntlet.sims.report.writing import write_report
from gauntlet.sims.run import resume


@pytest.fixture
def finished(attacked, tmp_path):
    return shutil.copytree(attacked.folder, tmp_path / "finished")


def test_resuming_writes_the_page_and_drops_half_of_it(finished):
    whole = write_report([finished]).read_bytes()
    (finished / "report.html").rename(finished / "report.part")

    resume(finished)

    assert (finished / "report.html").read_bytes() == whole
    assert not (finished / "report.part").exists()


def test_resuming_leaves_a_page_that_is_there_and_drops_half_of_another(finished):
    (finished / "report.html").write_text("as it was")
    (finished / "report.part").write_text("half")

    resume(finished)

    assert (finished / "report.html").read_text() == "as it was"
    assert not (finished / "report.part").exists()


def test_a_page_that_another_process_may_be_writing_is_left_to_it(finished):
    (finished / "report.html").rename(finished / "report.part")

    with FolderLock(finished):
        resume(finished)

    assert (finished / "report.part").exists()
    assert not (finished / "report.html").exists()
