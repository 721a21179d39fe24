"""What probes recorded in result folders, for attacks that come later."""

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.errors import ResultsError
from .cells import place_of
from .outside_code import code_of
from .ownership import distrusted
from .provenance import latest
from .reconstruct import NAME
from .results import read_json, read_manifest

OBSERVATIONS = "observations"


@dataclass(frozen=True)
class Message:
    """One recorded message.

    Attributes:
        place: Its folder.
        round: The round, from 0.
        client_id: The sender.
        probe: The identity of the probe that recorded it; empty where several shared it (schema 1).
    """

    place: Path
    round: int
    client_id: int
    probe: str


@dataclass(frozen=True)
class Recorded:
    """The recordings of one run.

    Attributes:
        folder: The run's.
        manifest: The run's.
        messages: In ascending round.
        distrust: Why nothing from outside may be loaded that the folder names; None where it may.
    """

    folder: Path
    manifest: dict[str, Any]
    messages: tuple[Message, ...]
    distrust: str | None

    def groups(self, most: int) -> list[list[Path]]:
        """Return what an attack is handed at once: a message, or several rounds of one client and probe.

        Args:
            most: How many rounds it takes together; the first ones that its probe saw of the client.
        """
        if most == 1:
            return [[message.place] for message in self.messages]
        found: dict[tuple[str, int], list[Path]] = {}
        for message in self.messages:
            found.setdefault((message.probe, message.client_id), []).append(message.place)
        return [places[:most] for places in found.values()]


def recorded(patterns: Iterable[str], allow_code: bool = False) -> list[Recorded]:
    """Return the recordings that paths or patterns name: of runs, of a sweep's runs, or single ones.

    Args:
        patterns: Folders of runs or sweeps, or of single recordings; ``*``, ``?`` and ``[...]`` stand for
            parts of names, ``**`` for any folders.
        allow_code: Whether code from outside may be loaded that a folder of others names.

    Raises:
        ResultsError: One names nothing, or something else; nothing was recorded; or the code behind the model
            or the codec has changed since.
    """
    found: dict[Path, Recorded] = {}
    for path in _paths(patterns):
        folder, chosen = _run_of(path)
        if folder in found and not chosen:
            found[folder] = _of_run(folder, allow_code)
        elif folder in found:
            messages = {*found[folder].messages, *_of_run(folder, allow_code, chosen).messages}
            ordered = sorted(messages, key=lambda m: (m.round, m.place.name))
            found[folder] = replace(found[folder], messages=tuple(ordered))
        else:
            found[folder] = _of_run(folder, allow_code, chosen)
    if not any(one.messages for one in found.values()):
        names = ", ".join(map(str, found))
        raise ResultsError(
            f"{names}: no message is recorded there; a run with [[probes]] records some: run it again with "
            "--set 'probes=[\"dlg\"]', say, whose rounds and client say which messages"
        )
    return list(found.values())


def _paths(patterns: Iterable[str]) -> list[Path]:
    """Return the folders that are meant, each once: for a sweep those of its runs that have begun."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        there = [Path(pattern)]
        if glob.has_magic(pattern) and not there[0].exists():
            there = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
            there = [path for path in there if _is_result(path)]
        if not there:
            raise ResultsError(f"no result folder fits '{pattern}'")
        for path in there:
            found |= dict.fromkeys(_runs_in(path))
    return list(found)


def _runs_in(path: Path) -> list[Path]:
    """Return a folder itself, or for a sweep's those of its runs that have begun."""
    listed = path / "sweep.json"
    if not listed.is_file():
        return [path]
    inside = [path / place_of(number) for number in range(len(read_json(listed, {"runs": list})["runs"]))]
    if links := [folder for folder in inside if folder.is_symlink()]:
        raise ResultsError(f"{links[0]} is a link; a sweep's runs stand in folders of its own")
    return [folder for folder in inside if (folder / "manifest.json").is_file()]


def _is_result(path: Path) -> bool:
    held = ("manifest.json", "sweep.json", "observation.json")
    return path.is_dir() and any((path / name).is_file() for name in held)


def _run_of(path: Path) -> tuple[Path, str]:
    """Return the run's folder that a path names, and the recording's name if it names a single one."""
    if path.parent.name == OBSERVATIONS and not (path / "manifest.json").is_file():
        return path.parent.parent, path.name
    return path, ""


def _of_run(folder: Path, allow_code: bool, chosen: str = "") -> Recorded:
    manifest = read_manifest(folder)
    distrust = distrusted(folder, manifest, allow_code)
    _refuse_other_code(folder, manifest)
    places = sorted(p for p in (folder / OBSERVATIONS).glob("round-*") if p.suffix != ".part")
    messages = [
        Message(place, int(fits[1]), int(fits[2]), fits[3] or "")
        for place in places
        if (fits := NAME.fullmatch(place.name)) and chosen in ("", place.name)
    ]
    if chosen and not messages:
        raise ResultsError(f"{folder / OBSERVATIONS} holds no recording '{chosen}'")
    ordered: Sequence[Message] = sorted(messages, key=lambda m: (m.round, m.place.name))
    return Recorded(folder, manifest, tuple(ordered), distrust)


def _refuse_other_code(folder: Path, manifest: dict[str, Any]) -> None:
    """Refuse to make a model of other code than the run had."""
    if "code" not in manifest:
        return
    before = latest(manifest, "code", dict)
    now = code_of({key: manifest["scenario"].get(key) for key in ("model", "codec")})
    if other := [name for name, digest in now.items() if before.get(name) != digest]:
        raise ResultsError(
            f"{folder}: the code of {', '.join(other)} changed since the run began; put it back"
        )
