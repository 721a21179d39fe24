"""What a sweep says before its first run."""

import pytest

from gauntlet.core.errors import GauntletError
from gauntlet.sims import sweep
from gauntlet.sims.progress import Silent
from gauntlet.sims.scenario import make_scenario


class Noted(Silent):
    """Keep what is told."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def todo(**changes):
    sections = {"name": "three", "rounds": 1, "data": "synthetic", "num_clients": 4, "model": "linear"}
    return sweep.variants(make_scenario({**sections, "sweep": {"seed": [0, 1, 2]}, **changes}))


def test_checking_many_runs_is_told_and_of_few_nobody_hears(monkeypatch):
    few, many = Noted(), Noted()
    sweep.check_variants(todo(), progress=few)
    monkeypatch.setattr(sweep, "SILENT_SECONDS", 0.0)
    sweep.check_variants(todo(), progress=many)

    assert few.lines == []
    assert many.lines == ["0 of 3 runs checked", "1 of 3 runs checked", "2 of 3 runs checked"]


def test_a_variant_that_cannot_run_is_refused_before_any_runs():
    with pytest.raises(GauntletError, match="cohort_size 7 is larger than the population of 4"):
        sweep.check_variants(todo(sampler={"name": "fixed_size"}, sweep={"sampler.cohort_size": [2, 7]}))
