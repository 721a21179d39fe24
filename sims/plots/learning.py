"""How well the global model does: by round, by bytes sent, by privacy spent, by virtual time."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.errors import ScenarioError, unknown
from ..measures import called, measured
from .base import RunLike, first_labels, metric_of, over_seeds
from .privacy import accuracy_by_epsilon
from .style import (
    add_caption,
    add_legend,
    banded,
    draw_lines,
    dress,
    logarithmic,
    new_figure,
    percent_axis,
    styles,
    whole_numbers,
)

_BY = ("bytes", "epsilon", "round", "seconds")


def accuracy(runs: Sequence[RunLike], by: str = "round", band: str = "range") -> tuple[Figure, pd.DataFrame]:
    """Draw test accuracy, one line a label.

    Args:
        runs: Runs; those of one label and several seeds become one line with a band.
        by: The x axis: ``"round"``, ``"bytes"``, ``"epsilon"`` or ``"seconds"`` (of the virtual clock).
        band: ``"range"``, ``"std"`` or ``"ci"``.

    Raises:
        ScenarioError: Another ``by`` or ``band``, or no run was evaluated.
    """
    if by not in _BY:
        raise ScenarioError(unknown("x axis", by, _BY))
    if by == "epsilon":
        return accuracy_by_epsilon(runs, band)
    if by == "round":
        return _by_round(runs, "accuracy", band)
    return accuracy_by_bytes(runs, band) if by == "bytes" else accuracy_by_seconds(runs, band)


def loss(runs: Sequence[RunLike], band: str = "range") -> tuple[Figure, pd.DataFrame]:
    """Draw test loss by round, one line a label.

    Raises:
        ScenarioError: Another ``band``, or no run was evaluated.
    """
    return _by_round(runs, "loss", band)


def rmse(runs: Sequence[RunLike], band: str = "range") -> tuple[Figure, pd.DataFrame]:
    """Draw a regression's root mean squared test error by round, the mean over outputs, one line a label.

    Raises:
        ScenarioError: Another ``band``, or no run was evaluated, or none is a regression.
    """
    return _by_round(runs, "rmse", band)


def mae(runs: Sequence[RunLike], band: str = "range") -> tuple[Figure, pd.DataFrame]:
    """Draw a regression's mean absolute test error by round, the mean over outputs, one line a label.

    Raises:
        ScenarioError: Another ``band``, or no run was evaluated, or none is a regression.
    """
    return _by_round(runs, "mae", band)


def metrics(runs: Sequence[RunLike], band: str = "range") -> tuple[Figure, pd.DataFrame]:
    """Draw what tasks measure besides loss and accuracy by round, one panel a measure, one line a label.

    Of text that is the perplexity. Runs whose tasks measure nothing more are left out, and so are measures
    that not all of the others have.

    Raises:
        ScenarioError: Another ``band``, or no run was evaluated, or their tasks measure nothing in common.
    """
    shown, note = first_labels([run for run in runs if run.manifest.get("metrics")] or runs)
    names = measured(shown)
    if not names:
        raise ScenarioError(
            "there is no further measure to draw: the tasks of these runs measure nothing besides loss, "
            "accuracy and errors, or nothing in common"
        )
    tables = {name: learning_table(shown, [name], band) for name in names}
    figure = new_figure(5.2 * len(names), 4.2)
    for axes, (name, table) in zip(
        figure.subplots(1, len(names), squeeze=False)[0], tables.items(), strict=True
    ):
        draw_by_round(axes, table, name)
    add_legend(figure, figure.axes[0], banded(tables[names[0]], band))
    add_caption(figure, note)
    return figure, pd.concat([t.rename(columns=_plain(n)).assign(measure=n) for n, t in tables.items()])


def _plain(name: str) -> dict[str, str]:
    return {f"{name}{end}": f"value{end}" for end in ("", "_low", "_high")}


def accuracy_by_bytes(runs: Sequence[RunLike], band: str = "range") -> tuple[Figure, pd.DataFrame]:
    """Draw test accuracy against the bytes that all clients have sent so far.

    The axis turns logarithmic where the runs' totals lie more than a factor 10 apart.

    Raises:
        ScenarioError: Another ``band``, or no run was evaluated.
    """
    title = "Sent by all clients so far (MB = 10⁶ bytes)"
    return _accuracy_along(runs, band, ("total_bytes_up", "megabytes_up", 1e6), title)


def accuracy_by_seconds(runs: Sequence[RunLike], band: str = "range") -> tuple[Figure, pd.DataFrame]:
    """Draw test accuracy against the virtual clock; at the mean of the seeds' clocks after each round.

    Raises:
        ScenarioError: Another ``band``, or no run was evaluated.
    """
    return _accuracy_along(runs, band, ("virtual_seconds", "virtual_seconds", 1.0), "Virtual seconds")


def _accuracy_along(
    runs: Sequence[RunLike], band: str, along: tuple[str, str, float], title: str
) -> tuple[Figure, pd.DataFrame]:
    """Draw test accuracy along a total: (its column, what it is called here, in which unit)."""
    column, name, unit = along
    shown, note = first_labels(runs)
    table = learning_table(shown, ["accuracy", column], band)
    for end in ("", "_low", "_high"):
        table[f"{name}{end}"] = table.pop(f"{column}{end}") / unit
    figure = new_figure()
    axes = figure.subplots()
    draw_lines(axes, table, name, "accuracy", styles(table["label"]))
    dress(axes, title, "Test accuracy")
    totals = table.groupby("label")[name].max()
    if table[name].min() > 0 and totals.max() > 10 * totals.min():
        logarithmic(axes)
    percent_axis(axes, table["accuracy_low"].min(), table["accuracy_high"].max())
    add_legend(figure, axes, banded(table, band))
    add_caption(figure, note)
    return figure, table


def learning_table(runs: Sequence[RunLike], values: Sequence[str], band: str = "range") -> pd.DataFrame:
    """Return ``over_seeds`` at the rounds where the first of ``values`` was measured.

    Raises:
        ScenarioError: It was measured in no round of no run.
    """
    if values[0] in ("rmse", "mae") and metric_of(runs) != "rmse":
        raise ScenarioError(f"there is no test {called(values[0])} to draw: not all runs are regressions")
    table = over_seeds(runs, values, needed=values[:1], band=band)
    if table.empty:
        raise ScenarioError(
            f"there is no test {called(values[0])} to draw: no round of these runs was evaluated; "
            "a run that evaluates at least once has it"
        )
    return table


def draw_by_round(axes: Axes, table: pd.DataFrame, value: str) -> None:
    """Draw ``value`` of a ``learning_table`` by round."""
    draw_lines(axes, table, "round", value, styles(table["label"]))
    dress(axes, "Round", f"Test {called(value)}")
    whole_numbers(axes)
    if value == "accuracy":
        percent_axis(axes, table["accuracy_low"].min(), table["accuracy_high"].max())


def _by_round(runs: Sequence[RunLike], value: str, band: str) -> tuple[Figure, pd.DataFrame]:
    shown, note = first_labels(runs)
    table = learning_table(shown, [value], band)
    figure = new_figure()
    axes = figure.subplots()
    draw_by_round(axes, table, value)
    add_legend(figure, axes, banded(table, band))
    add_caption(figure, note)
    return figure, table
