"""Attack recorded messages again: other attacks, other options, each with results of its own.

Results stand in ``attacked`` of the run's folder, named by recording, attack, options and code. One that is
there already stays as it is; the manifest keeps the digest of each, as of everything that a run wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..attacks.leakage import INFERENCE_ATTACKS, LEAKAGE_ATTACKS, infers
from ..attacks.leakage.parts.requirements import letter_of, rounds_of
from ..core.errors import GauntletError, PluginError
from ..core.locks import FolderLock
from ..server.spec import PluginSpec
from .outside_code import COPIES, keep_copies
from .reconstruct import AttackJob, carry_out, make_attack, observed, other_name
from .recorded import Recorded
from .results import ATTACKED, digest, read_manifest, write_json

Submit = Callable[..., Callable[[], Any]]
"""Start a function with arguments now or later; calling what it returns waits for the end."""


@dataclass(frozen=True)
class Finding:
    """What becomes of one attack on one message, or on several that it takes together.

    Attributes:
        run: The recordings of the run.
        places: The recordings that it is handed, in the order of rounds.
        attack: The attack and its options.
        letter: The SoK's letter of what it is told; empty where it is refused.
        refusal: Why it is refused, in one line; empty where it is not.
        result: Where its result is; None where there is none.
        kept: Whether that was there before.
    """

    run: Recorded
    places: tuple[Path, ...]
    attack: PluginSpec
    letter: str = ""
    refusal: str = ""
    result: Path | None = None
    kept: bool = False


def every_attack() -> list[PluginSpec]:
    """Return every leakage and inference attack that can do without options."""
    names = [*LEAKAGE_ATTACKS.names(), *INFERENCE_ATTACKS.names()]
    return [PluginSpec(name, {}) for name in dict.fromkeys(names)]


def look(runs: Sequence[Recorded], attacks: Sequence[PluginSpec]) -> list[Finding]:
    """Return what every attack could make of every message; nothing is attacked.

    Raises:
        DataError: A recording cannot be read.
        FrameError: A frame does not decode.
    """
    cases = ((run, places, attack) for run in runs for attack in attacks for places in _groups(run, attack))
    return [_judged(Finding(run, tuple(places), attack)) for run, places, attack in cases]


def _groups(run: Recorded, attack: PluginSpec) -> list[list[Path]]:
    try:
        together = rounds_of(make_attack(attack)[0])
    except PluginError:  # which ``_judged`` says of each message
        together = (1, 1)
    return run.groups(together[1])


def _judged(case: Finding) -> Finding:
    """Return a case with whether the attack accepts its messages."""
    try:
        plugin, _ = make_attack(case.attack)
        seen = observed(plugin, case.places, case.run.distrust)
    except PluginError as error:
        return replace(case, refusal=str(error))
    return replace(case, letter=letter_of(plugin, seen))


def attack_again(
    runs: Sequence[Recorded],
    attacks: Sequence[PluginSpec],
    submit: Submit,
    choose: Callable[[Sequence[Finding]], Sequence[Finding]] = tuple,
) -> list[Finding]:
    """Attack every message with every attack that accepts it, and return what became of each.

    Args:
        runs: Where messages were recorded.
        attacks: The attacks.
        submit: Where they run.
        choose: From what would become of each attack on each message, what is done.

    Raises:
        PluginError: Not one attack accepts any message; or one raised, or returned what is no result: what
            others made is kept.
        GauntletError: A recording cannot be read, or a folder not written, or another process owns it.
    """
    cases = choose(look(runs, attacks))
    if all(case.refusal for case in cases):
        raise PluginError(cases[0].refusal)
    found: list[Finding] = []
    for run in runs:
        with FolderLock(run.folder):
            try:
                found += _attack_run(run, [case for case in cases if case.run is run], submit)
            finally:
                _register(run.folder)
    return found


def _attack_run(run: Recorded, cases: Sequence[Finding], submit: Submit) -> list[Finding]:
    """Attack the messages of one run."""
    results, seed = run.folder / ATTACKED, int(run.manifest["seed"])
    found, waits = list[Finding](), list[Callable[[], Any]]()
    for case in cases:
        if case.refusal:
            found.append(case)
            continue
        name = other_name(case.places, case.attack)
        path = results / (f"{name}.json" if infers(case.attack.name) else name)
        kept = path.exists()
        found.append(replace(case, result=path, kept=kept))
        if not kept:
            keep_copies({"name": case.attack.name, "options": case.attack.options}, run.folder)
            job = AttackJob(case.places, case.attack, seed, results, name, run.distrust)
            waits.append(submit(carry_out, job))
    errors = list[GauntletError]()
    for wait in waits:
        try:
            wait()
        except GauntletError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return found


def _register(folder: Path) -> None:
    """Keep the digests of new results in the manifest of a finished run; one that goes on does so itself."""
    manifest = read_manifest(folder)
    if "files" not in manifest:
        return
    inside = [path for name in (ATTACKED, COPIES) for path in sorted((folder / name).rglob("*"))]
    files = {p.relative_to(folder).as_posix(): p for p in inside if p.is_file() and p.suffix != ".part"}
    new = {name: digest(path.read_bytes()) for name, path in files.items() if name not in manifest["files"]}
    new = {name: said for name, said in new.items() if ".part/" not in name}
    if new:
        write_json(folder / "manifest.json", {**manifest, "files": {**manifest["files"], **new}})
