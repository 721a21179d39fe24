"""Write a plug-in that works, with its test, for somebody to start from."""

from pathlib import Path
from string import Template

from ..core.errors import PluginError, ResultsError, unknown

_KINDS = {
    "attack": "update_attack",
    "data-attack": "data_attack",
    "leakage-attack": "leakage_attack",
    "defense": "defense",
    "client-defense": "client_defense",
    "codec": "codec",
    "schedule": "schedule",
    "task": "task",
    "dataset": "dataset",
    "server": "server",
}


def scaffold(kind: str, name: str, folder: Path) -> list[Path]:
    """Write ``name.py`` and ``test_name.py`` into ``folder``, and for some kinds a scenario; return all.

    Args:
        kind: ``"attack"`` (on updates), ``"data-attack"``, ``"leakage-attack"``, ``"defense"``,
            ``"client-defense"``, ``"codec"``, ``"schedule"``, ``"server"``, ``"task"`` or ``"dataset"``.
        name: A Python name in lower case, with underscores.
        folder: Where to write; made if need be.

    Raises:
        PluginError: Another kind, or a name that is no Python name.
        ResultsError: One of the files is there already, or cannot be written.
    """
    if kind not in _KINDS:
        raise PluginError(unknown("kind", kind, _KINDS))
    if not name.isidentifier() or name != name.lower():
        raise PluginError(f"a plug-in's name is a Python name in lower case, such as my_attack; got '{name}'")
    words = {"name": name, "cls": "".join(part.capitalize() for part in name.split("_"))}
    shelf = Path(__file__).parent / "templates"
    files = {
        folder / f"{name}.py": shelf / f"{_KINDS[kind]}.py.txt",
        folder / f"test_{name}.py": shelf / f"test_{_KINDS[kind]}.py.txt",
        folder / f"{name}.toml": shelf / f"{_KINDS[kind]}.toml.txt",
    }
    files = {path: template for path, template in files.items() if template.is_file()}
    if taken := [str(path) for path in files if path.exists()]:
        raise ResultsError(f"{taken[0]} is there already; nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in files.items():
            path.write_text(
                Template(template.read_text(encoding="utf-8")).substitute(words), encoding="utf-8"
            )
    except OSError as error:
        raise ResultsError(f"{error.filename} cannot be written: {error.strerror}") from error
    return list(files)
