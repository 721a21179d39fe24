"""Sequential gradient coding on measured delays: each scheme's best total over a search of its parameters.

The trace of 256 serverless workers (folder sgc_lambda_delays, see ``--data``): delays at load L are those at
load 0 plus L times the least-squares slope over all loads. Prints Markdown.

    python benchmarks/gradient_coding.py [--data shared/data] [--jobs 26] [--halves]
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd

from gauntlet.server.schedules.parts.coded_rounds import Multiplexed, SelectiveRepeat, replay

N = 256
PROFILE = "cnn_profile_est_desktop_long"


def trace(folder: Path):
    """Return the delays at load 0 [rounds, workers] and the slope in seconds per load."""
    rows = pd.read_csv(folder / "sgc_lambda_delays" / "delays.csv.gz")
    rows = rows[(rows.profile == PROFILE) & (rows.region == "Canada") & (rows.batch == 2048)]
    zero = rows[rows.load == 0].pivot(index="round", columns="worker", values="duration_s").to_numpy()
    return zero, float(np.polyfit(rows.load, rows.duration_s, 1)[0])


def schemes():
    """Yield (family, parameters, scheme)."""
    yield "uncoded", "", SelectiveRepeat(N, 0)
    for s in range(1, 65):
        yield "GC", f"s={s}", SelectiveRepeat(N, s)
    for most in range(1, 65):
        for burst in range(1, 5):
            for window in range(burst + 1, 10, burst):
                yield "SR-SGC", f"({burst},{window},{most})", SelectiveRepeat(N, most, burst, window)
        for burst, window in ((1, 2), (1, 3), (1, 4), (2, 3)):
            yield "M-SGC", f"({burst},{window},{most})", Multiplexed(N, most, burst, window)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GAUNTLET_DATA", "shared/data")))
    parser.add_argument("--jobs", type=int, default=26)
    parser.add_argument(
        "--halves", action="store_true", help="choose on the first half, measure on the other"
    )
    options = parser.parse_args()
    zero, slope = trace(options.data)
    half, last = len(zero) // 2, len(zero)
    spans = ((0, half), (half, last)) if options.halves else ((0, last), (0, last))
    jobs = min(options.jobs, half - 4) if options.halves else options.jobs
    best = {}
    for family, name, scheme in schemes():
        first, second = (replay(scheme, zero[start:end] + scheme.load * slope, jobs) for start, end in spans)
        assert first.decoded == second.decoded == jobs, (family, name)
        if family not in best or sum(first.seconds) < sum(best[family][2].seconds):
            best[family] = (name, scheme, first, second)
    print(f"slope {slope:.4f} s, {jobs} jobs\n")
    print("| scheme | parameters | load | rounds | wait-outs | total, s | where chosen, s |")
    print("|---|---|---|---|---|---|---|")
    for family, (name, scheme, first, second) in best.items():
        shape = f"{scheme.load:.4f} | {len(second.seconds)} | {second.waited}"
        print(f"| {family} | {name} | {shape} | {sum(second.seconds):.2f} | {sum(first.seconds):.2f} |")


if __name__ == "__main__":
    main()
