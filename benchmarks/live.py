"""What ``gauntlet ui`` costs a run: CPU seconds of the run, watched and not, and those of the server itself.

Usage: live.py [TURNS]. ``poisoned-digits``, 20 rounds in one process, once by ``gauntlet run`` and once from
a live page that somebody looks at as often as the page's script does; in turns. Prints medians, and whether
the files of results are the same, byte for byte.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from asked import words

from gauntlet.sims.ui.child import Child
from gauntlet.sims.ui.server import LiveServer

OPTIONS = ["--set", "runtime.pool=serial"]


def of_children() -> float:
    """Return the CPU seconds of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def alone(folder: Path) -> float:
    """Return the CPU seconds of a run that nobody watches."""
    begun = of_children()
    command = [sys.executable, "-m", "gauntlet", "run", "poisoned-digits", *OPTIONS, "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return of_children() - begun


def watched(folder: Path) -> tuple[float, float]:
    """Return the CPU seconds of a run that is watched, and of the server with its one reader."""
    child = Child(folder)
    server = LiveServer(folder, child)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    begun, own = of_children(), time.process_time()
    child.run("poisoned-digits", OPTIONS)
    stamp = ""
    while child.runs:
        state = json.loads(fetched(server, "state"))
        if state["stamp"] != stamp:
            stamp = state["stamp"]
            fetched(server, "")
        time.sleep(state["pause"])
    own = time.process_time() - own
    server.shutdown()
    server.server_close()
    thread.join()
    child.close()
    return of_children() - begun, own


def fetched(server: LiveServer, what: str) -> bytes:
    address = server.door.address.replace("/?", f"/{what}?")
    with urllib.request.urlopen(address, timeout=600) as answer:
        return bytes(answer.read())


def digests(folder: Path) -> object:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]


def main() -> None:
    """Measure in turns, and print."""
    turns = words(__doc__, turns=5).turns
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    runs, live, served, same = list[float](), list[float](), list[float](), list[bool]()
    with tempfile.TemporaryDirectory() as place:
        for turn in range(turns):
            one, other = Path(place) / f"alone-{turn}", Path(place) / f"watched-{turn}"
            runs.append(alone(one))
            run, own = watched(other)
            live.append(run)
            served.append(own)
            same.append(digests(one) == digests(other))
            print(f"{runs[-1]:.2f} alone, {run:.2f} watched, {own:.2f} by the server, {same[-1]}", flush=True)
    medians = [statistics.median(one) for one in (runs, live, served)]
    print("medians of CPU seconds: alone {:.2f}, watched {:.2f}, the server {:.2f}".format(*medians))
    print(f"the same files: {all(same)}")


if __name__ == "__main__":
    main()
