"""How long a client of each width trains: CPU seconds of local steps at a rate over those at rate 1.

Usage: heterofl.py [repeats]. Four clients, ten steps of ten MNIST pictures each, ``cnn_heterofl`` with hidden
(32, 64, 128, 256), clients stacked and one at a time, interleaved. Prints a Markdown table of medians.
"""

from statistics import median
from time import process_time

from asked import words

from gauntlet.core.contracts import LocalTraining
from gauntlet.server.simulation import Simulation, prepare
from gauntlet.server.spec import PluginSpec, RunSpec

RATES = (1.0, 0.5, 0.25, 0.125, 0.0625)


def simulation(rate: float, vectorize: str) -> Simulation:
    """Return a run in which all clients have this width of the same model."""
    spec = RunSpec(
        seed=0,
        rounds=10**6,
        num_clients=4,
        data=PluginSpec("mnist"),
        partition=PluginSpec("iid"),
        model=PluginSpec("cnn_heterofl", {"hidden": (32, 64, 128, 256), "num_groups": 2}),
        training=LocalTraining(local_steps=10, batch_size=10, lr=0.01),
        algorithm=PluginSpec("heterofl", {"rates": (rate,), "mask": False}),
        defense=PluginSpec("mean", {"weighting": "uniform"}),
        evaluate_every=10**6,
        vectorize=vectorize,  # type: ignore[arg-type]
    )
    return prepare(spec)


def main() -> None:
    repeats = words(__doc__, repeats=5).repeats
    print("| clients | " + " | ".join(f"r = {rate:g}" for rate in RATES) + " |\n|---|" + "---|" * len(RATES))
    for vectorize in ("on", "off"):
        made = [simulation(rate, vectorize) for rate in RATES]
        runs = [s.steps(s.serial_pool()) for s in made]
        took: list[list[float]] = [[] for _ in RATES]
        for repeat in range(repeats + 1):
            for seconds, run in zip(took, runs, strict=True):
                begin = process_time()
                next(run)
                if repeat:  # the first round traces
                    seconds.append(process_time() - begin)
        row = [f"{median(seconds) / median(took[0]):.2f} ({median(seconds):.2f} s)" for seconds in took]
        print(
            f"| {'stacked' if vectorize == 'on' else 'one at a time'} | " + " | ".join(row) + " |", flush=True
        )


if __name__ == "__main__":
    main()
