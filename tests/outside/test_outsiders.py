"""Plug-ins written outside the tree, a file each: they run as ours do, on any pool, and after a kill."""

from functools import cache
from pathlib import Path

import pytest
from outsiders import FOLDER, PAGES, RUNS, bits, killed, plugin_of, scenario
from typer.testing import CliRunner

from gauntlet.sims.cli import app
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.scenario import make_scenario

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("file", PAGES)
def test_each_is_one_file_of_at_most_80_lines_and_a_page_shows_it(file):
    code = (FOLDER / file).read_text(encoding="utf-8")
    assert len(code.splitlines()) <= 80
    assert f"```python\n{code}```" in (DOCS / PAGES[file]).read_text(encoding="utf-8")


def test_every_file_here_is_tried():
    assert {p.name for p in FOLDER.glob("*.py")} - set(PAGES) == {p.name for p in FOLDER.glob("test_*.py")}
    assert [outsider.split(":")[0] for outsider in RUNS] == list(PAGES)


@pytest.mark.parametrize("outsider", RUNS)
def test_each_keeps_every_promise_of_its_family(outsider):
    family, name, given = plugin_of(outsider)
    options = [f"--set={k}={v}" for k, v in given.items()]
    said = CliRunner().invoke(app, ["check-plugin", name, "--family", family, *options])

    assert said.exit_code == 0, said.output
    assert "FAILED" not in said.output


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a function from a plug-in to the bits of its run, six rounds in one process that never stops."""

    @cache
    def run(outsider):
        folder = tmp_path_factory.mktemp("whole") / "run"
        return bits(simulate(make_scenario(scenario(outsider)), folder).folder)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("outsider", RUNS)
def test_ray_gives_the_bits_of_one_process(outsider, whole, tmp_path, ray_here):
    ray = scenario(outsider, runtime={"pool": "ray", "num_workers": 2})
    assert bits(simulate(make_scenario(ray), tmp_path / "ray").folder) == whole(outsider)


@pytest.mark.slow
@pytest.mark.parametrize("outsider", RUNS)
def test_killed_and_resumed_each_gives_the_bits_of_a_run_that_never_stopped(outsider, whole, tmp_path):
    dead = killed(scenario(outsider), tmp_path)
    resume(dead)
    assert bits(dead) == whole(outsider)
