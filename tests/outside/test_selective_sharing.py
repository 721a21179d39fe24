"""The defense that shares a part: what it lets out, by hand."""

from dataclasses import replace

import pytest
from outsiders import FOLDER, scenario

from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

OUTSIDER = "selective_sharing.py:SelectiveSharing"


def rounds_of(**options):
    """Return what clients send in each round, and would send without the defense in the first one."""
    name = f"{FOLDER}/{OUTSIDER}"
    values = scenario(OUTSIDER, client_defense={"name": name, **options}, network="ideal", rounds=2)
    runs = [make_scenario({**values, **change}) for change in ({}, {"client_defense": "none"})]
    found = []
    for run in runs:
        simulation = prepare(replace(run.run_spec(), rows=True))
        found.append([step.outcome.sent for step in simulation.steps(simulation.serial_pool())])
    return found


def test_it_lets_out_other_entries_of_each_client_in_each_round():
    """A tenth of those that are not 0 anyway, to five standard deviations of a binomial."""
    (first, second), (whole, _) = rounds_of(share=0.1)
    there, kept = ((vectors != 0).sum(dim=1) for vectors in (whole.vectors, first.vectors))
    assert bool(((kept - 0.1 * there).abs() < 5 * (0.09 * there).sqrt()).all())
    same = set(first.client_ids.tolist()) & set(second.client_ids.tolist())
    rounds = [{int(i): v != 0 for i, v in zip(s.client_ids, s.vectors, strict=True)} for s in (first, second)]
    assert same
    assert all(bool((rounds[0][client] != rounds[1][client]).any()) for client in same)
    assert bool(((first.vectors == 0) | (first.vectors == whole.vectors)).all())


def test_it_lets_out_no_small_entry():
    (first, _), (whole, _) = rounds_of(share=1.0, threshold=0.01)
    assert bool(((first.vectors == 0) == (whole.vectors.abs() <= 0.01)).all())


@pytest.mark.parametrize("options", [{"share": 0.0}, {"share": 1.5}, {"threshold": -1.0}])
def test_options_that_cannot_be_are_one_line(options):
    with pytest.raises(Exception, match="must be"):
        rounds_of(**options)
