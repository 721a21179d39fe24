"""What is recorded to be attacked later, and what an attack leaves in the folder."""

import json

from gauntlet.sims.verify import verify

QUICK = {"name": "dlg", "client": 2, "max_iterations": 2}
TOLD = {**QUICK, "labels_known": True}
ONE = {"local_steps": 1, "batch_size": 1, "lr": 0.5}


def files(folder):
    """Return every file's bytes, but what a clock measured."""
    found = (p for p in folder.rglob("*") if p.is_file() and not p.name.endswith("timings.json"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def reports(folder):
    return [json.loads(p.read_text()) for p in sorted((folder / "attacked").rglob("*[!s].json"))]


def codes(folder):
    return {finding.code for finding in verify(folder)}
