"""What MUD-HoG tells of each client: the numbers behind its decisions."""

from collections.abc import Mapping, Sequence

import numpy as np

from .history import Record
from .judgement import Finding
from .options import Settings

_MEASURES = {
    "sign_flip": "cosine",
    "scatter": "distance",
    "jitter": "jitter",
    "targeted": "separation",
    "unreliable": "normal_cosine",
    "copied": "copied",
    "boosted": "relative_norm",
}


def details_of(
    arrived: Sequence[int],
    clients: Mapping[int, Record],
    judged: Sequence[int],
    findings: Mapping[str, Finding],
    settings: Settings,
) -> dict[int, dict[str, float]]:
    """Return each client's counters and convictions, and what this round measured and suspected.

    Args:
        arrived: Who came in this round.
        clients: Everybody's file after it.
        judged: Who was judged; the findings' rows.
        findings: By kind.
        settings: The options that decide what was measured.
    """
    details: dict[int, dict[str, float]] = {}
    for i in arrived:
        file = clients[i]
        details[i] = {name: float(file[name]) for name in ("seen", "suspicion", "unreliability")}
        details[i] |= {f"{kind}_evidence": weight for kind, weight in file.get("evidence", {}).items()}
        details[i] |= {f"{kind}_since": float(first) for kind, first in file["since"].items()}
    for kind, finding in findings.items():
        measure = _measure_of(kind, settings)
        for i, hit, value in zip(judged, finding.suspect, finding.measure, strict=True):
            details[i] |= {f"suspect_{kind}": 1.0} if hit else {}
            details[i] |= {measure: float(value)} if not np.isnan(value) else {}
    return details


def _measure_of(kind: str, settings: Settings) -> str:
    """Return the name of the number that a kind is decided by."""
    if kind == "targeted" and settings.judgement == "tests":
        return "chance"
    return _MEASURES[settings.noise_test if kind == "noise" else kind]
