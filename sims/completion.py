"""What a shell completes: names that exist, found without loading a plug-in."""

from collections.abc import Iterable


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def scenarios(incomplete: str) -> list[str]:
    """Return the shipped scenarios that begin so; of files the shell itself knows."""
    from .shelves import scenario_names

    return _beginning(scenario_names(), incomplete)


def parts(incomplete: str) -> list[str]:
    """Return the parts of ``gauntlet list`` that begin so."""
    from .names import GROUPS
    from .places import PLACES

    return _beginning(["scenarios", "plots", "all", *GROUPS, *PLACES], incomplete)


def shown(incomplete: str) -> list[str]:
    """Return the scenarios and plug-ins that begin so."""
    from .names import every_plugin

    return [*scenarios(incomplete), *_beginning(every_plugin(), incomplete)]


def pictures(incomplete: str) -> list[str]:
    """Return the plots that begin so."""
    from .plots import PLOTS, SETS

    return _beginning(["all", "matrix", *SETS, *PLOTS], incomplete)


def words(incomplete: str) -> list[str]:
    """Return the columns, tables and values that begin so."""
    from .explain import names
    from .glossary.columns import TABLES
    from .glossary.printed import SHOWN
    from .glossary.reasons import VALUES

    columns = [name for name in names() if " " not in name]
    values = [f"{column}={value}" for column, named in VALUES.items() for value in named]
    return _beginning([*columns, *TABLES, *SHOWN, *values], incomplete)
