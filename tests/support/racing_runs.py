"""A program for test_owners.py: processes that all want the same folder at the same moment.

``resume FOLDER NUMBER`` or ``simulate SCENARIO.json NUMBER``, as ``commands.Command`` runs it: each of the
processes prints one line, ``ran``, ``found it finished`` or ``refused: ...``, and then the folder.
"""

import json
import os
import sys
from pathlib import Path

import torch

from gauntlet.core.errors import GauntletError
from gauntlet.sims.progress import Silent
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.scenario import make_scenario


class Witness(Silent):
    """Know whether rounds were run."""

    ran = False

    def begin(self, run, label, rounds, done):
        self.ran = True


def race(what: str, place: str) -> str:
    witness = Witness()
    try:
        run = (
            resume(place, witness)
            if what == "resume"
            else simulate(make_scenario(json.loads(Path(place).read_text())), progress=witness)
        )
    except GauntletError as error:
        return f"refused: {error}"
    return f"{'ran' if witness.ran else 'found it finished'} {run.folder}"


def main() -> None:
    what, place, number = sys.argv[1:]
    torch.set_num_threads(1)  # a process with threads must not be forked
    import pandas  # noqa: F401 (what is imported late is imported before the start)
    import safetensors.torch  # noqa: F401

    ready, start = os.pipe()
    for _ in range(int(number)):
        if os.fork() == 0:
            os.close(start)
            os.read(ready, 1)  # nothing comes; it ends when the parent closes it
            os.write(1, f"{race(what, place)}\n".encode())
            os._exit(0)
    os.close(start)
    for _ in range(int(number)):
        os.wait()
