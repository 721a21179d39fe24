"""Over-selection, by the golden case of three clients that take 3, 1 and 2 seconds."""

import pytest
from event_script import script
from outsiders import FOLDER

from gauntlet.core.errors import PluginError
from gauntlet.server.schedules import SCHEDULES
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

NAME = f"{FOLDER}/over_selection.py:OverSelection"
GOLDEN = [({"goal": 3}, 3.0, [0, 1, 2]), ({"goal": 2}, 2.0, [1, 2]), ({"goal": 1}, 1.0, [1])]
GOLDEN += [
    ({"goal": 3, "deadline_seconds": 2.5}, 2.5, [1, 2]),
    ({"goal": 2, "deadline_seconds": 2.5}, 2.0, [1, 2]),
    ({"goal": 3, "deadline_seconds": 0.5}, 0.5, []),
]


@pytest.mark.parametrize(("options", "seconds", "counted"), GOLDEN)
def test_the_first_to_answer_count_and_end_the_round(options, seconds, counted):
    spec = script((3, 1, 2), "0 1 2/0 1 2", 2, schedule=PluginSpec(NAME, options))
    simulation = prepare(spec)
    for number, step in enumerate(simulation.steps(simulation.serial_pool())):
        assert step.state.clock == seconds * (number + 1)
        assert step.outcome.received.client_ids.tolist() == counted
        assert step.outcome.sent.client_ids.tolist() == [0, 1, 2]
        assert step.state.mailbox is None


def test_the_denominator_is_the_goal():
    """All 3 begin and 2 count: a mean of fixed size divides by 2, so that x moves by 1."""
    changes = {"defense": PluginSpec("mean", {"weighting": "fixed"}), "sampler": PluginSpec("full")}
    spec = script((3, 1, 2), "", 1, schedule=PluginSpec(NAME, {"goal": 2}), **changes)
    simulation = prepare(spec)
    (step,) = simulation.steps(simulation.serial_pool())
    assert step.outcome.sampling.expected_size == 2.0
    assert float(step.state.params) == 1.0


def test_options_that_cannot_be_are_refused():
    for options, words in (({"goal": 0}, "goal must"), ({"goal": 1, "deadline_seconds": 0.0}, "deadline")):
        with pytest.raises(PluginError, match=words):
            SCHEDULES.build(NAME, options)
