"""The scenarios of the plug-ins from outside, and what of a run must be the same wherever it ran."""

import os
import signal
from pathlib import Path

from forked import finish, start

from gauntlet.sims.overrides import PLUGIN_SECTIONS
from gauntlet.sims.progress import Silent
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario

FOLDER, SUPPORT = Path(__file__).parents[1] / "outside", Path(__file__).parent

RUNS = {
    "residual_sign.py:ResidualSign": {"codec": {"name": f"{FOLDER}/residual_sign.py:ResidualSign"}},
    "sign_odds.py:SignOdds": {"codec": {"name": f"{FOLDER}/sign_odds.py:SignOdds"}},
    "selective_sharing.py:SelectiveSharing": {
        "client_defense": {
            "name": f"{FOLDER}/selective_sharing.py:SelectiveSharing",
            "share": 0.3,
            "threshold": 1e-4,
        }
    },
    "scaffold_m.py:ScaffoldM": {
        "algorithm": {"name": f"{FOLDER}/scaffold_m.py:ScaffoldM", "server_lr": 0.2, "beta": 0.5}
    },
    "feature_ridge.py:FeatureRidge": {
        "algorithm": {"name": f"{FOLDER}/feature_ridge.py:FeatureRidge", "num_features": 3},
        "data": {"name": f"{SUPPORT}/planes.py:Planes"},
        "partition": {"name": f"{SUPPORT}/planes.py:InRows"},
        "model": "linear",
    },
    "distillation.py:Distillation": {
        "algorithm": {"name": f"{FOLDER}/distillation.py:Distillation", "strength": 0.5}
    },
    "over_selection.py:OverSelection": {
        "schedule": {"name": f"{FOLDER}/over_selection.py:OverSelection", "goal": 2},
    },
    "semi_cyclic.py:SemiCyclic": {
        "sampler": {"name": f"{FOLDER}/semi_cyclic.py:SemiCyclic", "cohort_size": 2, "rounds_awake": 2}
    },
    "ladder.py:Ladder": {
        "server": {"name": f"{FOLDER}/ladder.py:Ladder", "low": 0.2},
        "probes": [{"name": f"{FOLDER}/ladder.py:LadderSteps", "rounds": [0, 2], "labels_known": True}],
        "training": {"local_steps": 1, "batch_size": 8, "lr": 0.1},
    },
    "planted_bias.py:PlantedBias": {"defense": {"name": f"{FOLDER}/planted_bias.py:PlantedBias"}},
    "steepest_pixels.py:SteepestPixels": {
        "attacks": [{"name": f"{FOLDER}/steepest_pixels.py:SteepestPixels", "num_pixels": 2, "count": 2}]
    },
    "two_rounds.py:TwoRounds": {
        "probes": [
            {"name": f"{FOLDER}/two_rounds.py:TwoRounds", "rounds": [0, 2], "labels_known": True, "steps": 60}
        ],
        "training": {"local_steps": 1, "batch_size": 8, "lr": 0.1},
    },
    "ordinal.py:Ordinal": {"task": {"name": f"{FOLDER}/ordinal.py:Ordinal", "sure": 0.4}},
}
FAMILIES = {**PLUGIN_SECTIONS, "probes": "leakage_attacks", "attacks": "data_attacks"}
PAGES = {
    "residual_sign.py": "add-a-codec.md",
    "sign_odds.py": "add-a-codec.md",
    "selective_sharing.py": "add-a-client-defense.md",
    "scaffold_m.py": "add-an-algorithm.md",
    "feature_ridge.py": "add-an-algorithm.md",
    "distillation.py": "add-an-algorithm.md",
    "over_selection.py": "add-a-schedule.md",
    "semi_cyclic.py": "add-a-sampler.md",
    "ladder.py": "add-a-malicious-server.md",
    "planted_bias.py": "add-a-defense.md",
    "steepest_pixels.py": "add-an-attack.md",
    "two_rounds.py": "add-a-leakage-attack.md",
    "ordinal.py": "add-a-task.md",
}


def plugin_of(outsider):
    """Return the family of a plug-in from outside, its name, and its options."""
    key, chosen = next((k, v) for k, v in RUNS[outsider].items() if k in FAMILIES)
    table = chosen[0] if isinstance(chosen, list) else chosen
    about = {"probes": ("name", "client", "rounds", "labels_known"), "attacks": ("name", "count")}
    return (
        FAMILIES[key],
        table["name"],
        {k: v for k, v in table.items() if k not in about.get(key, ("name",))},
    )


def scenario(outsider, **changes):
    """Cohorts of 4 of 6 clients, of whom a fifth is lost on the way."""
    return {
        "name": "outsider",
        "rounds": 6,
        "num_clients": 6,
        "data": "digits",
        "model": {"name": "mlp", "hidden": [16]},
        "training": {"local_steps": 2, "batch_size": 8, "lr": 0.1},
        "defense": {"name": "mean", "weighting": "uniform"},
        "sampler": {"name": "fixed_size", "cohort_size": 4},
        "network": {"name": "links", "dropout": 0.2},
        "checkpoint": {"every": 1},
        "runtime": {"pool": "serial"},
        **RUNS[outsider],
        **changes,
    }


def bits(folder: Path) -> dict[str, bytes]:
    """Every table but the wall-clock times, the checkpoints, and what probes recorded and rebuilt."""
    tables = [p for p in folder.glob("*.parquet") if p.stem != "timings"]
    kinds = ("checkpoints", "observations", "reconstructions")
    inside = [p for kind in kinds for p in (folder / kind).rglob("*") if p.is_file()]
    inside = [p for p in inside if p.name != "timings.json"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in (*tables, *inside)}


class Dying(Silent):
    """Let the process die after three checkpoints and one more round, as ``kill -9`` does it."""

    def advance(self, run, round_, accuracy, clients, seconds):
        """What probes saw of this round is on the disk; its rows and its checkpoint are written next."""
        if round_ == 3:
            os.kill(os.getpid(), signal.SIGKILL)


def die(values) -> None:
    simulate(make_scenario(values), "dead", Dying())


def killed(values, folder: Path) -> Path:
    """Run in a process of its own, which is killed in its fourth round; return the run's folder."""
    assert finish(start(die, values, cwd=folder)) == -signal.SIGKILL
    dead = folder / "dead"
    assert max(p.stem for p in (dead / "checkpoints").iterdir()) == "round-000003"
    return dead
