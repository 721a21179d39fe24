"""Do audits find a mechanism that adds half of the noise that it claims? Inside a run, and playing it alone.

Usage: half_noise.py. Digits, logistic regression, 100 clients, 200 canaries, full participation, 30 rounds,
delta 1e-3, seeds 0 to 4, z = 1 and 2 over the whole run; ``mechanism_audit`` on two rounds of z = 2, 3 and 4.
Prints certified epsilon beside the claim.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from asked import words
from torch import Tensor

from gauntlet.core.contracts import NoGuarantee, Release
from gauntlet.core.seeds import Streams
from gauntlet.core.updates import Updates
from gauntlet.privacy.audits.mechanism_audit import audit_mechanism
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario

ROUNDS, SEEDS = 30, range(5)


@dataclass(frozen=True)
class HalfNoise:
    """``gaussian``, but for half of the noise."""

    clip_norm: float
    noise_multiplier: float
    delta: float

    unit: ClassVar[str] = "client"
    trust_model: ClassVar[str] = "central"
    settled: ClassVar[bool] = True
    relation: ClassVar[str] = "add_remove"

    @property
    def claimed(self) -> Gaussian:
        return Gaussian(self.clip_norm, self.noise_multiplier, delta=self.delta)

    def init(self) -> None:
        return None

    def privatize(self, updates: Updates, streams: Streams) -> Updates:
        return self.claimed.privatize(updates, streams)

    def clip(self, updates: Updates, state: None) -> tuple[Updates, Any]:
        return self.claimed.clip(updates, state)

    def noise(
        self, aggregate: Tensor, expected_size: float, state: None, generator: np.random.Generator
    ) -> tuple[Tensor, Any]:
        half = replace(self.claimed, noise_multiplier=self.noise_multiplier / 2)
        return half.noise(aggregate, expected_size, state, generator)

    def event(self, sensitivity: float | None, expected_size: float, state: None) -> Release | NoGuarantee:
        return self.claimed.event(sensitivity, expected_size, state)


def in_a_run(audit: str, z: float, seed: int) -> tuple[float, float]:
    """Return what an audit inside a run certifies, and what the run claims."""
    scenario = make_scenario(
        {
            "name": "half-noise",
            "seed": seed,
            "rounds": ROUNDS,
            "num_clients": 100,
            "data": {"name": "digits"},
            "model": {"name": "logistic_regression"},
            "training": {"local_epochs": 1, "batch_size": 8, "lr": 0.3},
            "privacy": {
                "name": f"{Path(__file__).resolve()}:HalfNoise",
                "clip_norm": 0.3,
                "noise_multiplier": z * ROUNDS**0.5,
                "delta": 1e-3,
            },
            "defense": {"name": "mean", "weighting": "fixed"},
            "audit": {"name": audit, "num_canaries": 200},
            "evaluation": {"every": ROUNDS},
            "runtime": {"pool": "serial"},
        },
        "half_noise.py",
    )
    with TemporaryDirectory() as folder:
        run = simulate(scenario, Path(folder) / "run")
        told = pd.read_json(Path(folder) / "run" / "audit.json", typ="series")
        return float(told["epsilon_audit_low"]), float(run.manifest["epsilon"]["value"])


def main() -> None:
    """Measure and print."""
    words(__doc__)
    for audit in ("one_run", "one_shot_canaries"):
        for z in (1.0, 2.0):
            found = [in_a_run(audit, z, seed) for seed in SEEDS]
            low = " ".join(f"{certified:.2f}" for certified, _ in found)
            print(f"{audit}, z = {z:g}: claimed {found[0][1]:.2f}, certified {low}", flush=True)
    for z in (2.0, 3.0, 4.0):
        audits = [audit_mechanism(HalfNoise(1.0, z, 1e-5), seed=seed) for seed in SEEDS]
        low = " ".join(f"{audited.epsilon_low:.2f}" for audited in audits)
        print(f"mechanism_audit, z = {z:g}: claimed {audits[0].claimed:.2f}, certified {low}", flush=True)


if __name__ == "__main__":
    main()
