"""The weights of a finished run, against the run's own scores; and folders that hold none."""

import pytest
import torch

from gauntlet.clients.models.from_run import FromRun
from gauntlet.core.errors import DataError, PluginError
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario

TINY = {
    "name": "tiny",
    "rounds": 2,
    "num_clients": 4,
    "data": "digits",
    "model": {"name": "mlp", "hidden": [8]},
    "runtime": {"pool": "serial"},
}
INNER = {"name": "mlp", "hidden": [8]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return simulate(make_scenario(TINY), tmp_path_factory.mktemp("finished") / "run")


def test_a_run_goes_on_from_the_weights_that_another_ended_with(finished, tmp_path):
    more = {**TINY, "model": {"name": "from_run", "model": INNER, "run": str(finished.folder)}}
    still = simulate(make_scenario({**more, "rounds": 1, "training": {"lr": 1e-30}}), tmp_path / "more")
    for score in ("loss", "accuracy"):
        assert still.rounds[score].iloc[-1] == finished.rounds[score].iloc[-1]


def test_without_a_run_the_weights_are_fresh():
    torch.manual_seed(0)
    fresh = FromRun(model=INNER).build((1, 8, 8), 10)
    assert [tuple(p.shape) for p in fresh.parameters()] == [(8, 64), (8,), (10, 8), (10,)]


def test_what_holds_no_such_weights_is_refused_in_one_line(finished, tmp_path):
    with pytest.raises(DataError, match="holds no checkpoint; give the folder of a finished run"):
        FromRun(run=str(tmp_path)).build((1, 8, 8), 10)
    with pytest.raises(DataError, match="ended with 610 parameters and 0 buffers, and the model has 685"):
        FromRun(model={"name": "mlp", "hidden": [9]}, run=str(finished.folder)).build((1, 8, 8), 10)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "round-000001.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        FromRun(run=str(tmp_path)).build((1, 8, 8), 10)
    with pytest.raises(PluginError, match="hiden"):
        FromRun(model={"name": "mlp", "hiden": [9]}).build((1, 8, 8), 10)
