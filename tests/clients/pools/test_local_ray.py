"""A Ray of our own: who can reach it, who can speak to it, and what lies around."""

import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from gauntlet.clients.pools import ray as pool
from gauntlet.clients.pools.local_ray import short_folder
from gauntlet.core.errors import WorkerError

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def below(root: int) -> list[int]:
    """A process and all that it started, as /proc tells it."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(place.name))
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def listening(pids: list[int]) -> list[tuple[str, int, int]]:
    """(address, port, process) of every TCP socket of these processes that listens, from /proc/net."""
    owner = {}
    for pid in pids:
        for handle in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                owner[os.readlink(handle)] = pid
            except OSError:
                continue
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            pid = owner.get(f"socket:[{rest[5]}]")
            if state == "0A" and pid is not None:
                address, port = local.split(":")
                found.append((address, int(port, 16), pid))
    return found


@pytest.fixture
def worker(ray_here):
    """The number of a worker's process, which is there now."""
    import ray

    return ray.get(ray.remote(num_cpus=0)(lambda: os.getpid()).remote())


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens where")
def test_nothing_that_ray_starts_listens_on_anything_but_loopback(worker):
    found = listening(below(os.getpid()))

    assert {pid for _, _, pid in found} >= {os.getpid(), worker}
    assert len(found) >= 5  # driver, worker, GCS, raylet twice
    assert {address for address, _, _ in found} <= LOOPBACK


STRANGER = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).internal_kv_put(b"here", b"I am", True, None)
except Exception as error:
    print(type(error).__name__)
else:
    print("let in")
"""


@pytest.mark.parametrize("said", [{}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}])
def test_a_stranger_without_the_token_or_with_another_is_turned_away(worker, tmp_path, said):
    """The control store hands out functions to run: whoever may write to it runs code in the workers."""
    import ray

    address = ray.get_runtime_context().gcs_address
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    told = subprocess.run(
        [sys.executable, "-c", STRANGER, address],
        env={**environment, **said, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "AuthenticationError"


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens where")
def test_nothing_that_speaks_http_does_anything_for_a_stranger(worker):
    """The agent for runtime environments installs packages for whoever may ask it."""
    said = set()
    for _, port, _ in listening(below(os.getpid())):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/get_or_create_runtime_env", b"", method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                said.add(answer.status)
        except urllib.error.HTTPError as error:
            said.add(error.code)
            error.close()
        except OSError:  # no HTTP
            continue
        except Exception:  # frames of HTTP/2
            continue
    assert said == {401}


def test_the_token_is_in_no_variable_that_others_inherit_and_the_workers_have_it(worker):
    assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} & set(os.environ)
    told = Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
    (token,) = [line for line in told if line.startswith(b"RAY_AUTH_TOKEN=")]
    assert len(token) == len(b"RAY_AUTH_TOKEN=") + 64


def test_the_folder_with_the_sockets_is_the_users_own_and_closed_to_others(worker):
    import ray

    session = Path(ray._private.worker._global_node.get_session_dir_path())
    folder = session.parent.parent

    assert folder.name.startswith("gauntlet-")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.stat().st_uid == os.getuid()
    assert len(os.fsencode(session / "sockets" / "plasma_store.1")) <= 107


def test_a_folder_whose_name_is_too_long_for_a_socket_is_refused_and_a_long_default_is_not_used(monkeypatch):
    """A Unix socket's path has 107 bytes; Ray's own names take 85 of them."""
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "x" * 80)
    with pytest.raises(WorkerError, match=r"RAY_TMPDIR is .*: too long for the names of sockets"):
        short_folder()
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/mine")
    assert short_folder() == Path("/tmp/mine")
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setattr("tempfile.tempdir", "/tmp/" + "x" * 80)
    assert short_folder() == Path("/tmp")


ENDS = "from gauntlet.clients.pools.ray import start_ray; start_ray(num_workers=1); import ray; "
ENDS += "print(ray._private.worker._global_node.get_session_dir_path())"


@pytest.mark.slow
def test_the_folder_goes_when_the_program_ends(tmp_path):
    told = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, check=True)
    folder = Path(told.stdout.strip()).parent.parent

    assert folder.name.startswith("gauntlet-")
    assert not folder.exists()


@pytest.mark.parametrize("kind", [Exception, OSError, RuntimeError])
def test_a_ray_that_does_not_come_up_is_one_line(monkeypatch, kind):
    """Ray itself raises a bare Exception where its processes take too long."""

    def never(num_cpus):
        raise kind("The current node timed out during startup.\nSee the logs.")

    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(pool, "start_local", never)
    with pytest.raises(
        WorkerError, match=r"Ray cannot be reached at local: The .* timed out during startup\.$"
    ):
        pool.start_ray(None, 1)
