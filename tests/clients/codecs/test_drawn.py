"""Every codec with drawn options, over rounds in which clients come, stay away and are lost.

``CODEC_CASES=10000 pytest tests/clients/codecs/test_drawn.py`` is part of ``make fuzz``; with
``CODEC_SEED=1`` others are drawn.
"""

import os

import numpy as np
import pytest
from codec_draws import DRAWN, rounds_of
from codec_hostile import hostile_frames_of, refuse_or_read
from codec_law_wrappers import check
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from gauntlet.clients.codecs import CODECS

CASES = int(os.environ.get("CODEC_CASES", 320))
"""Of all codecs together."""
drawn = settings(
    max_examples=-(-CASES // len(DRAWN)),
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # shrinking takes minutes, and a round is shown in a line
    suppress_health_check=list(HealthCheck),
)


def test_every_codec_is_drawn():
    assert set(DRAWN) == set(CODECS.table)


@pytest.mark.parametrize("name", DRAWN)
@seed(int(os.environ.get("CODEC_SEED", 0)))
@drawn
@given(data=st.data())
def test_what_comes_is_the_mathematics_of_what_was_sent_or_one_frame_error(name, data):
    """The mathematics of every round, then frames of one round that somebody damaged who can count."""
    rounds = data.draw(rounds_of(name))
    check(rounds)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    for frame, envelope in hostile_frames_of(rounds[-1], 4, rng):
        refuse_or_read(rounds[-1], frame, envelope)
