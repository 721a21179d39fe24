"""Whom a defense ever named, over a whole run: one line a client, and what follows from these lines.

Every function takes ``clients`` as ``clients.parquet`` holds it, and reads ``round``, ``client_id``,
``truth``, ``flag``, ``status`` and ``score``. A client counts in the rounds in which the defense saw its
update. A flag that says unreliable is none of malice. An attacker is honest until it first attacks, and
guilty from then on: what is said of it in a pause is no false alarm.
"""

from typing import TYPE_CHECKING

import numpy as np

from .scores import CANARY, WELL_MEANING

if TYPE_CHECKING:
    import pandas as pd


def client_records(clients: "pd.DataFrame") -> "pd.DataFrame":
    """Return one row a client that the defense ever saw, by ascending id.

    Columns: ``client_id``; ``truth``, its first attack, or ``honest`` or ``unreliable`` if it never attacked;
    ``start``, the first round in which it attacked, else NaN; ``caught``, the first round from there on in
    which it was flagged as malicious, else NaN; ``wrongly``, whether it was ever flagged before that, or
    without; ``flag``, the last one that it ever had, or None; ``score``, its last one.
    """
    import pandas as pd

    rows = clients[(clients["status"] == "ok") & (clients["truth"] != CANARY)]
    rows = rows.sort_values("round", kind="stable")
    ids, client = np.unique(rows["client_id"].to_numpy(), return_inverse=True)
    round_, score = rows["round"].to_numpy(), rows["score"].to_numpy(dtype=float)
    truth, flag = rows["truth"].to_numpy(dtype=object), rows["flag"].to_numpy(dtype=object)
    named = rows["flag"].notna().to_numpy()
    malicious = named & (flag != "unreliable")

    def last(of: np.ndarray, among: np.ndarray, otherwise: object, dtype: type = float) -> np.ndarray:
        """Return each client's value in the last of its rows ``among`` those given."""
        found: np.ndarray = np.full(len(ids), otherwise, dtype=dtype)
        found[client[among]] = of[among]  # of several values numpy keeps the last
        return found

    def first(of: np.ndarray, among: np.ndarray, otherwise: object, dtype: type = float) -> np.ndarray:
        found: np.ndarray = np.full(len(ids), otherwise, dtype=dtype)
        found[client[among][::-1]] = of[among][::-1]  # backwards, so that it is the first
        return found

    everywhere = np.ones(len(rows), dtype=bool)
    attacks = ~np.isin(truth.astype(str), WELL_MEANING)
    start = first(round_, attacks, np.nan)
    since = round_ >= start[client]
    begun = first(truth, attacks, None, object)
    table = {
        "client_id": ids,
        "truth": np.where(np.isnan(start), last(truth, everywhere, None, object), begun),
        "start": start,
        "caught": first(round_, malicious & since, np.nan),
        "wrongly": last(everywhere, malicious & ~since, False, bool),
        "flag": last(flag, named, None, object),
        "score": last(score, ~np.isnan(score), np.nan),
    }
    return pd.DataFrame(table)


def totals(clients: "pd.DataFrame") -> dict[str, float]:
    """Return how many clients attacked and were ever caught, and how many were ever wrongly named.

    Keys: ``attackers``, ``caught``, ``wrongly``, ``recall`` (1 with nobody to find), ``precision`` and ``f1``
    (NaN where nobody was named although somebody attacked; 1 where there was nobody to name), ``delay`` (mean
    rounds from the first attack to the first flag; NaN without one), ``auc`` (see ``roc_auc``).
    """
    table = client_records(clients)
    attackers, caught = int(table["start"].notna().sum()), int(table["caught"].notna().sum())
    wrongly = int(table["wrongly"].sum())
    named = caught + wrongly
    precision = caught / named if named else 1.0 if not attackers else np.nan
    recall = caught / attackers if attackers else 1.0
    return {
        "attackers": attackers,
        "caught": caught,
        "wrongly": wrongly,
        "recall": recall,
        "precision": precision,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "delay": float((table["caught"] - table["start"]).mean()),
        "auc": _roc_auc(table),
    }


def roc_auc(clients: "pd.DataFrame") -> float:
    """Return the probability that an attacker's last score is above another client's, ties by half.

    NaN where nobody attacks, everybody does, or the defense gives no scores.
    """
    return _roc_auc(client_records(clients))


def _roc_auc(table: "pd.DataFrame") -> float:
    table = table.dropna(subset="score")
    ranks, guilty = table["score"].rank(), table["start"].notna()
    bad, good = int(guilty.sum()), int((~guilty).sum())
    if bad == 0 or good == 0:
        return float("nan")
    return float((ranks[guilty].sum() - bad * (bad + 1) / 2) / (bad * good))


def confusion(clients: "pd.DataFrame") -> "pd.DataFrame":
    """Count clients by truth (rows) and last flag (columns, ``none`` without any)."""
    import pandas as pd

    table = client_records(clients)
    return pd.crosstab(table["truth"], table["flag"].fillna("none"))
