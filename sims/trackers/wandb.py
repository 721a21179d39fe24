"""Weights & Biases: offline by default, into files that ``wandb sync`` sends later.

Source: Biewald. Experiment Tracking with Weights and Biases. 2020, wandb.com. Run offline against version
0.31.0, and its files read back; *unverified*: its service. The library adds the machine's name, the command
line, installed packages and what was printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...core.contracts import TrackedRun
from ...core.contracts.tracking import Numbers


@dataclass(frozen=True)
class WeightsAndBiases:
    """Every number of ``rounds.parquet`` by its column, settings as the configuration, pictures.

    A run that goes on has the same id, which ``wandb sync --append`` joins.

    Attributes:
        project: The project's name.
        mode: ``"offline"`` sends nothing; ``"online"`` sends everything to the service.
        folder: Where its files go. Not within the result folder: the library makes links there, which
            ``gauntlet resume`` refuses.
    """

    project: str = "gauntlet"
    mode: Literal["offline", "online"] = "offline"
    folder: str = "wandb"

    needs: ClassVar[tuple[str, ...]] = ("wandb",)

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online"):
            raise ValueError(f"mode must be one of offline, online; got '{self.mode}'")

    def open(self, run: TrackedRun) -> Logged:
        import wandb

        place = Path(self.folder).expanduser()
        place.mkdir(parents=True, exist_ok=True)
        told = {"project": self.project, "name": run.name, "id": run.identity, "resume": "allow"}
        return Logged(wandb.init(dir=str(place), mode=self.mode, config=dict(run.settings), **told), run.done)


@dataclass
class Logged:
    """An open run of the library."""

    run: Any
    done: int

    def rounds(self, rows: Sequence[tuple[int, Numbers]]) -> None:
        for round_, numbers in rows:
            self.run.log(dict(numbers), step=round_)
            self.done = round_ + 1

    def finish(self, summary: Numbers, pictures: Mapping[str, Path], tables: Mapping[str, Path]) -> None:
        import wandb

        for name, value in summary.items():
            self.run.summary[f"end/{name}"] = value
        shown = {name: wandb.Image(str(path)) for name, path in pictures.items()}
        if shown:
            self.run.log(shown, step=max(0, self.done - 1))

    def close(self) -> None:
        self.run.finish()
