"""A bound is never printed below what it is. Oracle: exact decimals."""

from decimal import Decimal

import numpy as np
import pytest

from gauntlet.sims.upwards import upwards


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (1.391117, ".2f", "1.40"),
        (1.391117, ".4g", "1.392"),
        (1.4, ".2f", "1.40"),
        (9.999, ".2f", "10.00"),
        (0.0123456, ".2g", "0.013"),
        (99.96, ".3g", "100"),
        (8.0294, ".2g", "8.1"),
        (0.1, ".2f", "0.10"),
        (0.0, ".2f", "0.00"),
        (1e30, ".2f", "1000000000000000000000000000000.00"),
        (float("inf"), ".2f", "inf"),
    ],
)
def test_numbers_by_hand(value, form, text):
    assert upwards(value, form) == text


def test_no_number_is_printed_below_itself_nor_a_unit_above():
    rng = np.random.default_rng(0)
    for value in np.exp(rng.uniform(-12, 9, 2000)).tolist():
        for digits in (2, 3, 4):
            printed = Decimal(upwards(value, f".{digits}g"))
            unit = Decimal(1).scaleb(Decimal(value).adjusted() - digits + 1)
            assert Decimal(repr(value)) <= printed < Decimal(repr(value)) + unit
