"""Which client holds how many examples of which class: how far the data are from independent."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...core.errors import ScenarioError
from .base import Array
from .style import NORMAL, OKABE_ITO, SMALL, add_caption, add_legend, dress, new_figure, whole_numbers

MOST_BARS = 40  # clients that can stand side by side as bars
MOST_CLIENTS = 1000  # clients that a picture of this size can show at all


def label_distribution(counts: Array, class_names: Sequence[str] = ()) -> tuple[Figure, pd.DataFrame]:
    """Draw the examples of each class that each client holds.

    Stacked bars for few clients and classes, else a map with one column a client. Above 1000 clients the
    first 1000 are drawn, and the picture says so.

    Args:
        counts: Examples of each class at each client, at least 0.  # [N, C]
        class_names: C names, or none to number the classes.

    Raises:
        ScenarioError: Not a matrix of counts, nothing in it, or another number of names.
    """
    matrix = np.asarray(counts)
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all() or (matrix < 0).any():
        raise ScenarioError(
            f"counts must be a matrix [clients, classes] of numbers >= 0, got shape {matrix.shape}"
        )
    names = list(class_names) or [str(c) for c in range(matrix.shape[1])]
    if len(names) != matrix.shape[1]:
        raise ScenarioError(f"{matrix.shape[1]} classes need as many names, got {len(names)}")
    shown = matrix[:MOST_CLIENTS]
    figure = new_figure(7.2, 4.2)
    axes = figure.subplots()
    if len(shown) <= MOST_BARS and len(names) <= len(OKABE_ITO):
        _bars(figure, axes, shown, names)
    else:
        _map(figure, axes, shown, names)
    if len(matrix) > len(shown):
        add_caption(figure, f"The first {len(shown)} of {len(matrix)} clients.")
    return figure, _tidy(shown, names)


def _bars(figure: Figure, axes: Axes, counts: Array, names: Sequence[str]) -> None:
    below = np.zeros(len(counts))
    for c, name in enumerate(names):
        place = np.arange(len(counts))
        color = OKABE_ITO[c]
        axes.bar(place, counts[:, c], 0.85, below, color=color, label=name, edgecolor="white", linewidth=0.4)
        below = below + counts[:, c]
    dress(axes, "Client", "Examples")
    axes.grid(False, axis="x")
    whole_numbers(axes)
    axes.margins(x=0.01)
    add_legend(figure, axes)


def _map(figure: Figure, axes: Axes, counts: Array, names: Sequence[str]) -> None:
    image = axes.imshow(
        counts.T, aspect="auto", cmap="cividis", vmin=0, interpolation="nearest", origin="lower"
    )
    dress(axes, "Client", "Class")
    axes.grid(False)
    whole_numbers(axes)
    if len(names) <= 20:
        axes.set_yticks(range(len(names)), names)
    bar = figure.colorbar(image, ax=axes)
    bar.set_label("Examples", fontsize=NORMAL)
    bar.ax.tick_params(labelsize=SMALL)
    bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True))


def _tidy(counts: Array, names: Sequence[str]) -> pd.DataFrame:
    clients, classes = counts.shape
    return pd.DataFrame(
        {
            "client_id": np.repeat(np.arange(clients), classes),
            "class": np.tile(np.asarray(names, dtype=object), clients),
            "num_examples": counts.reshape(-1),
        }
    )
