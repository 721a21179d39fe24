"""TensorBoard: event files that ``tensorboard --logdir results`` shows.

Source: Abadi et al. TensorFlow: Large-Scale Machine Learning on Heterogeneous Distributed Systems. 2016,
Section 9.1, arXiv:1603.04467; written by ``torch.utils.tensorboard``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...core.contracts import TrackedRun
from ...core.contracts.tracking import Numbers

_LAST = "end"  # of the run: what is known then alone


@dataclass(frozen=True)
class TensorBoardFiles:
    """Every number of ``rounds.parquet`` by its column, in double precision; hyperparameters; pictures.

    A run that goes on writes another event file into the same folder, which takes back what an earlier one
    holds of the same rounds. ``end/...`` is the summary of the whole run, at its last round.

    Attributes:
        folder: Where event files go; by default ``tracking/tensorboard`` of the result folder. A run has a
            folder of its own in it.
    """

    folder: str = ""

    needs: ClassVar[tuple[str, ...]] = ("tensorboard",)

    def open(self, run: TrackedRun) -> Events:
        from torch.utils.tensorboard import SummaryWriter

        place = run.place if not self.folder else Path(self.folder).expanduser() / run.identity
        writer = SummaryWriter(str(place), purge_step=run.done)
        if not run.done:
            _settings(writer, run.settings)
        return Events(writer, run.done)


@dataclass
class Events:
    """An open event file."""

    writer: Any
    done: int

    def rounds(self, rows: Sequence[tuple[int, Numbers]]) -> None:
        for round_, numbers in rows:
            self._scalars(numbers, round_)
            self.done = round_ + 1
        self.writer.flush()

    def finish(self, summary: Numbers, pictures: Mapping[str, Path], tables: Mapping[str, Path]) -> None:
        from PIL import Image

        last = max(0, self.done - 1)
        self._scalars({f"{_LAST}/{name}": value for name, value in summary.items()}, last)
        for name, path in pictures.items():
            with Image.open(path) as picture:
                self.writer.add_image(name, np.asarray(picture.convert("RGB")), last, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()

    def _scalars(self, numbers: Numbers, step: int) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, np.float64(value), step, new_style=True, double_precision=True)


def _settings(writer: Any, settings: Mapping[str, str]) -> None:
    """Write what decides the run, for the page of hyperparameters."""
    from torch.utils.tensorboard.summary import hparams

    for part in hparams(dict(settings), {"accuracy": 0, "loss": 0}):  # type: ignore[no-untyped-call]
        writer.file_writer.add_summary(part)
