"""Trackers: other people's tools that show runs. None decides a number of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.declarations import Trackers
from ...core.registry import Family

if TYPE_CHECKING:
    from ...core.contracts import Tracker

TRACKERS: Family[Tracker] = Family(
    "trackers",
    "tracker",
    ("open",),
    {
        "none": "gauntlet.sims.trackers.none:NoTracker",
        "tensorboard": "gauntlet.sims.trackers.tensorboard:TensorBoardFiles",
        "mlflow": "gauntlet.sims.trackers.mlflow:MLflow",
        "wandb": "gauntlet.sims.trackers.wandb:WeightsAndBiases",
    },
    declares=Trackers,
)
