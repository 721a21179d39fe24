"""Draw by what MUD-HoG tells attackers from others, and where that overlaps, at two skews of the data.

Usage: mud_hog_overlap.py PICTURE.png [--settings mixture mixture-skewed] [--seed 0] [--rounds 10]. A dot is a
client of the study's setting after that many rounds.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from mud_hog_study import scenario_of

from gauntlet.defenses.mud_hog.direction import agreement
from gauntlet.defenses.mud_hog.history import jitters, long_history, short_history
from gauntlet.defenses.mud_hog.split import leading_coordinates
from gauntlet.defenses.parts.geometry import at_one_length, gram_of
from gauntlet.server.simulation import prepare
from gauntlet.sims.plots.style import OKABE_ITO, new_figure

FEATURES = (
    "agreement with the others (long history)",
    "jitter over common part (log10)",
    "leading coordinate (short history, one length)",
)
COLORS = {
    "honest": OKABE_ITO[7],
    "unreliable": OKABE_ITO[2],
    "sign_flip": OKABE_ITO[1],
    "additive_noise": OKABE_ITO[0],
    "multi_label_flip": OKABE_ITO[3],
}


def features(setting: str, seed: int, rounds: int) -> pd.DataFrame:
    """Run a setting, and return a row a client: its truth and the three features."""
    simulation = prepare(scenario_of(setting, "general", seed).run_spec())
    steps = simulation.steps(simulation.serial_pool())
    step = [next(steps) for _ in range(rounds)][-1]
    kinds = simulation.plan.kinds(rounds - 1)
    clients = step.state.defense["clients"]
    files = [clients[i] for i in sorted(clients)]
    truth = [kinds.get(i, "honest") for i in sorted(clients)]
    short, long = gram_of(short_history(files)), gram_of(long_history(files, mean=True))
    still = np.array([kind not in ("sign_flip", "additive_noise") for kind in truth])
    leading = np.full(len(files), np.nan)
    leading[still] = leading_coordinates(at_one_length(short[np.ix_(still, still)]), 1)[0]
    bad = np.array([kind == "multi_label_flip" for kind in truth])
    leading *= (
        np.sign(np.nanmean(leading[bad])) if bad.any() else 1.0
    )  # the sign of a direction means nothing
    values = (
        agreement(long, np.ones(len(files), dtype=bool)),
        np.log10(jitters(files).numpy() / np.sqrt(np.diagonal(short))),
        leading,
    )
    return pd.DataFrame({"truth": truth, **dict(zip(FEATURES, values, strict=True))})


def main() -> None:
    """Run and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("picture", type=Path)
    parser.add_argument("--settings", nargs="+", default=["mixture", "mixture-skewed"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    figure = new_figure(10.0, 2.6 * len(asked.settings))
    grid = figure.subplots(len(asked.settings), len(FEATURES), squeeze=False)
    for row, setting in zip(grid, asked.settings, strict=True):
        found = features(setting, asked.seed, asked.rounds)
        kinds = [kind for kind in COLORS if kind in set(found["truth"])]
        for axes, feature in zip(row, FEATURES, strict=True):
            for height, kind in enumerate(reversed(kinds)):
                values = found.loc[found["truth"] == kind, feature].to_numpy()
                shift = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else np.zeros(1)
                axes.plot(values, height + shift, "o", color=COLORS[kind], markersize=4, alpha=0.8)
            axes.set_yticks(range(len(kinds)), list(reversed(kinds)) if axes is row[0] else [""] * len(kinds))
            axes.set_xlabel(feature, fontsize=8)
            axes.tick_params(labelsize=8)
        row[1].set_title(f"{setting}, after round {asked.rounds}", fontsize=9)
    figure.savefig(asked.picture, dpi=110)


if __name__ == "__main__":
    main()
