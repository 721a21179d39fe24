"""One picture of what a scenario shows: does the model learn, who misbehaved, what it cost, what leaked."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from ..scores import CANARY
from .base import RebuiltLike, RunLike, first_labels, groups, metric_of
from .gallery import messages, title
from .leaks import adapted
from .learning import draw_by_round, learning_table
from .look import SIZE
from .pictures import draw_pairs
from .style import (
    HONEST,
    LARGE,
    MALICIOUS,
    OKABE_ITO,
    QUIET,
    SMALL,
    add_caption,
    add_legend,
    banded,
    dress,
    narrow,
    new_figure,
    parts_of,
    percent_axis,
    styles,
    whole_numbers,
)

_MOST = 6  # labels side by side
_LETTERS = 44  # of a label that fit above its bar
_LINE = 0.5  # room for a further line, in bars
_EXAMPLES = {1: 3, 2: 5}  # examples side by side that fill the panel, by the number of messages


def summary(runs: Sequence[RunLike]) -> tuple[Figure, pd.DataFrame]:
    """Draw accuracy (or a regression's RMSE), bytes, malicious clients and rebuilt examples side by side.

    Of more than 6 labels the first 6 are drawn, and the picture says so. What the runs do not hold is left
    out; only the first must be there. The rebuilt examples are the first
    observed ones, of up to two labels: none is chosen for its score.

    Returns:
        The figure, and the numbers of all panels under each other, told apart by ``panel``.

    Raises:
        ScenarioError: No run was evaluated.
    """
    metric = metric_of(runs)
    runs, note = first_labels(runs, _MOST)
    learned, sent, people = learning_table(runs, [metric]), traffic(runs), suspects(runs)
    leaked, cut = _first_of_each_label(runs)
    widths = [1.15, 1.0, 1.0] if leaked else [1.15, 1.0]
    high = 4.4 + 0.4 * max(0.0, _heights(sent["label"]) - 3)
    if narrow():
        figure = new_figure(4.3, high * len(widths))
        parts = parts_of(figure, rows=len(widths))
    else:
        figure = new_figure(4.3 * sum(widths), high)
        parts = parts_of(figure, widths=widths)
    _learning(parts[0], learned, metric)
    _cost(parts[1], sent, people)
    if leaked:
        _leaks(parts[2], leaked)
    add_caption(figure, f"{note}\n{cut}".strip())
    return figure, _stack({metric: learned, "bytes": sent, "clients": people, "leakage": _scores(leaked)})


def traffic(runs: Sequence[RunLike]) -> pd.DataFrame:
    """Return what one client sends and receives a round, in bytes, one row a label."""
    rows = []
    for label, members in groups(runs).items():
        rounds = pd.concat([run.rounds for run in members])
        messages_sent = max(float(rounds["cohort_size"].sum()), 1.0)
        rows.append(
            {
                "label": label,
                "bytes_up": float(rounds["bytes_up"].sum()) / messages_sent,
                "bytes_down": float(rounds["bytes_down"].sum()) / messages_sent,
            }
        )
    return pd.DataFrame(rows)


def suspects(runs: Sequence[RunLike]) -> pd.DataFrame:
    """Return the share of its rounds in which each client was flagged, and its mean update norm.

    Of the first label whose defense flagged anyone, else of the last label; its first seed. A client that
    is merely unreliable does not count as flagged. No row where nobody was malicious and nobody flagged.
    """
    members = [(label, same[0]) for label, same in groups(runs).items()]
    flagging = [pair for pair in members if _flagged(pair[1].clients).any()]
    label, run = flagging[0] if flagging else members[-1]
    clients = run.clients[run.clients["truth"] != CANARY]
    if not flagging and (clients["truth"] == "honest").all():
        return pd.DataFrame()
    rows = clients.assign(flagged=_flagged(clients).astype(float)).groupby("client_id", sort=True)
    table = rows.agg(
        truth=("truth", "last"), flagged=("flagged", "mean"), update_norm=("update_norm", "mean")
    )
    table = table.reset_index()
    table.insert(0, "label", label)
    return table


def _flagged(clients: pd.DataFrame) -> pd.Series:
    return clients["flag"].notna() & (clients["flag"] != "unreliable")


def _first_of_each_label(runs: Sequence[RunLike]) -> tuple[list[tuple[str, RebuiltLike]], str]:
    """Return the first message of up to two labels, and in one sentence what is left out.

    Of several attacks on it the first that knew of the clients' defense or codec, else the first.
    """
    found, first = messages(runs), dict[str, RebuiltLike]()
    for label, same in groups(runs).items():
        items = [(run, item) for run in same for item in run.gallery()]
        alike = [one for one in items if _message(*one) == _message(*items[0])]
        if items:
            first[label] = next((item for run, item in alike if adapted(run, item)), items[0][1])
    shown = list(first.items())[:2]
    every = sum(len(message.item.truth) for message in found)
    drawn = sum(min(len(item.truth), _EXAMPLES[len(shown)]) for _, item in shown)
    if drawn == every:
        return shown, ""
    what = f"{drawn} of {every} examples from {len(shown)} of {len(found)} messages"
    return shown, f"Rebuilt: {what}; the plot 'reconstructions' draws more."


def _message(run: RunLike, item: RebuiltLike) -> tuple[int, int, int]:
    return id(run), item.round, item.client_id


def _learning(part: SubFigure, table: pd.DataFrame, metric: str) -> None:
    part.suptitle("Does the model still learn?", fontsize=LARGE, x=0.02, ha="left")
    axes = part.subplots()
    draw_by_round(axes, table, metric)
    add_legend(part, axes, banded(table, "range"), below=True)


def _cost(part: SubFigure, sent: pd.DataFrame, people: pd.DataFrame) -> None:
    if people.empty:
        part.suptitle("What does a round cost?", fontsize=LARGE, x=0.02, ha="left")
        _draw_traffic(part.subplots(), sent)
        return
    part.suptitle("What did it cost, who misbehaved?", fontsize=LARGE, x=0.02, ha="left")
    above, below = part.subplots(2, 1, height_ratios=[0.5 + 0.35 * _heights(sent["label"]), 2.2])
    _draw_traffic(above, sent)
    _draw_suspects(below, people)
    add_legend(part, below, below=True)


def _draw_traffic(axes: Axes, sent: pd.DataFrame) -> None:
    looks, place = styles(sent["label"]), -1.0
    for row in sent.itertuples():
        name = fill(row.label, _letters())
        place += 1.0 + _LINE * name.count("\n")
        axes.barh(place, row.bytes_up / 1e3, height=0.4, color=looks[row.label]["color"])
        beside = axes.text(0.0, place - 0.24, name, fontsize=SMALL, va="bottom")
        beside.set_in_layout(False)  # a name may be longer than its bar: the panel does not yield to it
    down = float(sent["bytes_down"].max()) / 1e3
    axes.axvline(down, color=QUIET, linestyle="--", linewidth=1.4)
    dress(axes, "kB sent by one client in one round\n(dashed: the model as broadcast)", "")
    first = fill(str(sent["label"].iloc[0]), _letters())
    axes.set_ylim(place + 0.4, -0.85 - _LINE * first.count("\n"))
    axes.set_yticks([])
    axes.grid(False, axis="y")


def _heights(labels: Sequence[str]) -> float:
    """Return how much room bars need that have these labels, in bars with a line each."""
    return len(labels) + _LINE * sum(fill(label, _letters()).count("\n") for label in labels)


def _letters() -> int:
    """Return how many letters of a name fit above its bar: fewer in a third of a small picture."""
    return _LETTERS if SIZE.get() is None or narrow() else _LETTERS // 2


def _draw_suspects(axes: Axes, people: pd.DataFrame) -> None:
    flagged = bool((people["flagged"] > 0).any())
    value = "flagged" if flagged else "update_norm"
    truth = people["truth"]
    for name, rows, color, marker in (
        ("honest", people[truth == "honest"], HONEST, "o"),
        ("malicious", people[~truth.isin(("honest", "unreliable"))], MALICIOUS, "^"),
        ("unreliable", people[truth == "unreliable"], OKABE_ITO[2], "s"),
    ):
        if name == "unreliable" and rows.empty:
            continue
        axes.scatter(rows["client_id"], rows[value], color=color, marker=marker, s=26, label=name)
    dress(axes, "Client", "Rounds flagged" if flagged else "Mean update norm (L2)")
    axes.set_title(fill(str(people["label"].iloc[0]), _LETTERS + 10), fontsize=SMALL, loc="left")
    whole_numbers(axes)
    if flagged:
        percent_axis(axes, 0.0, 1.0)


def _leaks(part: SubFigure, leaked: Sequence[tuple[str, RebuiltLike]]) -> None:
    part.suptitle("What did an eavesdropper rebuild?", fontsize=LARGE, x=0.02, ha="left")
    columns = min(_EXAMPLES[len(leaked)], max(len(item.truth) for _, item in leaked))
    several = len(leaked) > 1
    for row, (label, item) in zip(parts_of(part, rows=len(leaked)), leaked, strict=True):
        name = fill(title(item, label if several else ""), _LETTERS + 10)
        row.suptitle(name, fontsize=SMALL, x=0.02, ha="left")
        draw_pairs(row, item, columns)


def _scores(leaked: Sequence[tuple[str, RebuiltLike]]) -> pd.DataFrame:
    rows = [
        {
            "label": label,
            "round": item.round,
            "client_id": item.client_id,
            "attack": item.attack,
            "sok": item.sok,
            "example": i,
            "psnr": float(item.psnr[i]),
            "ssim": float(item.ssim[i]),
        }
        for label, item in leaked
        for i in range(min(len(item.truth), _EXAMPLES[len(leaked)]))
    ]
    return pd.DataFrame(rows)


def _stack(panels: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    parts = [table.assign(panel=name) for name, table in panels.items() if not table.empty]
    stacked = pd.concat(parts, ignore_index=True)
    return stacked[["panel", *(column for column in stacked.columns if column != "panel")]]
