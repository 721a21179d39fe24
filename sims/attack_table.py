"""The tables of ``gauntlet attack``: what each message allows, and what became of each attack on it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..core.leakage_knowledge import ITEMS, Level
from ..core.observation import Observation
from ..core.outside import only_our_own
from ..server.recording.replays import load_observation
from ..server.spec import PluginSpec
from .inference_report import property_area
from .plain import read_json
from .reattack import Finding
from .rebuilt import TIMINGS, times_at, timings_of
from .reconstruct import NAME
from .spread import in_words, spread
from .terminal import cell_text, say, wide_console

TITLES = (
    *("message", "attack", "SoK", "PSNR (dB): mean, median, worst, best", "SSIM", "MSE"),
    *("tokens: mean, median, worst, best", "labels", "AUC", "CPU s", "closures", "stopped", "result"),
)
_SCORES = (("psnr", ".1f"), ("ssim", ".2f"), ("mse", ".2g"), ("token_accuracy", ".2f"))


def print_allowed(found: Sequence[Finding]) -> None:
    """Print what each message is, what its probe is told, and which attacks accept it."""
    _print("Messages", ("message", "what it is", "codec", "privacy", "what is known"), _messages(found))
    rows = [
        (message_named(one), attack_named(one.attack), one.refusal or f"yes, SoK {one.letter}")
        for one in found
    ]
    _print("What they allow", ("message", "attack", "accepts it"), rows)


def _messages(found: Sequence[Finding]) -> list[tuple[str, ...]]:
    rows: dict[str, tuple[str, ...]] = {}
    for one in found:
        name = message_named(one)
        if name not in rows:
            with only_our_own(one.run.distrust):
                seen = load_observation(one.places[-1])
            known = seen.knowledge
            what = f"{seen.kind} of {seen.contributors} client{'s' if seen.contributors > 1 else ''}"
            rows[name] = (name, what, known.codec or "-", known.privacy or "-", _known(seen))
    return list(rows.values())


def _known(seen: Observation) -> str:
    """Return ``"batch_size = 2 (oracle), lr = 0.5"``; codec and privacy stand beside it."""
    words = []
    for item in ITEMS:
        level = seen.knowledge.level(item)
        if level is not Level.UNKNOWN and item not in ("codec", "privacy"):
            surely = "" if level is Level.EXACT else f" ({level})"
            words.append(f"{item} = {_in_short(getattr(seen.knowledge, item))}{surely}")
    return ", ".join(words)


def _in_short(value: Any) -> str:
    """Return a value as it is, or of a table of numbers how long its rows are."""
    if isinstance(value, tuple) and value and all(hasattr(row, "__len__") for row in value):
        return f"rows of {', '.join(str(len(row)) for row in value[:4])}{', ...' * (len(value) > 4)}"
    return str(value)


def print_findings(found: Sequence[Finding]) -> None:
    """Print the scores of each attack and where its result is, and below why others were refused."""
    titles = TITLES
    attacked = [_row(one, one.result) for one in found if one.result is not None]
    said = [any(row[i] for row in attacked) for i in range(len(titles))]
    if attacked:
        shown = [[cell for cell, kept in zip(row, said, strict=True) if kept] for row in (titles, *attacked)]
        _print("Attacks on recorded messages", shown[0], shown[1:])
    for line in refusals(found):
        say(line)
    _print_properties(found)
    for folder in dict.fromkeys(one.result.parent for one in found if one.result is not None):
        say(f"Results in {folder}")


def refusals(found: Sequence[Finding]) -> list[str]:
    """Return why attacks were refused: one line an attack and reason, whatever messages that is of."""
    same: dict[tuple[str, str], list[Finding]] = {}
    for one in found:
        if one.result is None:
            reason = _OF_MESSAGE.sub("", one.refusal)
            same.setdefault((attack_named(one.attack), reason), []).append(one)
    return [
        f"{message_named(cases[0])}: {attack} refused: {cases[0].refusal}"
        if len(cases) == 1
        else f"{len(cases)} messages: {attack} refused: {reason}"
        for (attack, reason), cases in same.items()
    ]


_OF_MESSAGE = re.compile(r" \(client \d+, round \d+\)$")
"""What a refusal says of the message behind its reason."""


def _print_properties(found: Sequence[Finding]) -> None:
    """Print how well each attack on a property tells messages, where it was asked of several."""
    told: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        if one.result is not None and not one.result.is_dir():
            report = read_json(one.result.read_text(encoding="utf-8"))
            if "property_share" in report:
                told.setdefault(attack_named(one.attack), []).append(report)
    for name, reports in told.items():
        if (area := property_area(reports)) is not None:
            say(f"{name}: AUC {area:.2f} over {len(reports)} messages, by what most examples of each have")


def _row(one: Finding, result: Path) -> tuple[str, ...]:
    head = (message_named(one), attack_named(one.attack))
    whole = result.is_dir()
    path = result / "reconstruction.json" if whole else result
    report: dict[str, Any] = read_json(path.read_text(encoding="utf-8"))
    letter = report["sok"] + (f" (oracle: {', '.join(report['oracle'])})" if report["oracle"] else "")
    unknown = "n/a" if report.get("truth_known") is False else ""
    scores = [_spread(report, name, form) or unknown for name, form in _SCORES]
    labels = report.get("label_accuracy")
    labels, area = unknown if labels is None else f"{labels:.2f}", report.get("auc")
    told = "" if area is None else f"{area:.2f}"
    times = result / TIMINGS if whole else timings_of(result)
    spent = times_at(times).get("cpu_seconds")
    closures = report.get("closures")
    work = "" if spent is None else f"{spent:.2g}", "" if closures is None else f"{closures:.0f}"
    kept = "there already" if one.kept else "new"
    return (*head, letter, *scores, labels, told, *work, report.get("stopped", ""), kept)


def _spread(report: dict[str, Any], name: str, form: str) -> str:
    """Return the scores of a batch in few numbers; nothing where there is no such score."""
    found = spread(report.get(name) or (), name)
    alone = len(report.get(name) or ()) == 1 or name not in ("psnr", "token_accuracy")
    return in_words(found, form, ("mean",) if alone else ("mean", "median", "worst", "best"))


def message_named(one: Finding) -> str:
    """Return ``"results/run: client 2, rounds 0 + 3, dlg-1a73c406ee5a98df"``."""
    parts = [NAME.fullmatch(place.name) for place in one.places]
    rounds = " + ".join(str(int(part[1])) for part in parts if part)
    client, probe = next(((int(part[2]), part[3]) for part in parts if part), (0, None))
    several = "s" if len(parts) > 1 else ""
    return f"{one.run.folder}: client {client}, round{several} {rounds}" + (f", {probe}" if probe else "")


def attack_named(attack: PluginSpec) -> str:
    """Return ``"dlg lr=0.5"``: of ``place:Class`` the class, and the options."""
    name = attack.name.rpartition(":")[2]
    return " ".join([name, *(f"{key}={value}" for key, value in attack.options.items())])


def _print(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    table = Table(title=title)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell_text(words) or "-" for words in row))
    wide_console().print(table)
