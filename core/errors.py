"""The tree of errors: what went wrong with something that came from outside, or in a run.

    GauntletError
    |-- ScenarioError      a scenario, an override or a combination of options that cannot run
    |   `-- CohortError    a rule that wants more clients than there ever are
    |-- DataError          a data set or file that is unknown, missing or malformed
    |-- PluginError        a plug-in that is not found, takes other options, or raises
    |   |-- InfeasibleCohort   a cohort that a rule cannot judge; a run goes on without that rule's answer
    |   `-- ForbiddenWrite     a plug-in that wrote into what it was handed; no run goes on after that
    |-- FrameError         bytes on the wire that do not decode
    |-- CheckpointError    a checkpoint that cannot be read or belongs to another run
    |-- ResultsError       a result folder that holds another run, or no run
    `-- WorkerError        a pool that lost its workers and could not replace them

Each is one line: what is wrong, what came, what is allowed. The command line prints it and exits with code 2.
A plain ``ValueError`` from a constructor (an option out of range) becomes a ``PluginError`` or a
``ScenarioError`` where the option was given.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any


class GauntletError(Exception):
    """Root of everything that this package raises on purpose."""


class ScenarioError(GauntletError):
    """A scenario, an override or a combination of options that cannot run."""


class CohortError(ScenarioError):
    """A rule that wants more clients than there ever are in a cohort."""


class DataError(GauntletError):
    """A data set or file that is unknown, missing or malformed."""


class PluginError(GauntletError):
    """A plug-in that is not found, takes other options, or raises."""


class InfeasibleCohort(PluginError, ValueError):
    """A cohort that a rule cannot judge: too few clients, or not those that it needs."""


class ForbiddenWrite(PluginError):
    """A plug-in that wrote into what it was handed, which is the engine's own."""


class FrameError(GauntletError):
    """Bytes on the wire that do not decode."""


class CheckpointError(GauntletError):
    """A checkpoint that cannot be read or belongs to another run."""


class ResultsError(GauntletError):
    """A result folder that holds another run, or no run."""


class WorkerError(GauntletError):
    """A pool that lost its workers and could not replace them."""


_MANY = 60  # names that a message still lists


def unknown(what: str, came: str, allowed: Iterable[str]) -> str:
    """Return the message for a misspelt name, with the nearest valid one; very many are not listed.

    Example: ``unknown defense 'krumm'; did you mean 'krum'? Known: krum, mean.``
    """
    known = sorted(set(allowed))
    names = ", ".join(known) or "none"
    if len(known) > _MANY:
        like = get_close_matches(came, known, n=10, cutoff=0.3) or known[:10]
        names = f"{len(known)} names, such as {', '.join(like)}"
    return f"unknown {what} '{came}'{nearest(came, known) or '.'} Known: {names}."


def nearest(came: str, allowed: Iterable[str]) -> str:
    """Return the end of a message that names the nearest valid name; nothing where none is near."""
    near = get_close_matches(came, list(allowed), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


_TABLES = ("dict_type", "dataclass_type", "model_type", "model_attributes_type")
"""What pydantic calls a table that is none: by a class of ours, or a dictionary."""


def wrong_value(details: Mapping[str, Any]) -> str:
    """Return pydantic's complaint about a value as the end of a message, with the nearest valid choice."""
    words, came = str(details["msg"]).removeprefix("Value error, "), details["input"]
    if details["type"] in _TABLES:
        words = "it must be a table"
    choices = re.findall("'([^']*)'", words) if details["type"] == "literal_error" else []
    hint = nearest(came, choices) if isinstance(came, str) else ""
    return f"is {shown(came)}: {words[:1].lower()}{words[1:]}{hint}"


PASSED = (GauntletError, KeyboardInterrupt)
"""What goes through where the faults of somebody else's code are named."""


@contextmanager
def named_faults(what: str) -> Iterator[None]:
    """Turn what is raised inside, where somebody else's code runs, into a ``PluginError`` after ``what``."""
    try:
        yield
    except PASSED:
        raise
    except BaseException as error:  # SystemExit, too: nobody's code may end a run as if all were well
        raise PluginError(f"{what}: {said(error)}") from error


@contextmanager
def legible(what: str) -> Iterator[None]:
    """Turn what breaks inside, where a folder of others is taken at its word, into a ``ResultsError``.

    Args:
        what: What cannot be done, as the message begins: ``"r1 cannot be shown"``.
    """
    try:
        yield
    except PASSED:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise ResultsError(f"{what}: {said(error)}") from error


def shown(value: object, most: int = 60) -> str:
    """Return how a value from outside is written in a message, cut where it is long."""
    try:
        text = " ".join(repr(value).splitlines())
    except Exception:  # a number of thousands of digits, or somebody's own __repr__
        text = f"({type(value).__name__}, which cannot be written)"
    return text if len(text) <= most else f"{text[:most]} ..."


def said(error: BaseException, named: bool = True, most: int = 500) -> str:
    """Return what somebody else's error says, in one line, after the error's name if ``named``."""
    try:
        words = " ".join(str(error).split())
    except Exception:
        words = "its words cannot be written"
    words = words if len(words) <= most else f"{words[:most]} ..."
    name = type(error).__name__
    return (f"{name}: {words}" if words else name) if named else words or name
