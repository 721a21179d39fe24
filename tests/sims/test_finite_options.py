"""Every number that an option of a plug-in takes is finite: where there may be no bound, None says so."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from math import inf, nan
from typing import get_type_hints

import pytest

from gauntlet.core.errors import PluginError
from gauntlet.core.registry import configure
from gauntlet.sims.example_needs import NEEDS
from gauntlet.sims.families import family, family_names

BROKEN = (inf, -inf, nan)


def with_one_broken(value, number):
    """Return a value with ``number`` in the place of each number that it holds, one after another."""
    if not isinstance(value, tuple | list):
        return [number]
    places = enumerate(value or (0.0,))
    return [(*value[:n], one, *value[n + 1 :]) for n, v in places for one in with_one_broken(v, number)]


def taken(plugin, option):
    """Return the values with a number that is not finite with which a plug-in is built all the same."""
    value, came = getattr(plugin, option), []
    for broken in (one for number in BROKEN for one in with_one_broken(value, number)):
        try:
            replace(plugin, **{option: broken})
        except (ValueError, PluginError):
            continue
        came.append(broken)
    return came


@pytest.mark.parametrize("kind", family_names())
def test_no_option_takes_what_is_not_finite(kind):
    """From a file ``registry`` refuses it; an object that is built in Python has its own class alone."""
    for name in family(kind).table:
        made = family(kind).find(name)
        assert is_dataclass(made), name
        plugin = configure(made, name, NEEDS.get(f"{kind}/{name}", {}).get("options", {}))
        hints = get_type_hints(made)
        for option in (f.name for f in fields(made) if f.init and "float" in str(hints[f.name])):
            value, several = getattr(plugin, option), hints[option] not in (float, float | None)
            if not isinstance(value, Mapping) and not (value is None and several):
                assert taken(plugin, option) == [], (name, option)
