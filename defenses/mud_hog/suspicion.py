"""How a suspicion becomes a conviction, and how it is lifted: the counters of MUD-HoG.

Source: Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting Malicious and
Unreliable Clients in Federated Learning. ESORICS 2022, and the authors' code. arXiv:2208.10273

A client's file holds ``suspicion`` (rounds of suspicion, whatever of), ``unreliability``, and ``since``: from
a kind of misbehaviour that stands against it to the round that confirmed it. ``malicious`` is a kind of its
own: who carries it is left out of the average. Only rounds in which a client was judged count.
"""

from collections.abc import Mapping
from typing import Any

MALICIOUS = ("sign_flip", "noise", "targeted")
KINDS = (*MALICIOUS, "copied", "boosted")
"""Every kind of malice, those that only the preset ``general`` tells apart included."""
CLEAN: Mapping[str, Any] = {"suspicion": 0, "unreliability": 0, "since": {}}


def after_suspicion(
    file: Mapping[str, Any], suspect: str | None, decision_rounds: int, round_: int
) -> dict[str, Any]:
    """Return a judged client's file after this round's suspicion, one of ``MALICIOUS`` or none.

    Sign flips and noise are confirmed by ``decision_rounds`` suspicious rounds, targeted attacks by twice as
    many. Two clean rounds in a row lift everything. Who looked noisy and is clean again ``decision_rounds``
    times is rather unreliable.
    """
    count, poor, since = file["suspicion"], file["unreliability"], dict(file["since"])
    if suspect is not None:
        count += 1
        if count >= decision_rounds * (2 if suspect == "targeted" else 1):
            since = {suspect: round_, "malicious": round_} | since
    elif count == 0:
        since = {kind: first for kind, first in since.items() if kind == "unreliable"}
    else:
        count = 0
        if "noise" in since:
            poor += 1
            if poor >= decision_rounds:
                lifted = {"noise", "malicious"}
                since = {"unreliable": round_} | {k: v for k, v in since.items() if k not in lifted}
    return {**file, "suspicion": count, "unreliability": poor, "since": since}


def after_reliability(
    file: Mapping[str, Any], poor_now: bool, decision_rounds: int, round_: int
) -> dict[str, Any]:
    """Return a judged client's file after this round's look at the quality of its update.

    More than ``decision_rounds`` poor rounds, less the good ones between, make it unreliable; it is so no
    longer when a round begins with its counter at 0. That is tested before a good round is taken off.
    """
    poor, since = file["unreliability"] + poor_now, dict(file["since"])
    if poor_now and poor > decision_rounds:
        since = {"unreliable": round_} | since
    if poor == 0:
        since.pop("unreliable", None)
    if not poor_now and poor > 0:
        poor -= 1
    return {**file, "unreliability": poor, "since": since}


def flag_of(file: Mapping[str, Any]) -> str | None:
    """Return what a client counts as: the malicious kind confirmed first, or ``unreliable``, or nothing."""
    since: Mapping[str, int] = file["since"]
    if "malicious" in since:
        return min((kind for kind in KINDS if kind in since), key=since.__getitem__)
    return "unreliable" if "unreliable" in since else None
