"""What each run promises about privacy, or why it promises nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..glossary.reasons import VALUES
from ..naming import run_names
from ..spent import spent_so_far
from ..upwards import upwards
from .markup import Markup, element, joined, section, table
from .utility import spending

if TYPE_CHECKING:
    from ..results import Run
    from .reading import Findings


def promises(findings: "Findings") -> Markup:
    """Return one row a run: its epsilon with all that it must be read with, or the reason for none."""
    if not findings.runs:
        return Markup("")
    spent = [spent_so_far(run.manifest, run.rounds) for run in findings.runs]
    if all(one["value"] is None and one["reason"] == "no_mechanism" for one in spent) and not any(
        run.audit for run in findings.runs
    ):
        words = f"{VALUES['epsilon_reason']['no_mechanism']} Nothing is promised, and no epsilon is told."
        return section("privacy", "What is promised about privacy", element("p", words))
    head = ["run", "seed", "epsilon", "delta", "protects", "trusts", "neighbours", "accountant", "why none"]
    rows = [_row(n, run) for n, run in zip(run_names(findings.runs), findings.runs, strict=True)]
    kept = [i for i in range(len(head)) if i < 3 or any(row[i] for row in rows)]
    body = [[row[i] if row[i] not in (None, "") else "—" for i in kept] for row in rows]
    shown = table(
        [head[i] for i in kept], body, "What each run promises. An epsilon stands only where it is proved."
    )
    why = VALUES["epsilon_reason"]
    reasons = dict.fromkeys(one["reason"] for one in spent)
    listed = [
        element("li", element("code", reason), f": {why[reason]}") for reason in reasons if reason in why
    ]
    audits = [line for run in findings.runs if (line := _audited(run))]
    return section(
        "privacy",
        "What is promised about privacy",
        shown,
        element("ul", *listed) if listed else None,
        joined(element("p", line) for line in dict.fromkeys(audits)),
        spending(findings),
    )


def _row(name: str, run: "Run") -> list[Any]:
    spent = spent_so_far(run.manifest, run.rounds)
    said = run.manifest.get("guarantee")
    terms: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    value, delta = spent["value"], terms.get("delta")
    private = value is not None
    words = [_word(terms.get(key)) if private else "" for key in ("unit", "trust_model", "relation")]
    return [
        name,
        int(run.manifest["seed"]),
        upwards(value, ".4g") if private else "none",
        f"{delta:g}" if private and isinstance(delta, int | float) else "",
        *words,
        _word(spent["accountant"]) if private else "",
        "" if private else _word(spent["reason"]),
    ]


def _down(value: float) -> str:
    """Return a lower bound as printed: rounded up it would be none."""
    return f"{-float(upwards(-value, '.4g')):g}"


def _word(value: object) -> str:
    return value.replace("_", " ") if isinstance(value, str) and value != "none" else ""


def _audited(run: "Run") -> str:
    """Return in one sentence what an audit found out; nothing where there was none."""
    found = run.audit
    if not isinstance(found, Mapping):
        return ""
    low, epsilon = found.get("epsilon_audit_low"), found.get("epsilon")
    if isinstance(low, bool) or not isinstance(low, int | float):
        return ""
    claim = "nothing is claimed"
    if isinstance(epsilon, int | float):
        claim = f"the accountant says {upwards(epsilon, '.4g')}"
    verdict = "which is refuted" if found.get("refuted") is True else "which is not refuted"
    sure = found.get("confidence")
    with_ = f" with confidence {sure:g}" if isinstance(sure, int | float) else ""
    return f"Audit {found.get('audit', '')}: epsilon is at least {_down(low)}{with_}; {claim}, {verdict}."
