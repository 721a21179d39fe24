"""Who attacked, whom the defense named, and when: one row a run, then one a client."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..detection import client_records, totals
from ..naming import run_names
from ..plots.base import first_labels
from .curves import Axes, Line, plot
from .markup import Markup, element, joined, section, table
from .reading import column

if TYPE_CHECKING:
    from ..plots.base import RunLike
    from ..results import Run
    from .reading import Findings

_MOST = 8  # runs whose clients are listed
_CLIENTS = 300  # rows of one list
_HEAD = (
    "client",
    "truth",
    "attacks from round",
    "caught in round",
    "wrongly named",
    "last flag",
    "last score",
)


def detected(findings: "Findings") -> Markup:
    """Return what defenses found out; nothing where nobody attacked and nobody was flagged."""
    named = list(zip(run_names(findings.runs), findings.runs, strict=True)) if findings.runs else []
    told = [(name, run) for name, run in named if _has_suspects(run)]
    if not told:
        return Markup("")
    rows = [_row(name, run) for name, run in told]
    head = [
        "run",
        "seed",
        "attackers",
        "caught",
        "wrongly named",
        "precision",
        "recall",
        "mean delay",
        "ROC AUC",
    ]
    caption = "Over the whole run: a client counts as caught from its first attack on."
    return section(
        "detection",
        "Who was found out",
        table(head, rows, caption),
        _flags(findings),
        joined(_clients(name, run) for name, run in told[:_MOST]),
        element("p", f"The clients of the first {_MOST} of {len(told)} runs.", class_="note")
        if len(told) > _MOST
        else None,
    )


def _has_suspects(run: "Run") -> bool:
    clients = run.clients
    return bool(clients["flag"].notna().any() or not clients["truth"].isin(["honest", "canary"]).all())


def _row(name: str, run: "Run") -> list[Any]:
    found = totals(run.clients)
    return [
        name,
        int(run.manifest["seed"]),
        int(found["attackers"]),
        int(found["caught"]),
        int(found["wrongly"]),
        *(_number(found[key]) if found["attackers"] else "—" for key in ("precision", "recall")),
        *(_number(found[key]) for key in ("delay", "auc")),
    ]


def _number(value: float) -> str:
    return format(value, ".3g") if np.isfinite(value) else "—"


def _flags(findings: "Findings") -> Markup:
    """Return the plot of how many clients were flagged in each round."""
    runs, note = first_labels(findings.runs)
    firsts: dict[str, RunLike] = {}
    for name, run in zip(run_names(runs), runs, strict=True):
        firsts.setdefault(name, run)
    lines = [
        Line(name, column(run.rounds, "round"), column(run.rounds, "flagged"))
        for name, run in firsts.items()
        if "flagged" in run.rounds and (run.rounds["flagged"] > 0).any()
    ]
    axes = Axes("flagged", "Clients flagged in a round", "round", "clients flagged")
    return plot(axes, lines, note)


def _clients(name: str, run: "Run") -> Markup:
    """Return a list of the clients of a run that can be opened, attackers and those named first."""
    found = client_records(run.clients)
    suspect = found["start"].notna() | found["flag"].notna()
    found = found.assign(order=~suspect).sort_values(["order", "client_id"])
    rows = [_client(row) for row in found.head(_CLIENTS).itertuples()]
    more = f" The first {_CLIENTS} of {len(found)}." if len(found) > _CLIENTS else ""
    who = f"{name}, seed {run.manifest['seed']}"
    caption = f"{who}: {int(suspect.sum())} of {len(found)} clients attacked or were named.{more}"
    return element("details", element("summary", f"Clients of {who}"), table(_HEAD, rows, caption))


def _client(row: Any) -> list[Any]:
    start, caught, flag = row.start, row.caught, row.flag
    return [
        int(row.client_id),
        row.truth,
        int(start) if start == start else "—",
        int(caught) if caught == caught else "—",
        "yes" if row.wrongly else "no",
        flag if isinstance(flag, str) else "—",
        _number(float(row.score)),
    ]
