"""From a name to a plug-in, and what is said when there is none."""

import os
import py_compile
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest

from gauntlet.core.errors import PluginError, unknown
from gauntlet.core.options import options_of
from gauntlet.core.outside import only_our_own
from gauntlet.core.registry import Family, configure
from gauntlet.defenses import DEFENSES

ONE = Family("toys", "toy", ("play",), {})


@dataclass(frozen=True)
class Kite:
    """A plug-in with a choice."""

    shape: Literal["diamond", "delta"] = "diamond"

    def play(self) -> str:
        return self.shape


@dataclass(frozen=True)
class Ball:
    """A plug-in with options of several types."""

    radius: float = 1.0
    colours: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.radius <= 0:
            raise ValueError(f"radius must be above 0, got {self.radius}")

    def play(self) -> float:
        return self.radius


def family(member: object) -> Family:
    """A family whose only member is the given class, wherever pytest imported it from."""
    sys.modules["toys_for_tests"] = ModuleType("toys_for_tests")
    sys.modules["toys_for_tests"].Toy = member
    return Family("toys", "toy", ("play",), {"ball": "toys_for_tests:Toy"})


def test_options_become_the_plug_ins_fields():
    ball = family(Ball).build("ball", {"radius": 2, "colours": ["red"]})

    assert ball == Ball(2.0, ("red",))
    assert options_of(ball) == {"radius": 2.0, "colours": ("red",)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"radiu": 2}, "ball: unknown option 'radiu'; did you mean 'radius'? Known: colours, radius."),
        ({"radius": "2"}, "ball: option 'radius' is '2': input should be a valid number"),
        ({"radius": -1.0}, "ball: radius must be above 0, got -1.0"),
        ({"colours": [1]}, "ball: option 'colours.0' is 1: input should be a valid string"),
    ],
)
def test_a_wrong_option_gives_one_line(options, words):
    with pytest.raises(PluginError) as caught:
        family(Ball).build("ball", options)

    assert str(caught.value) == words


def test_a_choice_that_is_none_is_told_the_nearest():
    with pytest.raises(PluginError, match="input should be 'diamond' or 'delta'; did you mean 'delta'"):
        family(Kite).build("ball", {"shape": "dleta"})


def test_a_misspelt_name_gives_the_nearest():
    with pytest.raises(PluginError, match="unknown defense 'medain'; did you mean 'median'"):
        DEFENSES.find("medain")


def test_a_missing_required_option_is_named():
    with pytest.raises(PluginError, match="multi_krum: option 'num_byzantine' is required"):
        DEFENSES.build("multi_krum", {})


def test_a_class_without_the_verb_is_refused():
    with pytest.raises(PluginError, match="toy 'ball' has no method play"):
        family(dict).find("ball")


def test_any_importable_class_will_do():
    anything = Family("toys", "toy", (), {})
    slot = anything.build("gauntlet.core.layout:Slot", {"name": "a", "shape": [2, 3], "start": 0})

    assert slot.size == 6


def test_a_module_or_name_that_is_not_there_gives_one_line():
    with pytest.raises(PluginError, match="cannot be loaded: ModuleNotFoundError"):
        ONE.find("no.such.module:Thing")
    with pytest.raises(PluginError, match="unknown name 'Slit'; did you mean 'Slot'"):
        ONE.find("gauntlet.core.layout:Slit")


SOURCE = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Toy:
    size: int = 3
    def play(self) -> int:
        return self.size
"""


def test_a_class_in_a_single_file_is_found(tmp_path: Path):
    (tmp_path / "toy.py").write_text(SOURCE)

    assert ONE.build(f"{tmp_path}/toy.py:Toy", {"size": 7}).play() == 7


def test_a_changed_file_is_loaded_anew(tmp_path: Path):
    file = tmp_path / "toy.py"
    file.write_text(SOURCE)
    first = ONE.build(f"{file}:Toy").play()
    file.write_text(SOURCE.replace("= 3", "= 4"))

    assert (first, ONE.build(f"{file}:Toy").play()) == (3, 4)


def test_bytecode_beside_a_file_is_neither_run_nor_written(tmp_path: Path):
    """Python would run it where time and length of the source fit, whatever the source says."""
    file = tmp_path / "toy.py"
    file.write_text(SOURCE.replace("= 3", "= 4"))
    before = file.stat()
    py_compile.compile(str(file), doraise=True)
    file.write_text(SOURCE)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert ONE.build(f"{file}:Toy").play() == 3
    file.write_text("x = 1" + SOURCE)
    for left in (tmp_path / "__pycache__").iterdir():
        left.unlink()
    assert ONE.build(f"{file}:Toy").play() == 3
    assert list((tmp_path / "__pycache__").iterdir()) == []


def test_a_file_that_is_not_there_or_raises_gives_one_line(tmp_path: Path):
    with pytest.raises(PluginError, match="no such plug-in file"):
        ONE.find(f"{tmp_path}/gone.py:Toy")
    (tmp_path / "bad.py").write_text("1/0" + SOURCE)
    with pytest.raises(PluginError, match=r"bad.py:Toy' cannot be loaded: ZeroDivisionError"):
        ONE.find(f"{tmp_path}/bad.py:Toy")


@pytest.mark.parametrize(
    "name",
    ["os:system", "subprocess:Popen", "builtins:eval", "os.path:join", "pickle:Unpickler", "posix:system"],
)
def test_nothing_of_the_standard_library_is_a_plug_in_or_is_even_imported(name):
    with pytest.raises(PluginError, match=rf"toy '{name}' is of Python's standard library"):
        ONE.find(name)


def test_a_module_of_the_standard_library_is_refused_before_it_is_imported():
    """``this`` prints a poem when it is imported; nothing else imports it."""
    with pytest.raises(PluginError, match="standard library"):
        ONE.find("this:s")
    assert "this" not in sys.modules


DISGUISED = """
import math, os, subprocess
from functools import partial
from subprocess import Popen
class Shell(type):
    pass
class Toy:
    def play(self): return 1
toy = Toy()
system, shell, made = os.system, partial(os.system), lambda: Toy()
made.play = toy.play
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("system", "must be a class, got a builtin_function_or_method"),
        ("shell", "must be a class, got a partial"),
        ("made", "must be a class, got a Python function"),
        ("toy", "must be a class, got a Toy"),
        ("math", "must be a class, got a module"),
        ("Popen", "is of Python's standard library (subprocess)"),
        ("Shell", "has no method play"),
    ],
)
def test_what_is_no_class_of_the_familys_kind_is_refused_before_it_is_called(tmp_path: Path, name, words):
    (tmp_path / "disguised.py").write_text(DISGUISED)
    with pytest.raises(PluginError) as caught:
        ONE.build(f"{tmp_path}/disguised.py:{name}", {"command": "false"})
    assert words in str(caught.value)


def test_a_source_without_the_name_is_not_run_to_find_that_out(tmp_path: Path, monkeypatch):
    """A file, and a module of a package whose own source is not run either."""
    ran = tmp_path / "ran"
    (tmp_path / "pack_of_toys").mkdir()
    for place in (tmp_path / "setup_of_toys.py", tmp_path / "pack_of_toys" / "__init__.py"):
        place.write_text(f"open({str(ran)!r}, 'w').close()\nToy = 1\n")
    (tmp_path / "pack_of_toys" / "toys.py").write_text("class Toy: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in (f"{tmp_path}/setup_of_toys.py:Toi", "setup_of_toys:Toi", "pack_of_toys.toys:Toi"):
        with pytest.raises(PluginError, match="unknown name 'Toi'; did you mean 'Toy'"):
            ONE.find(name)
    assert not ran.exists()


def test_a_class_made_at_run_time_or_taken_from_another_module_is_a_plug_in_all_the_same(tmp_path: Path):
    """``make_dataclass`` says that its classes are of ``types``, in Python 3.11."""
    (tmp_path / "made.py").write_text(
        "from dataclasses import make_dataclass\n"
        "play = {'play': lambda self: self.size}\n"
        "if True:\n    Toy = make_dataclass('Toy', [('size', int)], namespace=play)\n"
        "def __getattr__(name):\n    if name == 'Late': return Toy\n    raise AttributeError(name)\n"
    )
    assert ONE.build(f"{tmp_path}/made.py:Toy", {"size": 3}).play() == 3
    assert ONE.build(f"{tmp_path}/made.py:Late", {"size": 4}).play() == 4


def test_within_only_our_own_nothing_from_outside_is_run_and_built_ins_are(tmp_path: Path):
    ran = tmp_path / "ran"
    (tmp_path / "toy.py").write_text(f"open({str(ran)!r}, 'w').close()\n" + SOURCE)
    for name in (f"{tmp_path}/toy.py:Toy", "gauntlet.results.toy:Toy", "gauntlet_toys:Toy"):
        with only_our_own("that is not allowed here"), pytest.raises(PluginError) as caught:
            ONE.find(name)
        assert (
            str(caught.value)
            == f"toy '{name}' is code from outside the package, and that is not allowed here"
        )
    with only_our_own("that is not allowed here"):
        assert DEFENSES.build("median").init() is None
        assert not ran.exists()
    assert ONE.build(f"{tmp_path}/toy.py:Toy").play() == 3


@pytest.mark.parametrize("code", ["raise SystemExit(0)", "import sys; sys.exit()", "def f(): f()\nf()"])
def test_a_file_that_leaves_while_it_is_loaded_is_named(tmp_path: Path, code):
    (tmp_path / "bad.py").write_text(f"{code}\n{SOURCE}")
    with pytest.raises(PluginError, match=r"bad.py:Toy' cannot be loaded: (SystemExit|RecursionError)"):
        ONE.find(f"{tmp_path}/bad.py:Toy")


def test_a_file_without_a_class_is_no_unknown_name(tmp_path: Path):
    with pytest.raises(PluginError, match=r"'toy.py' is a file: name a class in it, as in toy.py:Class"):
        ONE.find("toy.py")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1e300, r"option 'radius' is 1e\+300: numbers must be within float32, at most 3.4028235e\+38"),
        ([1.0, {"x": -1e39}], r"-1e\+39: numbers must be within float32"),
        (2**63, "9223372036854775808: whole numbers must fit into 64 bits"),
        (10**5000, r"\(int, which cannot be written\): whole numbers must fit into 64 bits"),
    ],
    ids=["float", "nested", "int64", "digits"],
)
def test_numbers_that_no_tensor_holds_are_refused(value, words):
    with pytest.raises(PluginError, match=words):
        configure(Ball, "ball", {"radius": value})


def test_of_very_many_names_a_message_lists_those_that_are_like_it():
    few, many = [f"name{i}" for i in range(60)], [f"name{i}" for i in range(61)]

    assert unknown("thing", "nam7", few).count(", ") == 59
    assert unknown("thing", "nam7", many).count(", ") == 10
    assert "did you mean 'name7'? Known: 61 names, such as name7, " in unknown("thing", "nam7", many)


def test_an_option_names_another_plug_in_alone_or_with_its_options():
    assert DEFENSES.chosen("median") == DEFENSES.build("median")
    assert DEFENSES.chosen({"name": "krum", "num_byzantine": 2}) == DEFENSES.build(
        "krum", {"num_byzantine": 2}
    )
    with pytest.raises(
        PluginError, match=r"^defense needs a name, one of .*krum.*; got {'num_byzantine': 2}"
    ):
        DEFENSES.chosen({"num_byzantine": 2})
