"""Whom a probe watches, by the table of clients; and what is said where it sees nobody."""

import pandas as pd
import pytest

from gauntlet.sims.results import load_run, read_manifest, write_json
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.sections import Probe

QUICK = {"name": "dlg", "client": 2, "max_iterations": 2}


class Notes:
    """A progress that keeps what it is told."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def begin(self, *_):
        pass

    advance = end = close = begin


def warnings(notes):
    return [text for text in notes.notes if "warning: probe" in text]


def unfinish(folder):
    manifest = read_manifest(folder)
    write_json(folder / "manifest.json", {**manifest, "status": "running"})


BUSY = {
    "rounds": 6,
    "num_clients": 12,
    "sampler": {"name": "fixed_size", "cohort_size": 4},
    "attacks": [
        {"name": "sign_flip", "clients": [0, 3], "start_round": 2},
        {"name": "label_flip", "clients": [1], "source": 1, "target": 2},
    ],
    "privacy": {"name": "gaussian", "clip_norm": 1.0, "noise_multiplier": 0.1, "delta": 1e-3},
    "defense": {"name": "mean", "weighting": "fixed"},
    "audit": {"name": "one_shot_canaries", "num_canaries": 6},
    "probes": [{"name": "dlg", "rounds": [0, 1, 4], "max_iterations": 1}],
}


def first_honest(folder, wanted, ever_bad):
    """By the table of clients: the first round from ``wanted`` on with an honest client, and its id."""
    table = pd.read_parquet(folder / "clients.parquet")
    there = table[(table["round"] >= wanted) & (table["truth"] == "honest")]
    there = there[~there["client_id"].isin(ever_bad)].sort_values(["round", "client_id"])
    return [(int(row.round), int(row.client_id)) for row in there.head(1).itertuples()]


SAMPLERS = [
    {"name": "fixed_size", "cohort_size": 4},
    {"name": "poisson", "sample_rate": 0.25},
    {"name": "full"},
]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: s["name"])
def test_by_default_the_first_honest_client_that_takes_part_is_watched(tiny, tmp_path, sampler, seed):
    folder = simulate(tiny(**{**BUSY, "sampler": sampler, "seed": seed}), tmp_path / "run").folder

    check_watched(folder, ever_bad=(0, 1, 3))


def check_watched(folder, ever_bad):
    (record,) = read_manifest(folder)["probes"]
    found = {wanted: first_honest(folder, wanted, ever_bad) for wanted in (0, 1, 4)}
    expected = {pair for pairs in found.values() for pair in pairs}
    assert {tuple(pair) for pair in record["seen"]} == expected
    assert record["unseen"] == [wanted for wanted, pairs in found.items() if not pairs]
    assert {(item.round, item.client_id) for item in load_run(folder).gallery()} == expected


def test_attackers_that_are_drawn_anew_in_every_round_are_passed_over(tiny, tmp_path):
    """Three of the four clients of each part attack; the parts take turns."""
    changes = {
        "sampler": {"name": "round_robin", "period": 3},
        "attacks": [{"name": "sign_flip", "sampled": 0.75}],
        "privacy": "none",
        "audit": "none",
    }
    folder = simulate(tiny(**{**BUSY, **changes}), tmp_path / "run").folder

    check_watched(folder, ever_bad=())
    assert len(load_run(folder).gallery()) == 3


def bits(folder):
    files = (p for kind in ("observations", "reconstructions") for p in (folder / kind).rglob("*"))
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in files if p.is_file() and p.name != "timings.json"
    }


def test_a_resumed_run_watches_the_same_clients(tiny, tmp_path):
    scenario = tiny(**{**BUSY, "seed": 1})
    folder = simulate(scenario, tmp_path / "run").folder
    whole, record = bits(folder), read_manifest(folder)["probes"]
    newest = sorted((folder / "checkpoints").iterdir())
    for path in newest[len(newest) // 2 :]:
        path.unlink()  # back to the checkpoint before the last one
    unfinish(folder)

    resume(folder)

    assert bits(folder) == whole
    assert read_manifest(folder)["probes"] == record


def test_a_probe_that_never_sees_its_client_is_a_warning_and_stands_in_the_manifest(tiny, tmp_path):
    sampler = {"name": "fixed_size", "cohort_size": 1}
    plain = simulate(tiny(sampler=sampler), tmp_path / "plain")
    absent = sorted(set(range(6)) - set(plain.clients["client_id"]))[0]
    came = int(plain.clients["client_id"][0])
    again = plain.clients.query("client_id == @came")["round"].max() + 1
    probes = [{**QUICK, "client": absent, "rounds": [0, 2]}, {**QUICK, "client": came, "rounds": [0, 3]}]
    probes[1]["rounds"] = [0, int(again)] if again < 4 else [0]

    notes = Notes()
    folder = simulate(tiny(sampler=sampler, probes=probes), tmp_path / "run", notes).folder

    manifest = read_manifest(folder)
    assert manifest["status"] == "complete"
    assert [p["seen"] for p in manifest["probes"]] == [[], [[0, came]]]
    assert [p["unseen"] for p in manifest["probes"]] == [[0, 2], probes[1]["rounds"][1:]]
    assert [p["probe"] for p in manifest["probes"]] == [Probe(**probe).identity() for probe in probes]
    warned = warnings(notes)
    assert len(warned) == 1 + (again < 4)
    assert [f"tiny: {line}" for line in manifest["notes"]] == warned
    assert f"saw nothing: client {absent} took part in no round that was run from round 0, 2 on" in warned[0]


def test_the_command_line_prints_the_warning(gauntlet, tiny_file):
    found = gauntlet(
        "run", tiny_file, "--out", "run", "-s", "sampler={name='fixed_size', cohort_size=1}",
        "-s", "attacks=[{name='sign_flip', share=1.0}]", "-s", "probes=[{name='dlg', max_iterations=1}]",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    (line,) = (line for line in found.stdout.splitlines() if "warning: probe" in line)
    assert "saw nothing: an honest client took part in no round" in line


def test_a_probe_whose_client_is_there_warns_of_nothing(tiny, tmp_path):
    notes = Notes()
    simulate(tiny(probes=[QUICK]), tmp_path / "run", notes)
    assert warnings(notes) == []


@pytest.mark.parametrize("client", [None, 1])
def test_a_client_whose_batches_came_out_empty_is_passed_over(tiny, tmp_path, client):
    """By the raw norm in the table of clients: a sum over no example is zero before the noise."""
    keys = {
        "seed": 2,
        "training": {"local_steps": 1, "batch_size": 1, "lr": 0.2},
        "privacy": {"name": "dp_sgd", "clip_norm": 0.5, "noise_multiplier": 1e-6, "delta": 0.01},
        "probes": [
            {"name": "dlg", "max_iterations": 1, **({"client": client} if client is not None else {})}
        ],
    }
    run = simulate(tiny(**keys), tmp_path / "run")
    norms = run.clients.set_index(["round", "client_id"])["raw_norm"]
    there = [pair for pair in sorted(norms.index) if norms[pair] > 1e-3 and client in (None, pair[1])]
    (probe,) = read_manifest(run.folder)["probes"]
    assert (probe["seen"], probe["unseen"]) == ([[int(n) for n in there[0]]], [])
