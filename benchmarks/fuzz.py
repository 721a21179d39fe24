"""Hostile input at everything that reads from outside: one line of refusal each, no traceback, no hang.

    make fuzz                                            everything, as docs/reliability.md has it
    python benchmarks/fuzz.py scenarios frames --share 0.01 --seed 7
    python benchmarks/fuzz.py scenarios --case 1234      one case again, with what it raised

A case is made from (seed, kind, number) alone. Exit code 1 if any case ended otherwise than well or refused.
"""

import argparse
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from fuzz_bytes import checkpoint, checkpoint_base, frame, frame_base
from fuzz_cases import folder, folder_base, nothing, override, scenario
from fuzz_plugins import wrong_plugin

from gauntlet.core.errors import GauntletError

KINDS: dict[str, tuple[int, Callable[[Path], Any], Callable[..., tuple[Callable[[], object], str]]]] = {
    "scenarios": (2000, nothing, scenario),
    "overrides": (2000, nothing, override),
    "checkpoints": (500, checkpoint_base, checkpoint),
    "frames": (20_000, frame_base, frame),
    "folders": (500, folder_base, folder),
    "plugins": (500, nothing, wrong_plugin),
}
"""From a kind, to how many cases, what they start from, and how one is made of a stream and that."""

PATIENCE = 60  # seconds of processor time until a case counts as hung
MEMORY = 12 * 2**30  # bytes of address space: what is larger is a MemoryError, and one line


class Hung(KeyboardInterrupt):
    """A case took too long; an interrupt, which nobody may turn into something else."""


@contextmanager
def alarm(seconds: int) -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise Hung(f"more than {seconds} s of processor time")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def outcome_of(case: Callable[[], object]) -> tuple[str, BaseException | None]:
    """Return how a case ended: accepted, refused (in one line), or what else it did."""
    try:
        with alarm(PATIENCE):
            case()
    except Hung as error:
        return "hung", error
    except (GauntletError, OSError, MemoryError) as error:  # the command line prints these as one line
        return "refused", error
    except BaseException as error:
        return "traceback", error
    return "accepted", None


def run_kind(kind: str, numbers: range, seed: int, base: Any, loud: bool) -> Counter[str]:
    make, count = KINDS[kind][2], Counter[str]()
    for number in numbers:
        stream = np.random.default_rng([seed, list(KINDS).index(kind), number])
        case, words = make(stream, base)
        result, error = outcome_of(case)
        count[result] += 1
        if result in ("hung", "traceback") or loud:
            print(
                f"{kind} --seed {seed} --case {number}: {result}: {type(error).__name__}: {str(error)[:300]}"
            )
            print(f"    {words[:600]}")
            if error is not None and loud:
                traceback.print_exception(error)
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="what to attack; by default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the first case: where to go on")
    parser.add_argument("--share", type=float, default=1.0, help="of each kind's number of cases")
    parser.add_argument("--case", type=int, help="one case alone, with what it raised")
    told = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    bad = 0
    print("| what | cases | accepted | refused in one line | tracebacks | hangs | CPU s |")
    print("|---|---|---|---|---|---|---|")
    for kind in told.kinds or KINDS:
        whole, prepare, _ = KINDS[kind]
        numbers = range(told.first, max(told.first + 1, round(whole * told.share)))
        if told.case is not None:
            numbers = range(told.case, told.case + 1)
        scratch, begin, wall = Path(tempfile.mkdtemp(prefix="fuzz-")), process_time(), perf_counter()
        try:
            count = run_kind(kind, numbers, told.seed, prepare(scratch), told.case is not None)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        bad += count["traceback"] + count["hung"]
        columns = (count[name] for name in ("accepted", "refused", "traceback", "hung"))
        row = " | ".join(f"{n:,}" for n in (len(numbers), *columns))
        print(f"| {kind} | {row} | {process_time() - begin:.0f} |", flush=True)
        print(f"{kind}: {perf_counter() - wall:.0f} s", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
