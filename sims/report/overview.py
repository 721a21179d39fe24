"""What was run, and what came of it: one table of settings, one of results."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..coverage import uncovered
from ..naming import class_name, completed, scenario_name
from ..results import FINISHED
from ..summary import summary_table
from .markup import Markup, element, pairs, section, table

if TYPE_CHECKING:
    from ..results import Run
    from .reading import Findings

_SHOWN = (
    ("rounds", "Rounds"),
    ("num_clients", "Clients"),
    ("data", "Data"),
    ("partition", "Spread over clients"),
    ("task", "Task"),
    ("model", "Model"),
    ("training", "Local training"),
    ("algorithm", "Algorithm"),
    ("sampler", "Who takes part"),
    ("attacks", "Attacks"),
    ("server", "Server"),
    ("client_defense", "Client defense"),
    ("codec", "Codec up"),
    ("codec_down", "Codec down"),
    ("network", "Network"),
    ("link", "Link"),
    ("schedule", "Schedule"),
    ("privacy", "Privacy"),
    ("max_epsilon", "Largest epsilon"),
    ("pre_aggregations", "Before the defense"),
    ("defense", "Defense"),
    ("server_optimizer", "Server optimizer"),
    ("probes", "Eavesdroppers"),
    ("audit", "Audit"),
)


def results(findings: "Findings") -> Markup:
    """Return one row a label: what the summary on the terminal says."""
    if not findings.runs:
        return section("results", "Results", element("p", "No round is finished yet."))
    title, columns, rows = summary_table(findings.runs)
    several = any("±" in str(cell) for row in rows for cell in row)
    caption = f"{title[:1].upper()}{title[1:]}.{' ± is half the range over seeds.' if several else ''}"
    return section("results", "Results", table(columns, rows, caption))


def settings(findings: "Findings") -> Markup:
    """Return what all runs have in common; where they differ it says how many ways there are."""
    runs = findings.runs
    if not runs:
        return Markup("")
    told = [completed(run.manifest["scenario"]) for run in runs]
    shown = [(title, _common([one.get(key) for one in told])) for key, title in _SHOWN]
    seeds = sorted({int(run.manifest["seed"]) for run in runs})
    described = {str(one.get("description") or "") for one in told}
    words = described.pop() if len(described) == 1 else ""
    return section(
        "setting",
        "What was run",
        element("p", words, class_="lead") if words else None,
        pairs(
            [
                ("Scenario", ", ".join(dict.fromkeys(map(scenario_name, runs)))),
                ("Seed" if len(seeds) == 1 else "Seeds", _listed(seeds)),
                *shown,
            ]
        ),
    )


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds[:12])) + (f" and {len(seeds) - 12} more" if len(seeds) > 12 else "")


def _common(values: Sequence[Any]) -> str:
    """Return what all runs have at one key in words, or the names among which they differ."""
    words = list(dict.fromkeys(told(value) for value in values))
    if len(words) == 1:
        return words[0]
    return f"differs: {'; '.join(word or 'none' for word in words[:6])}{' …' if len(words) > 6 else ''}"


def told(value: Any) -> str:
    """Return a part of a scenario in words: a plug-in by its name and its options, a list one by one."""
    if value in (None, [], {}):
        return ""
    if isinstance(value, list):
        return "; ".join(map(told, value))
    if not isinstance(value, Mapping):
        return class_name(str(value))
    if set(value) == {"name"}:
        return (
            "" if value["name"] in ("none", "identity", "honest", "ideal") else class_name(str(value["name"]))
        )
    options = [f"{k} = {_option(v)}" for k, v in value.items() if k != "name" and v not in (None, [], {})]
    name = [class_name(str(value["name"]))] if "name" in value else []
    return " ".join([*name, f"({', '.join(options)})" if name and options else ", ".join(options)]).strip()


def _option(value: Any) -> str:
    return told(value) if isinstance(value, Mapping | list) else class_name(f"{value}")


def cautions(findings: "Findings") -> Markup:
    """Return what must be read with caution: warnings, notes, what stopped and what is missing."""
    lines = [*findings.missing]
    for run in findings.runs:
        status = str(run.manifest["status"])
        if status == "budget_exhausted" or status not in FINISHED:
            reason = run.manifest.get("reason")
            lines.append(f"{_called(run, findings)}{_state(status)}{f': {reason}' if reason else ''}")
        lines += [f"{_called(run, findings)}{note}" for note in _notes(run)]
    if not lines:
        return Markup("")
    items = [element("li", line) for line in dict.fromkeys(lines)]
    return section("warnings", "To be read with caution", element("ul", *items[:200], class_="warnings"))


def _notes(run: "Run") -> list[str]:
    guarantee, notes = run.manifest.get("guarantee"), run.manifest.get("notes")
    warning = guarantee.get("warning") if isinstance(guarantee, Mapping) else None
    bare = uncovered(run, [*run.gallery(), *run.attacked(), *run.inferences()])
    return [str(line) for line in [warning, bare, *(notes if isinstance(notes, list) else [])] if line]


def _state(status: str) -> str:
    words = {"running": "is not finished", "failed": "failed", "budget_exhausted": "stopped at its budget"}
    return words.get(status, status)


def _called(run: "Run", findings: "Findings") -> str:
    if len(findings.runs) == 1:
        return "The run " if str(run.manifest["status"]) not in FINISHED else ""
    return f"{run.manifest.get('label') or run.folder.name}: "
