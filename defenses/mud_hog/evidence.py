"""How evidence against a client adds up over rounds, whatever the rhythm of an attack, and fades.

A round in which a test rejects that a client is honest counts 1. A test that rarely rejects by chance says
more when it rejects than when it does not: a clean round takes off a sixth. So who attacks in every fourth
round only is convicted too, and a chance suspicion is soon forgotten. A round in which a test could not tell
counts nothing.

A file's ``evidence`` holds what stands against a client, by kind, between 0 and one more than convicts;
``since`` what it is convicted of, as in ``suspicion``.
"""

from collections.abc import Collection, Mapping
from typing import Any

FADING = 1 / 6
"""What a clean round takes off."""
NOTHING = 1e-9
POOR = "unreliable"
"""The kind that is no malice."""


def after_tests(
    file: Mapping[str, Any],
    suspected: Collection[str],
    silent: Collection[str],
    needed: float,
    old_enough: bool,
    round_: int,
) -> dict[str, Any]:
    """Return a client's file after this round's tests.

    Args:
        file: Its file so far.
        suspected: The kinds that it is suspected of in this round.
        silent: The kinds whose test could not tell in this round.
        needed: Suspicions that convict (D), at least 1.
        old_enough: Whether the client may be convicted at all.
        round_: The round, from 0.

    A conviction is lifted when less than half of what it needed is left.
    """
    evidence, since = {}, dict(file["since"])
    for kind in sorted({*file["evidence"], *suspected}):
        before = file["evidence"].get(kind, 0.0)
        change = 1.0 if kind in suspected else 0.0 if kind in silent else -FADING
        weight = min(before + change, needed + 1.0)
        if weight > NOTHING:
            evidence[kind] = weight
        if weight >= needed and kind in suspected and old_enough:
            since = {kind: round_, "malicious": round_} | since
        elif kind in since and weight < needed / 2 - NOTHING:
            del since[kind]
    if not since.keys() - {"malicious", POOR}:
        since.pop("malicious", None)
    return {**file, "evidence": evidence, "since": since}


def weight_of(file: Mapping[str, Any]) -> float:
    """Return the most that stands against a client, of any kind of malice."""
    return max((weight for kind, weight in file["evidence"].items() if kind != POOR), default=0.0)
