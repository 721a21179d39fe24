"""The tables of ``gauntlet attack``: what each message allows, and what became of each attack on it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.leakage_knowledge import ITEMS, Level
from ..core.observation import Observation
from ..core.outside import only_our_own
from ..server.recording.replays import load_observation
from ..server.spec import PluginSpec
from .plain import read_json
from .reattack import Finding
from .reconstruct import NAME
from .terminal import wide_console


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
            words.append(f"{item} = {getattr(seen.knowledge, item)}{surely}")
    return ", ".join(words)


def print_findings(found: Sequence[Finding]) -> None:
    """Print what became of each attack: its scores, where its result is, or why it was refused."""
    titles = ("message", "attack", "SoK", "PSNR (dB)", "SSIM", "MSE", "tokens", "labels", "stopped", "result")
    _print("Attacks on recorded messages", titles, [_row(one) for one in found])
    for folder in dict.fromkeys(one.result.parent for one in found if one.result is not None):
        print(f"Results in {folder}")


def _row(one: Finding) -> tuple[str, ...]:
    head = (message_named(one), attack_named(one.attack))
    if one.result is None:
        return (*head, "", "", "", "", "", "", "", f"refused: {one.refusal}")
    path = one.result / "reconstruction.json" if one.result.is_dir() else one.result
    report: dict[str, Any] = read_json(path.read_text(encoding="utf-8"))
    letter = report["sok"] + (f" (oracle: {', '.join(report['oracle'])})" if report["oracle"] else "")
    scores = [
        _mean(report.get(name), form)
        for name, form in (("psnr", ".1f"), ("ssim", ".2f"), ("mse", ".2g"), ("token_accuracy", ".2f"))
    ]
    labels = f"{report['label_accuracy']:.2f}" if "label_accuracy" in report else ""
    return (*head, letter, *scores, labels, report.get("stopped", ""), "there already" if one.kept else "new")


def _mean(values: Sequence[float | None] | None, form: str) -> str:
    """Return the mean over a batch; nothing where there is no such score."""
    known = [value for value in values or () if value is not None]
    return format(float(np.mean(known)), form) if known else ""


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
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) or "-" for cell in row))
    wide_console().print(table)
