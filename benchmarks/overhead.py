"""What a round costs beside its clients' training, in one process. Run it on an idle machine.

Usage: overhead.py. Sampling, gathering, aggregation, the server's step and recording: the time from one round
to the next, less that inside of the kernel. Medians over the second half of the rounds. Clients with almost
nothing to do (one step on one example) take part one at a time, with models of two sizes.
"""

import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from asked import words
from gauntlet_rounds import HERE, MODELS

import gauntlet
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.sims.progress import Silent
from gauntlet.sims.scenario import make_scenario

CASES: dict[str, tuple[Any, dict[str, Any], int, int]] = {
    "mcnn, 50 clients": (MODELS["mcnn"], {"batch_size": 10, "lr": 0.1}, 50, 12),
    "one client, 0.03 MB": (MODELS["logreg"], {"batch_size": 1, "local_steps": 1, "lr": 0.1}, 1, 200),
    "one client, 6.7 MB": ("cnn_mcmahan", {"batch_size": 1, "local_steps": 1, "lr": 0.1}, 1, 60),
}


class Watch(Silent):
    """The seconds that a kernel trains, and when every round ends."""

    def __init__(self) -> None:
        self.trained, self.ends = 0.0, [(time.perf_counter(), 0.0)]

    def over(self, work: Any) -> Any:
        """Return a kernel's method that is timed."""

        def timed(*args: Any) -> Any:
            begin = time.perf_counter()
            result = work(*args)
            self.trained += time.perf_counter() - begin
            return result

        return timed

    def advance(self, *_: Any) -> None:
        self.ends.append((time.perf_counter(), self.trained))


def overhead(model: Any, training: dict[str, Any], cohort: int, rounds: int) -> tuple[float, float]:
    """Return the seconds of a round, and those of them that are not training."""
    scenario = make_scenario(
        {
            "name": "overhead",
            "rounds": rounds,
            "num_clients": 100,
            "data": f"{HERE}/workloads.py:RandomImages",
            "partition": f"{HERE}/workloads.py:InOrder",
            "model": model,
            "training": training,
            "sampler": {"name": "fixed_size", "cohort_size": cohort},
            "evaluation": {"every": rounds},
            "checkpoint": {"every": 0},
            "runtime": {"pool": "serial"},
        }
    )
    watch, train, train_sum = Watch(), BlockKernel.train, BlockKernel.train_sum
    BlockKernel.train, BlockKernel.train_sum = watch.over(train), watch.over(train_sum)  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            gauntlet.simulate(scenario, Path(folder) / "run", watch)
    finally:
        BlockKernel.train, BlockKernel.train_sum = train, train_sum  # type: ignore[method-assign]
    ends = watch.ends[len(watch.ends) // 2 : -1]  # the last round is evaluated
    whole = [b[0] - a[0] for a, b in pairwise(ends)]
    rest = [b[0] - a[0] - (b[1] - a[1]) for a, b in pairwise(ends)]
    return statistics.median(whole), statistics.median(rest)


def main() -> None:
    """Measure, and print a Markdown table."""
    words(__doc__)
    print("| case | beside training | ms |\n|---|---|---|")
    for name, case in CASES.items():
        whole, rest = overhead(*case)
        print(f"| {name} | {100 * rest / whole:.1f} % | {1000 * rest:.1f} |", flush=True)


if __name__ == "__main__":
    main()
