"""What the tables of one run say about attacks and detection, from pandas frames alone.

Every function takes ``clients`` as ``clients.parquet`` holds it: one row a client and round. A client
counts in the rounds in which the defense saw its update (status ``ok``). ``honest`` and ``unreliable`` are no
attack; an audit's canaries are no clients, and are left out. An attacker is at rest in a round in which it
does not attack although it has before: such rounds count neither as attacks nor as false alarms.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

WELL_MEANING = ("honest", "unreliable")
RESTING = "resting"
CANARY = "canary"
"""What an audit's made-up clients are, in the column of the truth."""


def delays(clients: "pd.DataFrame") -> "pd.DataFrame":
    """Return one row for each client that ever attacked before the defense's eyes.

    Columns: ``client_id``; ``truth``, its attack; ``start``, the first round in which it was seen to attack;
    ``caught``, the first round from there in which it attacked and was flagged as malicious, or NaN;
    ``delay``, the rounds between the two: 0 where it was caught at once.
    """
    attacking = _seen(clients).query("malicious")
    first = (
        attacking.sort_values("round")
        .groupby("client_id")
        .agg(truth=("truth", "first"), start=("round", "min"))
    )
    first["caught"] = attacking[attacking["flagged"]].groupby("client_id")["round"].min()
    first["delay"] = first["caught"] - first["start"]
    return first.reset_index()


def by_kind(clients: "pd.DataFrame") -> "pd.DataFrame":
    """Return one row a kind of truth, over all rounds; ``resting`` is an attacker that has attacked before.

    Columns: ``truth``; ``seen``, in client-rounds; ``flagged`` as malicious and ``doubted`` as unreliable, as
    shares of those (``flagged`` is the recall of an attack, and the rate of false alarms of the others);
    ``clients``; ``caught``, those of them ever flagged while attacking; ``delay``, their mean delay.
    """
    seen, found = _seen(clients), delays(clients)
    table = seen.groupby("truth").agg(
        seen=("flagged", "size"),
        flagged=("flagged", "mean"),
        doubted=("doubted", "mean"),
        clients=("client_id", "nunique"),
    )
    per_kind = found.groupby("truth")
    table["caught"] = per_kind["caught"].count()
    table["delay"] = per_kind["delay"].mean()
    return table.reset_index()


def false_alarms(clients: "pd.DataFrame") -> "pd.DataFrame":
    """Return, for each round, the share flagged as malicious of the clients that never attacked so far."""
    seen = _seen(clients)
    well = seen[~seen["malicious"] & (seen["truth"] != RESTING)]
    return well.groupby("round", as_index=False)["flagged"].mean().rename(columns={"flagged": "false_alarms"})


def durability(attacks: "pd.DataFrame", threshold: float = 0.5) -> "pd.DataFrame":
    """Return how long each attack's success outlives it: rounds until it falls below ``threshold``.

    Args:
        attacks: As ``attacks.parquet`` holds it.
        threshold: The success rate below which an attack counts as forgotten.

    Returns:
        ``number``, ``attack`` and ``rounds``: from the last round in which it was active to the first
        evaluated one below the threshold; NaN where that never came, or the attack never was active.
    """
    import pandas as pd

    rows = []
    for (number, attack), one in attacks.groupby(["number", "attack"]):
        stop = one.loc[one["active"], "round"].max()
        forgotten = one[(one["round"] > stop) & (one["success_rate"] < threshold)]["round"].min()
        rows.append({"number": number, "attack": attack, "rounds": forgotten - stop})
    return pd.DataFrame(rows, columns=["number", "attack", "rounds"])


def _seen(clients: "pd.DataFrame") -> "pd.DataFrame":
    rows = clients[clients["truth"] != CANARY].sort_values("round", kind="stable")
    malicious = ~rows["truth"].isin(WELL_MEANING)
    attacked = malicious.groupby(rows["client_id"]).cummax()  # seen or not: it need not have arrived
    doubted = rows["flag"] == "unreliable"
    told = rows.assign(
        malicious=malicious,
        truth=rows["truth"].mask(attacked & ~malicious, RESTING),
        flagged=rows["flag"].notna() & ~doubted,
        doubted=doubted,
    )
    return told[told["status"] == "ok"]
