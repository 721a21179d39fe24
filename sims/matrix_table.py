"""From a matrix's runs to one row a field: means over seeds, the drop against no attack, the worst case.

The worst case is ByzFL's (arXiv:2505.24802): of each configuration the best accuracy over the run's steps (of
the mean over seeds), then the attack that leaves the least of it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .scores import delays
from .terminal import cell_text, wide_console

if TYPE_CHECKING:
    import pandas as pd

    from .results import Run

NO_ATTACK, WORST = "no attack", "worst case"
_AT_BEST = "at best"  # a column of work: the seeds' accuracies at the best round
KEYS = ["defense", "share", "attack"]
LEAST, MOST = ("best_accuracy", "accuracy", "precision", "recall"), ("drop", "attack_success_rate")
"""Of these columns the least, or the most, is what an attacker wants."""
SPREAD = ("best_accuracy", "accuracy", "drop", "attack_success_rate", "aggregate_distance")
"""Columns that are means over seeds; the others are counted over all seeds together."""


def cell_scores(run: "Run") -> dict[str, Any]:
    """Return what one run adds to its field: ``curve`` (accuracy by round) and counts over all rounds."""
    rounds, found = run.rounds, delays(run.clients)
    counts = rounds[["true_positives", "false_positives", "false_negatives", "true_negatives"]].sum()
    resting = rounds["resting_flagged"].sum() if "resting_flagged" in rounds else 0  # of older runs: not told
    success = rounds["attack_success_rate"].dropna()
    return {
        "curve": rounds.set_index("round")["accuracy"].dropna(),
        "attack_success_rate": float(success.iloc[-1]) if len(success) else None,
        "aggregate_distance": float(rounds["aggregate_distance"].mean()),
        "attackers": len(found),
        "caught": int(found["caught"].notna().sum()),
        "delay": float(found["delay"].sum()),
        **counts.to_dict(),
        "resting_flagged": int(resting),
    }


def matrix_table(rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """Return one row a defense, share and attack; ``"no attack"`` and ``"worst case"`` are attacks.

    Args:
        rows: One a cell and seed: ``attack``, ``share``, ``defense``, ``seed`` and what ``cell_scores``
            gives, or ``reason``, why there is nothing.

    Columns after ``defense``, ``share``, ``attack``: ``seeds``; ``best_accuracy`` over the rounds and
    ``accuracy`` after the last, of the mean over seeds, ``accuracy_std`` (of the last, ddof = 1);
    ``_low``, ``_high`` and ``_std`` of the seeds for each of ``SPREAD`` (of the best round: the seeds there);
    ``drop`` of ``best_accuracy`` against no attack; ``attack_success_rate`` after the last round; over all
    rounds and seeds ``precision`` (of the flagged, those that attack or have attacked; 1 where nobody is
    flagged and nobody should be, NaN where somebody should), ``recall`` (of those that attack, the flagged;
    1 where nobody does), ``false_positive_rate`` (of those that never attacked), ``delay`` (mean of the
    attackers caught) and ``caught`` (their share), all NaN of a defense that flags nobody in any field, and
    the last three where there is nothing to divide by; ``aggregate_distance``; ``worst_attack``, whose
    ``best_accuracy`` the worst case is, and ``rank`` of that among the share's defenses, 1 for the highest;
    ``reason``.
    """
    import pandas as pd

    whole = pd.DataFrame(list(rows))
    flags = {"true_positives", "false_positives", "resting_flagged"} & set(whole.columns)
    flagging = whole.groupby("defense")[sorted(flags)].sum().sum(axis=1) > 0
    fields = [
        dict(zip(KEYS, key, strict=True)) | _field(part, bool(flagging[key[0]]))
        for key, part in whole.groupby(KEYS, sort=False)
    ]
    return _with_worst_case(_with_drop(pd.DataFrame(fields)))


def _field(part: "pd.DataFrame", flagging: bool) -> dict[str, Any]:
    """Return the scores of all seeds of one field; nothing but the reason where one failed."""
    import pandas as pd

    if "reason" in part and part["reason"].notna().any():
        return {"seeds": len(part), "reason": part["reason"].dropna().iloc[0]}
    curves = pd.concat(dict(zip(part["seed"], part["curve"], strict=True)), axis=1)
    mean = curves.mean(axis=1)
    best, last = curves.loc[mean.idxmax()], curves.iloc[-1]
    success = part["attack_success_rate"].astype(float)
    tp, fp, fn, tn = (
        part[f"{name}s"].sum()
        for name in ("true_positive", "false_positive", "false_negative", "true_negative")
    )
    right = tp + (part["resting_flagged"].sum() if "resting_flagged" in part else 0)
    detected = {
        "precision": _ratio(right, right + fp) if right + fp + fn else 1.0,
        "recall": _ratio(tp, tp + fn) if tp + fn else 1.0,
        "false_positive_rate": _ratio(fp, fp + tn),
        "delay": _ratio(part["delay"].sum(), part["caught"].sum()),
        "caught": _ratio(part["caught"].sum(), part["attackers"].sum()),
    }
    return {
        "seeds": len(part),
        "best_accuracy": mean.max(),
        "accuracy": mean.iloc[-1],
        "accuracy_std": last.std(),
        "attack_success_rate": success.mean(),
        **(detected if flagging else dict.fromkeys(detected, float("nan"))),
        "aggregate_distance": part["aggregate_distance"].mean(),
        **_ends("best_accuracy", best),
        **_ends("accuracy", last),
        **_ends("attack_success_rate", success),
        **_ends("aggregate_distance", part["aggregate_distance"].astype(float)),
        _AT_BEST: best,
    }


def _ends(name: str, seeds: "pd.Series") -> dict[str, float]:
    """Return the least and the largest of the seeds' numbers, and their standard deviation (ddof = 1)."""
    return {f"{name}_low": seeds.min(), f"{name}_high": seeds.max(), f"{name}_std": seeds.std()}


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _with_drop(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table with what each attack costs; its spread is that of the differences seed by seed."""
    import pandas as pd

    if "best_accuracy" not in table:
        return table
    clean = table[table["attack"] == NO_ATTACK].set_index(["defense", "share"])
    keys = table.set_index(["defense", "share"]).index
    drop = keys.map(clean["best_accuracy"]).to_numpy() - table["best_accuracy"].to_numpy()
    table.insert(table.columns.get_loc("accuracy_std") + 1, "drop", drop)
    lost = [_lost(clean[_AT_BEST].get(key), own) for key, own in zip(keys, table[_AT_BEST], strict=True)]
    ends = pd.DataFrame([_ends("drop", seeds) for seeds in lost], index=table.index)
    return pd.concat([table.drop(columns=_AT_BEST), ends], axis=1)


def _lost(clean: Any, own: Any) -> "pd.Series":
    """Return seed by seed what the attack cost, at the best rounds; nothing of a field that failed."""
    import pandas as pd

    known = isinstance(clean, pd.Series) and isinstance(own, pd.Series)
    return clean - own if known else pd.Series(dtype=float)


def _with_worst_case(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table with one row more a defense and share; blank where one of its attacks failed."""
    import pandas as pd

    worst = []
    for (defense, share), part in table[table["attack"] != NO_ATTACK].groupby(
        ["defense", "share"], sort=False
    ):
        row = {"defense": defense, "share": share, "attack": WORST, "seeds": part["seeds"].min()}
        row |= {name: part[name].min(skipna=name == "precision") for name in LEAST if name in part}
        row |= {name: part[name].max(skipna=name != "drop") for name in MOST if name in part}
        row |= _ends_of_worst(part, row)
        if "false_positive_rate" in part:
            row["false_positive_rate"] = part["false_positive_rate"].max()
        if "best_accuracy" in part and part["best_accuracy"].notna().all():
            row["worst_attack"] = part.loc[part["best_accuracy"].idxmin(), "attack"]
        worst.append(row)
    whole = pd.concat([table, _ranked(pd.DataFrame(worst))], ignore_index=True)
    order = list(dict.fromkeys(table["attack"]))
    places = {attack: place for place, attack in enumerate([*order, WORST])}
    defenses = {defense: place for place, defense in enumerate(dict.fromkeys(table["defense"]))}
    keys = pd.DataFrame(
        {"s": whole["share"], "d": whole["defense"].map(defenses), "a": whole["attack"].map(places)}
    )
    return whole.loc[keys.sort_values(["s", "d", "a"]).index].reset_index(drop=True)


def _ranked(worst: "pd.DataFrame") -> "pd.DataFrame":
    """Return the worst cases with the place of each defense among those of its share; equals share one."""
    if "worst_attack" not in worst:
        return worst
    known = worst["best_accuracy"].where(worst["worst_attack"].notna())
    return worst.assign(rank=known.groupby(worst["share"]).rank(ascending=False, method="min"))


def _ends_of_worst(part: "pd.DataFrame", worst: Mapping[str, Any]) -> dict[str, float]:
    """Return the spread over seeds of the fields that the worst case is made of."""
    found: dict[str, float] = {}
    for name in (name for name in SPREAD if f"{name}_low" in part):
        same = part[part[name] == worst.get(name)]
        if len(same):
            found |= {end: same.iloc[0][end] for end in (f"{name}_low", f"{name}_high", f"{name}_std")}
    return found


def print_matrix(table: "pd.DataFrame") -> None:
    """Print the best accuracy without an attack and in the worst case, one line a defense and share.

    Beside it stands the least accuracy after the last round: a model that collapses keeps its best round.
    """
    from rich.table import Table

    shown = Table(
        title="Best accuracy over the rounds: without an attack, and under the worst one; "
        "the least after the last round"
    )
    for title in ("malicious", "defense", "no attack", "worst case", "rank", "worst attack", "at the end"):
        shown.add_column(title, justify=_side(title), overflow="fold")
    for (share, defense), part in table.groupby(["share", "defense"], sort=False):
        by_attack = part.set_index("attack")
        clean, worst = (by_attack.loc[name] for name in (NO_ATTACK, WORST))
        numbers = [_share(row, "best_accuracy") for row in (clean, worst)]
        name = worst.get("worst_attack")
        worst_attack = cell_text(name) if isinstance(name, str) else "-"
        rank = worst.get("rank")
        place = "-" if rank is None or rank != rank else f"{rank:g}"
        numbers += [place, worst_attack, _share(worst, "accuracy")]
        shown.add_row(f"{100 * share:g} %", cell_text(defense), *numbers)
    wide_console().print(shown)


def _side(title: str) -> Literal["left", "right"]:
    return "right" if title in (NO_ATTACK, WORST, "malicious", "rank", "at the end") else "left"


def _share(row: "pd.Series", column: str) -> str:
    value = row.get(column)
    return "-" if value is None or value != value else f"{value:.3f}"
