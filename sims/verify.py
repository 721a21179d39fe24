"""Say of a result folder what is whole, what is damaged, and what ``gauntlet resume`` can repair."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..core.errors import GauntletError
from ..server.checkpoint import checkpoints, read_checkpoint
from .cells import is_matrix, read_cells
from .parquet import table_of
from .results import FINISHED, digest, first_line, read_manifest
from .run import stored_scenario
from .run_tables import TABLES, rows_of
from .sweep import read_sweep

WHOLE, REPAIRABLE, BEYOND = 0, 1, 2
"""What a finding means: all is whole; no result is lost, or ``resume`` brings it back; results are lost."""
_LOOSE = ("checkpoints/", "timings.parquet")  # of a finished run: no result hangs on them


@dataclass(frozen=True)
class Finding:
    """What is to say of one file or folder.

    Attributes:
        name: Where it is in the folder; empty for the folder itself.
        words: What is found.
        code: ``WHOLE``, ``REPAIRABLE`` or ``BEYOND``.
    """

    name: str
    words: str
    code: int


def verify(folder: Path) -> list[Finding]:
    """Return what is found in the folder of a run, a sweep or a matrix; nothing is changed.

    Raises:
        GauntletError: The folder holds none of them, or its list or manifest cannot be read.
    """
    swept = read_sweep(folder)
    if swept is None:
        return list(_run(folder))
    found = []
    if is_matrix(folder):
        read_cells(folder, len(swept))
    for variant in swept:
        if not (folder / variant.folder / "manifest.json").is_file():
            found.append(Finding(variant.folder, "has not begun", WHOLE))
            continue
        try:
            inside = list(_run(folder / variant.folder))
        except GauntletError as error:
            inside = [Finding("", str(error), BEYOND)]
        found += [replace(one, name="/".join(filter(None, (variant.folder, one.name)))) for one in inside]
    return found


def _run(folder: Path) -> Iterator[Finding]:
    manifest = read_manifest(folder)
    stored_scenario(folder, manifest)
    yield from (
        _finished(folder, manifest) if manifest["status"] in FINISHED else _unfinished(folder, manifest)
    )
    for part in sorted(folder.rglob("*.part")):
        yield Finding(part.relative_to(folder).as_posix(), "is half written; nothing hangs on it", WHOLE)


def _finished(folder: Path, manifest: dict[str, Any]) -> Iterator[Finding]:
    """Compare a finished run's files with what the manifest says of them."""
    files = manifest.get("files") or dict.fromkeys(f"{name}.parquet" for name in TABLES)
    broken = 0
    for name, expected in {**files, "timings.parquet": None}.items():
        if words := _damage(folder / name, expected):
            broken += 1
            loose = name.startswith(_LOOSE)
            hope = "no result hangs on it" if loose else "only running it again brings it back"
            yield Finding(name, f"{words}; {hope}", REPAIRABLE if loose else BEYOND)
    if not broken:
        known = "" if "files" in manifest else "; schema 1 kept no digests, so that they are only readable"
        yield Finding(
            "", f"{manifest['status']}, and all of its {len(files) + 1} files are whole{known}", WHOLE
        )


def _damage(path: Path, expected: str | None) -> str | None:
    """Return what is wrong with a file that must have this digest, or be a table; None for nothing."""
    try:
        if not path.is_file():
            return "is lost"
        content = path.read_bytes()
        if expected is None:
            table_of(content)
    except (OSError, pa.ArrowException) as error:
        return f"cannot be read: {first_line(error)}"
    return "is damaged: it is not what the run wrote" if expected not in (None, digest(content)) else None


def _unfinished(folder: Path, manifest: dict[str, Any]) -> Iterator[Finding]:
    """Look for the checkpoint from which ``resume`` would go on."""
    refused = list[tuple[str, str]]()
    for path in reversed(checkpoints(folder / "checkpoints")):
        try:
            found = read_checkpoint(path, manifest["fingerprint"])
            rows_of(folder, found)
        except GauntletError as error:
            if path.exists():  # a run that goes on meanwhile drops its oldest
                refused.append((path.relative_to(folder).as_posix(), str(error)))
        else:
            yield from (Finding(name, why, REPAIRABLE) for name, why in refused)
            yield Finding("", f"{manifest['status']}; resume goes on from round {found.state.round}", WHOLE)
            return
    if not refused:
        yield Finding("", f"{manifest['status']}, without a checkpoint; resume begins with round 0", WHOLE)
    for name, why in refused:
        yield Finding(name, f"{why}; no checkpoint can be resumed", BEYOND)


def told(folder: Path, findings: list[Finding]) -> tuple[list[str], int]:
    """Return (the lines that say what was found, the exit code)."""
    code = max(one.code for one in findings)
    lines = [f"{folder / one.name}: {one.words.removeprefix(f'{folder / one.name} ')}" for one in findings]
    verdict = {
        WHOLE: "is whole",
        REPAIRABLE: "is damaged; no result is lost, or 'gauntlet resume' brings it back",
        BEYOND: "is damaged, and results are lost",
    }
    return [*lines, f"{folder} {verdict[code]}"], code
