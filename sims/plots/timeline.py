"""Whom a defense flagged, and as what: clients against rounds, sorted by what they really are."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...core.errors import ScenarioError
from .base import Array, RunLike, groups
from .style import LARGE, NORMAL, OKABE_ITO, SMALL, add_caption, new_figure, whole_numbers

MOST_CLIENTS = 120  # rows that a picture of this size can show
ABSENT, PRESENT = "#FFFFFF", "#DDE3E8"
KINDS: Mapping[str, str] = {
    "sign_flip": OKABE_ITO[1],
    "noise": OKABE_ITO[0],
    "targeted": OKABE_ITO[3],
    "malicious": OKABE_ITO[6],
    "unreliable": OKABE_ITO[7],
}
_OTHERS = (OKABE_ITO[2], OKABE_ITO[5], OKABE_ITO[4])
_OUT = "left out, not flagged"


def timeline(runs: Sequence[RunLike], most_runs: int = 4) -> tuple[Figure, pd.DataFrame]:
    """Draw every client's flag in every round, the attackers above, named for what they really do.

    A dot marks a client whose update got no weight although it is not flagged (a suspect, say). One panel a
    label, of its first seed. Above 120 clients those that attack or are flagged are drawn first.

    Args:
        runs: Runs in the order in which their labels shall appear; those that flag nobody are skipped.
        most_runs: Panels drawn, at least 1; the first ones.

    Raises:
        ScenarioError: No client was ever flagged or left out, or ``most_runs`` is below 1.
    """
    if most_runs < 1:
        raise ScenarioError(f"a timeline shows at least 1 run, got {most_runs}")
    members = groups(runs)
    tables = {name: _table(name, same[0]) for name, same in members.items()}
    told = {name: t for name, t in tables.items() if t["flag"].notna().any() or t["left_out"].any()}
    if not told:
        raise ScenarioError(
            f"there is no timeline to draw: no client was ever flagged or left out in {', '.join(members)}; "
            "a run whose defense flags clients, or gives some no weight, has one"
        )
    shown = {name: _shown(t) for name, t in list(told.items())[:most_runs]}
    colors = _colors(pd.concat(shown.values())["flag"].dropna().unique())
    heights = [max(1.4, 0.15 * t["client_id"].nunique() + 0.7) for t in shown.values()]
    figure = new_figure(8.4, sum(heights) + 0.9)
    grid: Array = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)
    for axes, (name, table) in zip(grid[:, 0], shown.items(), strict=True):
        _draw(axes, table, colors)
        several = len(members[name]) > 1
        title = f"{name} (seed {members[name][0].manifest['seed']})" if several else name
        axes.set_title(fill(title, 80), fontsize=LARGE, loc="left")
    grid[-1, 0].set_xlabel("Round", fontsize=NORMAL)
    _name(figure, colors, pd.concat(shown.values()))
    if note := _left_away(told, shown):
        add_caption(figure, note)
    return figure, pd.concat(shown.values(), ignore_index=True)


def _table(label: str, run: RunLike) -> pd.DataFrame:
    """Return one row a client and round: truth, flag, and whether it was left out without one."""
    clients = run.clients
    table = clients[["round", "client_id", "truth"]].copy()
    table.insert(0, "label", label)
    table["truth"] = table["truth"].str.rsplit(":", n=1).str[-1]  # of a plug-in from outside, the class
    table["flag"] = clients["flag"].astype(object).where(clients["flag"].notna(), None)
    table["left_out"] = (clients["weight"].astype(float) == 0) & clients["flag"].isna()
    return table


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return the clients that fit: those of interest first, then in order of their ids."""
    interest = table.assign(hot=(table["truth"] != "honest") | table["flag"].notna())
    ranked = interest.groupby("client_id")["hot"].any().sort_values(ascending=False, kind="stable")
    return table[table["client_id"].isin(ranked.index[:MOST_CLIENTS])]


def _colors(kinds: Iterable[str]) -> dict[str, str]:
    """Return a colour a kind: the known ones in fixed colours and order, the others after them."""
    others = sorted(set(kinds) - set(KINDS))
    spare = {kind: _OTHERS[i % len(_OTHERS)] for i, kind in enumerate(others)}
    return {k: color for k, color in {**KINDS, **spare}.items() if k in set(kinds)}


def _truths(table: pd.DataFrame) -> pd.Series:
    """Return what each client really is, from which round if not from the first; honest ones last."""
    bad = table[table["truth"] != "honest"].sort_values("round", kind="stable")
    kinds, starts = bad.groupby("client_id")["truth"].first(), bad.groupby("truth")["round"].min()
    late = starts[starts > table["round"].min()]
    words = {i: f"{kind} from round {late[kind]}" if kind in late else kind for i, kind in kinds.items()}
    ids = np.sort(table["client_id"].unique())
    truth = pd.Series([words.get(i, "honest") for i in ids], index=ids)
    return truth.iloc[np.lexsort((ids, truth, truth == "honest"))]


def _draw(axes: Axes, table: pd.DataFrame, colors: Mapping[str, str]) -> None:
    truth = _truths(table)
    row_of = {i: row for row, i in enumerate(truth.index)}
    first, last = int(table["round"].min()), int(table["round"].max())
    code = {kind: 2 + n for n, kind in enumerate(colors)}
    cells = np.zeros((len(truth), last - first + 1), dtype=int)
    rows, columns = table["client_id"].map(row_of).to_numpy(), table["round"].to_numpy() - first
    cells[rows, columns] = [code.get(flag, 1) for flag in table["flag"]]
    palette = ListedColormap([ABSENT, PRESENT, *colors.values()])
    frame = (first - 0.5, last + 0.5, len(truth) - 0.5, -0.5)
    axes.imshow(
        cells,
        cmap=palette,
        vmin=-0.5,
        vmax=len(code) + 1.5,
        aspect="auto",
        interpolation="nearest",
        extent=frame,
    )
    out = table["left_out"].to_numpy(bool)
    axes.plot(columns[out] + first, rows[out], ".", color="#222222", markersize=3.5, linestyle="none")
    _rule(axes, truth, cells.shape[1], first)


def _rule(axes: Axes, truth: pd.Series, rounds: int, first: int) -> None:
    """Draw the white grid, the lines between groups, and the truth beside them."""
    if rounds <= 60:
        axes.set_xticks(np.arange(rounds + 1) + first - 0.5, minor=True)
    axes.set_yticks(np.arange(len(truth) + 1) - 0.5, minor=True)
    axes.grid(True, which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    axes.set_yticks(range(len(truth)), [str(i) for i in truth.index], fontsize=6)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("Client", fontsize=NORMAL)
    whole_numbers(axes)
    at = 0
    for kind, size in truth.groupby(truth, sort=False).size().items():
        if at:
            axes.axhline(at - 0.5, color="#222222", linewidth=0.8)
        place = (1.01, at + size / 2 - 0.5)
        axes.annotate(
            str(kind),
            place,
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=SMALL,
            annotation_clip=False,
        )
        at += int(size)


def _name(figure: Figure, colors: Mapping[str, str], table: pd.DataFrame) -> None:
    handles: list[Patch | Line2D] = [Patch(color=color, label=kind) for kind, color in colors.items()]
    handles.append(Patch(color=PRESENT, label="not flagged"))
    if table["left_out"].any():
        handles.append(Line2D([], [], label=_OUT, marker=".", color="#222222", linestyle="none"))
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=6,
        fontsize=SMALL,
        frameon=False,
        title="flagged as (colour); the truth stands on the right",
        title_fontsize=SMALL,
        alignment="left",
    )


def _left_away(told: Mapping[str, pd.DataFrame], shown: Mapping[str, pd.DataFrame]) -> str:
    notes = []
    if len(shown) < len(told):
        notes.append(f"The first {len(shown)} of {len(told)} runs.")
    most = max(told[name]["client_id"].nunique() for name in shown)
    if most > MOST_CLIENTS:
        notes.append(f"{MOST_CLIENTS} of {most} clients: those that attack or are flagged first.")
    return " ".join(notes)
