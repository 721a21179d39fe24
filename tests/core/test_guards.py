"""What a guarded plug-in raises names it, and ends nothing."""

import os
import pickle
from dataclasses import dataclass
from typing import ClassVar

import pytest

from gauntlet.core.errors import FrameError, PluginError
from gauntlet.core.guards import guard


class Moody:
    """Raises what it is told to."""

    size = 5

    def play(self, error: BaseException) -> None:
        raise error

    def split(self, how: str) -> int:
        child = os.fork()
        if how == "raise" and not child:
            raise SystemExit(0)
        return child

    @staticmethod
    def leave() -> None:
        raise SystemExit(0)

    @property
    def mood(self) -> str:
        raise ZeroDivisionError("none today")


class Unspeakable(BaseException):
    def __str__(self) -> str:
        raise ValueError("not even this")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SystemExit(0), "raised SystemExit: 0"),
        (MemoryError(), "raised MemoryError"),
        (GeneratorExit("x"), "raised GeneratorExit: x"),
        (Unspeakable(), "raised Unspeakable: its words cannot be written"),
        (ValueError("a\nb" * 1000), "raised ValueError: a ba ba"),
    ],
)
def test_nothing_that_a_plug_in_raises_ends_the_process_or_fills_the_screen(error, words):
    with pytest.raises(PluginError) as caught:
        guard(Moody(), "toy 'moody'").play(error)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_an_interrupt_stays_one():
    """It is the user's, wherever it arrives."""
    with pytest.raises(KeyboardInterrupt):
        guard(Moody(), "toy").play(KeyboardInterrupt())


def test_what_is_no_method_is_guarded_too():
    guarded = guard(Moody(), "toy 'moody'")

    with pytest.raises(PluginError, match="toy 'moody' raised SystemExit: 0"):
        guarded.leave()
    with pytest.raises(PluginError, match="toy 'moody' raised ZeroDivisionError: none today"):
        _ = guarded.mood
    with pytest.raises(AttributeError):
        _ = guarded.nothing


def test_a_guarded_plug_in_names_itself_when_it_raises():
    guarded = guard(Moody(), "toy 'moody'")

    with pytest.raises(PluginError, match="toy 'moody' raised KeyError: 'x'"):
        guarded.play(KeyError("x"))
    with pytest.raises(FrameError, match="as it was"):
        guarded.play(FrameError("as it was"))
    assert guarded.size == 5


@pytest.mark.parametrize("how", ["return", "raise"])
def test_a_copy_of_the_process_that_a_plug_in_makes_does_not_go_on_with_the_run(how, capfd):
    """Two processes would write over each other's results."""
    process = os.getpid()
    try:
        child = guard(Moody(), "toy 'moody'").split(how)
    finally:
        if os.getpid() != process:
            os._exit(77)  # the copy went on

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert capfd.readouterr().err == "gauntlet: toy 'moody' made a copy of the process, which ends here\n"


@dataclass(frozen=True)
class Settled:
    asked: ClassVar[list[str]] = []

    @property
    def answer(self):
        self.asked.append("answer")
        return 7

    def twice(self, x):
        return 2 * x


@dataclass
class Moving:
    answer: int = 0


def test_what_cannot_become_another_thing_is_looked_for_once():
    settled, moving = guard(Settled(), "it", watched=False), guard(Moving(), "it", watched=False)

    assert [settled.answer, settled.answer] == [7, 7]
    assert Settled.asked == ["answer"]
    assert settled.twice is settled.twice
    copy = pickle.loads(pickle.dumps(settled))
    assert (copy.answer, copy.twice(4)) == (7, 8)
    assert len(Settled.asked) == 2
    assert moving.answer == 0
    moving.__wrapped__.answer = 1
    assert moving.answer == 1


def test_one_from_outside_is_looked_at_each_time():
    Settled.asked.clear()
    watched = guard(Settled(), "it")

    assert [watched.answer, watched.answer] == [7, 7]
    assert len(Settled.asked) == 2
