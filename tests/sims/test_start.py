"""How long it takes until anything happens: importing the package, and the command line's help.

Measured in CPU seconds beyond those of a bare Python, the least of five, so that what runs beside does not
count; and by what is imported, which does not depend on the machine.
"""

import resource
import subprocess
import sys

import pytest

CALLS = {
    "import": (["-c", "import gauntlet"], 0.1),
    "help": (
        ["-c", "import sys; sys.argv = ['gauntlet', '--help']; from gauntlet.sims.cli import main; main()"],
        0.15,
    ),
}
MOST = {"import": 12, "help": 140}
"""Modules beyond a bare Python's: measured 6 and 92, of the latter 19 our own."""
HEAVY = {"torch", "numpy", "pandas", "pyarrow", "ray", "matplotlib", "pydantic", "scipy", "datasets", "rich"}


def cpu_seconds(arguments):
    """Return the CPU seconds of one child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("call", CALLS)
def test_it_starts_at_once(call):
    """Measured: .02 and .06 s, of which .02 are Python's own; on a slower machine that many times more."""
    arguments, most = CALLS[call]
    slowness = max(1.0, min(cpu_seconds(["-c", "pass"]) for _ in range(5)) / 0.03)

    assert min(cpu_seconds(arguments) for _ in range(5)) < most * slowness


def loaded(code):
    """Return the names of all modules that one process holds when it ends."""
    told = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {code}"
    result = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return set(result.stderr.split())


@pytest.mark.parametrize("call", CALLS)
def test_it_loads_little_and_nothing_that_is_heavy(call):
    names = loaded(CALLS[call][0][1])

    assert HEAVY.isdisjoint(names)
    assert len(names - loaded("pass")) <= MOST[call]
