"""A Ray of our own on this machine: on loopback, behind a token, in a folder that is the user's alone.

Ray by itself listens on every interface, lets anybody who reaches a port run code, and makes its folder, with
the sockets in it, writable by everybody. Ray that was started elsewhere, and is joined by its address, is as
whoever started it made it.
"""

import atexit
import importlib
import logging
import os
import secrets
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.errors import WorkerError

LOOPBACK = "127.0.0.1"
_SOCKETS = len("/gauntlet-12345678/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store.1")
_ORPHANED = "4"  # seconds that Ray's agents look for a store that died with its driver; 60 by themselves
_LONGEST = 107  # bytes of a Unix socket's path


_ours: list[str] = []  # where the Rays are that this process started


def our_own() -> str | None:
    """Return where the Ray is that this process is at, if it started that itself."""
    import ray

    place = str(ray.get_runtime_context().gcs_address) if ray.is_initialized() else None
    return place if place in _ours else None


def start_local(num_cpus: int) -> None:
    """Start Ray with so many CPUs; it ends with this process, and its folder goes.

    Raises:
        WorkerError: Ray would listen on more than loopback, or its folder's name is too long.
    """
    folder = Path(tempfile.mkdtemp(prefix="gauntlet-", dir=short_folder()))  # mode 0700
    atexit.register(_remove, folder)
    with token_required(), _on_loopback():
        import ray

        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address=LOOPBACK,
            _temp_dir=str(folder / "ray"),  # Ray opens this one to everybody; its parent is closed
        )
    if (there := ray.util.get_node_ip_address()) != LOOPBACK:
        ray.shutdown()
        raise WorkerError(
            f"Ray {ray.__version__} listens on {there} and cannot be kept to {LOOPBACK}; use --pool serial, "
            "or start a cluster yourself and name it with --ray-address"
        )
    _ours.append(ray.get_runtime_context().gcs_address)


def join(address: str) -> None:
    """Join the Ray at an address, with the token that the user's own variables or files name, if any."""
    reread()
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)


@contextmanager
def token_required() -> Iterator[None]:
    """Have a Ray that is started within ask for a token, a new one each time, where its version can.

    Nor do its processes wait long for others of them that were killed with their driver.

    What ``RAY_AUTH_MODE``, ``RAY_AUTH_TOKEN`` and ``RAY_AUTH_TOKEN_PATH`` say already stays. Ray's processes
    keep what they were started with; nothing that this process starts later inherits the token.
    """
    said = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_gcs_rpc_server_reconnect_timeout_s": _ORPHANED,
    }
    if os.environ.get("RAY_AUTH_TOKEN_PATH"):
        del said["RAY_AUTH_TOKEN"]
    new = {name: value for name, value in said.items() if not os.environ.get(name)}
    os.environ |= new
    reread()
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def reread() -> None:
    """Have Ray look at its variables again, which it does by itself only when it is imported."""
    if "ray" not in sys.modules:
        return
    try:
        raylet: Any = importlib.import_module("ray._raylet")
        raylet.AuthenticationTokenLoader.instance().reset_cache()
        raylet.Config.initialize("")
    except AttributeError:  # a version without tokens
        return


def short_folder() -> Path:
    """Return the folder for temporary files that is short enough for sockets: the user's own choice first.

    Raises:
        WorkerError: ``RAY_TMPDIR`` names one that is too long.
    """
    if said := os.environ.get("RAY_TMPDIR"):
        if len(os.fsencode(said)) + _SOCKETS > _LONGEST:
            raise WorkerError(
                f"RAY_TMPDIR is {said}: too long for the names of sockets in it, by "
                f"{len(os.fsencode(said)) + _SOCKETS - _LONGEST} bytes; allowed: {_LONGEST - _SOCKETS}"
            )
        return Path(said)
    usual = tempfile.gettempdir()
    return Path(usual if len(os.fsencode(usual)) + _SOCKETS <= _LONGEST else "/tmp")


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray take 127.0.0.1 for this machine's address, as it does by itself on macOS and Windows.

    Elsewhere it replaces loopback by the address that the outside sees, and then listens on all interfaces.
    """
    from ray._private import ray_constants

    constants: Any = ray_constants
    before = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def _remove(folder: Path) -> None:
    """End Ray and delete its folder: whoever was registered earlier at exit comes later."""
    import ray

    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
