"""What posterior samples are worth: how well they predict together, and how far parameters spread."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.errors import ScenarioError
from .base import RunLike, groups
from .style import add_caption, add_legend, banded, draw_lines, dress, new_figure, styles, whole_numbers

SHOWN = 8  # parameters


def posterior(runs: Sequence[RunLike]) -> tuple[Figure, pd.DataFrame]:
    """Draw the predictive log likelihood over the samples, and the first parameters' means and deviations.

    Returns:
        The figure, and one row a label and sample: ``predictive_log_likelihood`` with its range over seeds.

    Raises:
        ScenarioError: No run kept posterior samples.
    """
    sampled = [run for run in runs if getattr(run, "predictive", None) is not None]
    if not sampled:
        raise ScenarioError(
            "there is no posterior to draw: no run kept samples; a run with algorithm dsgld or fsgld does"
        )
    parts = groups(sampled)
    table = pd.concat([_one_label(name, members) for name, members in parts.items()], ignore_index=True)
    looks = styles(parts)
    figure = new_figure(9.0, 4.2)
    left, right = figure.subplots(1, 2)
    draw_lines(left, table, "sample", "predictive_log_likelihood", looks)
    dress(left, "Samples together", "Test log likelihood of the predictive")
    whole_numbers(left)
    _low_end(left, table)
    for place, (name, members) in enumerate(parts.items()):
        _spread(right, members[0], looks[name], (place - (len(parts) - 1) / 2) * 0.8 / len(parts))
    dress(right, f"The first parameters (seed {sampled[0].manifest['seed']})", "Posterior mean ± deviation")
    whole_numbers(right)
    add_legend(figure, left, banded(table, "range"))
    add_caption(
        figure, "The predictive gives a class the mean of its probabilities under the samples so far."
    )
    return figure, table


def _one_label(name: str, members: Sequence[Any]) -> pd.DataFrame:
    value = "predictive_log_likelihood"
    by_sample = pd.concat([run.predictive for run in members]).groupby("sample")[value]
    whole = by_sample.size() == len(members)
    table = pd.DataFrame({value: by_sample.mean(), f"{value}_low": by_sample.min()})
    table[f"{value}_high"] = by_sample.max()
    table = table[whole].reset_index()
    table["sample"] += 1
    table.insert(0, "label", name)
    table["seeds"] = len(members)
    return table


def _low_end(axes: Axes, table: pd.DataFrame) -> None:
    """Let the first few samples, which predict badly, not press all else together."""
    late = table[table["sample"] > 0.05 * table["sample"].max()]
    low, high = late["predictive_log_likelihood_low"].min(), table["predictive_log_likelihood_high"].max()
    margin = 0.05 * max(high - low, 1e-9)
    axes.set_ylim(low - margin, high + margin)


def _spread(axes: Axes, run: Any, look: Any, shift: float) -> None:
    shown = run.posterior.iloc[:SHOWN]
    style = {"color": look["color"], "marker": look["marker"], "markersize": 5, "linestyle": "none"}
    axes.errorbar(np.arange(len(shown)) + shift, shown["mean"], yerr=shown["std"], capsize=3, **style)
