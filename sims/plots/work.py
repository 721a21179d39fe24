"""Who works when on the virtual clock, how stale what counts is, and whose messages count how often."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...core.errors import ScenarioError
from .base import MOST_LINES, RunLike, groups, left_out
from .style import (
    LARGE,
    NORMAL,
    OKABE_ITO,
    SMALL,
    add_caption,
    add_legend,
    dress,
    narrow,
    new_figure,
    percent_axis,
    styles,
    whole_numbers,
)

MOST_CLIENTS = 40  # rows that a picture of this size can show
COUNTED, WASTED = OKABE_ITO[0], OKABE_ITO[4]


def gantt(
    runs: Sequence[RunLike], until: float | None = None, most_runs: int = 4
) -> tuple[Figure, pd.DataFrame]:
    """Draw when each client worked, on the virtual clock, and whether its message counted.

    One panel a label, of its first seed; thin lines are the server's steps. Above 40 clients those with the
    lowest ids are drawn.

    Args:
        runs: Runs in the order in which their labels shall appear.
        until: Virtual seconds that are shown, above 0; None: so many that a dozen messages of a client fit,
            and no more than there are.
        most_runs: Panels drawn, at least 1; the first ones.

    Raises:
        ScenarioError: A network that takes no time, or ``until`` or ``most_runs`` out of range.
    """
    if most_runs < 1:
        raise ScenarioError(f"a Gantt chart shows at least 1 run, got {most_runs}")
    if until is not None and not until > 0:
        raise ScenarioError(f"until must be above 0 virtual seconds, got {until}")
    members = groups(runs)
    works = {name: work_of(same[0]).assign(label=name) for name, same in members.items()}
    timed = {name: work for name, work in works.items() if (work["work_seconds"] > 0).any()}
    if not timed:
        raise ScenarioError(
            f"there is no Gantt chart to draw: no client takes any time in {', '.join(members)}; a run whose "
            "network takes time has one"
        )
    tables = dict(list(timed.items())[:most_runs])
    if until is None:
        every = pd.concat(tables.values())
        ends = float((every["begins"] + every["work_seconds"]).max())
        until = min(12 * float(np.median(every["work_seconds"])) or ends, ends)
    shown = {name: _shown(table, until) for name, table in tables.items()}
    heights = [max(1.4, 0.13 * table["client_id"].nunique() + 0.6) for table in shown.values()]
    figure = new_figure(8.4, sum(heights) + 0.9)
    grid = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights, sharex=True)
    for axes, (name, table) in zip(grid[:, 0], shown.items(), strict=True):
        _bars(axes, table, until)
        steps = members[name][0].rounds["virtual_seconds"].to_numpy()
        if (steps <= until).sum() <= 60:
            for step in steps[steps <= until]:
                axes.axvline(step, color="#222222", linewidth=0.5, alpha=0.5)
        several = len(members[name]) > 1
        title = f"{name} (seed {members[name][0].manifest['seed']})" if several else name
        axes.set_title(fill(title, 60 if narrow() else 80), fontsize=LARGE, loc="left")
    grid[-1, 0].set_xlabel("Virtual seconds", fontsize=NORMAL)
    _name(figure)
    if note := _left_away(timed, tables):
        add_caption(figure, note)
    return figure, pd.concat(shown.values(), ignore_index=True)


def staleness(runs: Sequence[RunLike]) -> tuple[Figure, pd.DataFrame]:
    """Draw how stale the messages that count are, and how often clients' messages count, by rank.

    Seeds of a label are taken together; a client's count is in units of an equal share.

    Raises:
        ScenarioError: All runs wait for everybody, or no message counts.
    """
    members = groups(runs)
    if all(run.work is None for run in runs):
        raise ScenarioError(
            f"there is no staleness to draw: the rounds of {', '.join(members)} wait for everybody; a run "
            "with another schedule, such as buffered, has some"
        )
    labels = dict(list(members.items())[:MOST_LINES])
    works = {name: [work_of(run) for run in same] for name, same in labels.items()}
    ages = pd.concat([_ages(name, tables) for name, tables in works.items()])
    if ages.empty:
        raise ScenarioError("there is no staleness to draw: no message counts in these runs")
    ranks = pd.concat([_ranks(name, works[name], labels[name]) for name in labels])
    figure = new_figure(8.4, 3.9)
    looks = styles(labels)
    across = figure.subplots(2, 1) if narrow() else figure.subplots(1, 2)
    for name in labels:
        here, there = ages[ages["label"] == name], ranks[ranks["label"] == name]
        mean = float((here["staleness"] * here["message_share"]).sum())
        across[0].plot(
            here["staleness"], here["message_share"], label=f"{name}: mean {mean:.1f}", **looks[name]
        )
        look = {**looks[name], "marker": ""}
        across[1].plot(there["rank"], there["times_its_share"], label=name, **look)
    dress(across[0], "Staleness in steps of the server", "Share of what counts")
    percent_axis(across[0], 0.0, float(ages["message_share"].max()))
    whole_numbers(across[0])
    dress(across[1], "Client, by how often it counts", "Messages, in equal shares")
    across[1].set_ylim(bottom=0.0)
    whole_numbers(across[1])
    add_legend(figure, across[0])
    add_caption(figure, left_out(len(members)))
    return figure, pd.concat([ages, ranks], ignore_index=True)


def work_of(run: RunLike) -> pd.DataFrame:
    """Return one row a message: round, client_id, staleness, begins, work_seconds, counted.

    The table of work; of a run whose rounds wait for everybody what the other tables say of it.
    """
    if run.work is not None:
        return run.work
    clock = run.rounds.set_index("round")["virtual_seconds"].astype(float)
    table = run.clients[["round", "client_id"]].copy()
    ends = table["round"].map(clock)
    table["staleness"] = 0
    table["begins"] = table["round"].map(clock.shift(fill_value=0.0))
    table["work_seconds"] = np.minimum(run.clients["client_seconds"], ends - table["begins"])
    table["counted"] = run.clients["status"] == "ok"
    return table


def _shown(table: pd.DataFrame, until: float) -> pd.DataFrame:
    ids = np.sort(table["client_id"].unique())[:MOST_CLIENTS]
    here = table["client_id"].isin(ids) & (table["begins"] < until)
    return table.loc[here, ["label", "round", "client_id", "begins", "work_seconds", "counted"]]


def _bars(axes: Axes, table: pd.DataFrame, until: float) -> None:
    ids = np.sort(table["client_id"].unique())
    row_of = {client: row for row, client in enumerate(ids)}
    for counted, color in ((True, COUNTED), (False, WASTED)):
        part = table[table["counted"] == counted]
        rows = part["client_id"].map(row_of)
        hatch = None if counted else "////"
        axes.barh(
            rows, part["work_seconds"], left=part["begins"], height=0.8, color=color, hatch=hatch,
            edgecolor="white", linewidth=0.5,
        )  # fmt: skip
    axes.set_xlim(0, until)
    axes.set_ylim(len(ids) - 0.5, -0.5)
    every = max(1, -(-len(ids) // 14))
    axes.set_yticks(range(0, len(ids), every), [str(i) for i in ids[::every]], fontsize=6)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_ylabel("Client", fontsize=NORMAL)


def _name(figure: Figure) -> None:
    handles = [
        Patch(color=COUNTED, label="its message counts"),
        Patch(facecolor=WASTED, edgecolor="white", hatch="////", label="for nothing"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, fontsize=SMALL, frameon=False)


def _left_away(members: Mapping[str, object], tables: Mapping[str, pd.DataFrame]) -> str:
    notes = [f"The first {len(tables)} of {len(members)} runs."] if len(tables) < len(members) else []
    most = max(table["client_id"].nunique() for table in tables.values())
    if most > MOST_CLIENTS:
        notes.append(f"{MOST_CLIENTS} of {most} clients, by id.")
    return " ".join(notes)


def _ages(label: str, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    counted = pd.concat([table[table["counted"]] for table in tables])
    sizes = counted.groupby("staleness").size()
    whole = np.arange(int(sizes.index.max()) + 1) if len(sizes) else np.arange(0)
    messages = sizes.reindex(whole, fill_value=0).to_numpy()
    share = messages / max(1, messages.sum())
    return pd.DataFrame(
        {"label": label, "staleness": whole, "counted_messages": messages, "message_share": share}
    )


def _ranks(label: str, tables: Sequence[pd.DataFrame], runs: Sequence[RunLike]) -> pd.DataFrame:
    """Return how often clients' messages count, the most often first: the mean over seeds at each rank."""
    sorted_ = []
    for table, run in zip(tables, runs, strict=True):
        clients = int(run.manifest["scenario"].get("num_clients", 0)) or table["client_id"].nunique()
        counts = table[table["counted"]].groupby("client_id").size().sort_values(ascending=False).to_numpy()
        all_ = np.concatenate([counts, np.zeros(max(0, clients - len(counts)))])
        sorted_.append(all_ / max(all_.mean(), 1e-12))
    mean = np.mean([values[: min(map(len, sorted_))] for values in sorted_], axis=0)
    return pd.DataFrame({"label": label, "rank": np.arange(1, len(mean) + 1), "times_its_share": mean})
