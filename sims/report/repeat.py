"""How to run the same again: the command, the scenario, versions, and where each run lies."""

from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from ..naming import run_names
from .markup import Content, Markup, element, escaped, pairs, section, table
from .toml import brief, command_of, toml_of

if TYPE_CHECKING:
    from ..results import Run
    from .reading import Findings

_SCENARIOS = 4  # shown whole
_LETTERS = 20_000  # of one scenario


def again(findings: "Findings") -> Markup:
    """Return the commands that repeat the runs, with what they were made by."""
    if not findings.runs:
        return Markup("")
    parts = [
        _one(name, run)
        for name, run in list(zip(run_names(findings.runs), findings.runs, strict=True))[:_SCENARIOS]
    ]
    left = len(findings.runs) - _SCENARIOS
    note = f"{left} further runs: their own pages say how." if left > 0 else None
    return section(
        "repeat",
        "Run it again",
        *parts,
        element("p", note, class_="note") if note else None,
        _places(findings),
        _made_by(findings.runs[0]),
    )


def _one(name: str, run: "Run") -> Markup:
    values = dict(run.manifest["scenario"])
    command, file = command_of(values)
    saved = " Save the scenario below under that name first." if file else ""
    live = run.manifest.get("live")
    if isinstance(live, list) and live:
        command = ""
        saved = f" No file holds its live objects, {', '.join(map(str, live))}: hand Python the same again."
    code = run.manifest.get("code")
    named = [PureWindowsPath(str(one)).name for one in code] if isinstance(code, Mapping) else []
    outside = ", ".join(dict.fromkeys(named))
    return element(
        "div",
        element("p", f"{name}, seed {run.manifest['seed']}.{saved}"),
        element("pre", element("code", command), tabindex="0") if command else None,
        element(
            "p",
            f"It loads code from outside the package: {outside}. Files are named without their folders here; "
            "copies lie in the folder code of the result.",
            class_="warnings",
        )
        if outside
        else None,
        element(
            "details",
            element("summary", "The scenario as TOML"),
            element("pre", element("code", _text(values)), tabindex="0"),
        ),
    )


def _text(values: Mapping[str, Any]) -> Markup:
    return escaped(toml_of(brief(values)), _LETTERS)


def _places(findings: "Findings") -> Markup | None:
    if len(findings.runs) < 2:
        return None
    names = run_names(findings.runs)
    rows: list[list[Content]] = [
        [_linked(run.folder.name, link), name, int(run.manifest["seed"]), str(run.manifest["status"])]
        for name, run, link in zip(names, findings.runs, findings.links, strict=True)
    ]
    return table(["folder", "run", "seed", "status"], rows, "Where each run lies.")


def _linked(name: str, link: str) -> Markup | str:
    return element("a", name, href=link) if link else name


def _made_by(run: "Run") -> Markup:
    versions, machine = run.manifest.get("versions"), run.manifest.get("machine")
    told = [(str(k), str(v)) for k, v in versions.items()] if isinstance(versions, Mapping) else []
    where = [(str(k), str(v)) for k, v in machine.items()] if isinstance(machine, Mapping) else []
    items = [("fingerprint", str(run.manifest["fingerprint"])), *where, *told]
    return element("details", element("summary", "Versions and machine"), pairs(items))
