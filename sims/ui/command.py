"""``gauntlet ui``: watch a run while it goes on, in a browser on this machine."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..arguments import Out, Set
from ..terminal import say

if TYPE_CHECKING:
    from .child import Child
    from .server import LiveServer


def ui(
    what: Annotated[str, typer.Argument(help="A scenario to run, or a result folder to watch.")],
    set_: Set = None,
    out: Out = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen [default: any free].")] = 0,
) -> None:
    """Serve the page of a run while it goes on, to this machine alone: progress, curves, stop and resume."""
    from .child import Child

    watched = Path(what).is_dir()
    if watched:
        _refuse_options(what, bool(set_), out)
    folder = Path(what) if watched else _place(what, set_ or [], out)
    child = Child(folder)
    server = _listening(folder, child, port)
    try:
        if not watched:
            child.run(what, [word for one in set_ or () for word in ("--set", one)])
        say(f"Open {server.door.address}\nOnly this machine can. Ctrl-C ends it.")
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    finally:
        server.server_close()
        if child.close():
            say(f"The run was stopped; 'gauntlet resume {folder}' goes on with it")


def _listening(folder: Path, child: "Child", port: int) -> "LiveServer":
    from ...core.errors import ScenarioError
    from .server import LiveServer

    try:
        return LiveServer(folder, child, port)
    except OSError as error:
        child.close()
        with suppress(OSError):
            folder.rmdir()  # only where it is empty
        raise ScenarioError(f"port {port} cannot be used: {error.strerror or error}") from error


def _refuse_options(what: str, changed: bool, out: Path | None) -> None:
    from ...core.errors import ScenarioError
    from ..results import read_manifest
    from ..sweep import read_sweep

    if changed or out is not None:
        raise ScenarioError(
            f"{what} is a folder, which is watched as it is; --set and --out go with a scenario"
        )
    if read_sweep(Path(what)) is None:
        read_manifest(Path(what))


def _place(what: str, changes: list[str], out: Path | None) -> Path:
    """Return the folder of a scenario's results, after a look at the scenario.

    Raises:
        GauntletError: It cannot run, or the folder holds something.
    """
    from ..folders import check_free, fresh_folder
    from ..run import RESULTS
    from ..scenario import load_scenario

    scenario = load_scenario(what, changes)
    if out is None:
        return fresh_folder(RESULTS, scenario.name)
    check_free(out)
    return out
