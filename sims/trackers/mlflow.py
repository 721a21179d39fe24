"""MLflow: an experiment's runs, on this machine or on a tracking server.

Source: Zaharia et al. Accelerating the Machine Learning Lifecycle with MLflow. IEEE Data Engineering
Bulletin 41(4), 2018; written by ``mlflow.tracking.MlflowClient``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ...core.contracts import TrackedRun
from ...core.contracts.tracking import Numbers

_TAG = "gauntlet.run"
_LONGEST = 500  # letters of a parameter's value
_MOST = 900  # metrics in one call; the server takes 1000


@dataclass(frozen=True)
class MLflow:
    """Numbers of ``rounds.parquet`` as metrics by column, settings as parameters, files as artifacts.

    A run that goes on finds itself by a tag, and rounds that the server has are not sent again.

    Attributes:
        uri: The tracking server or data base; by default a SQLite file in ``tracking/mlflow`` of the result
            folder (which needs ``sqlalchemy`` and ``alembic`` beside ``mlflow-skinny``).
        experiment: The experiment's name, not empty.
    """

    uri: str = ""
    experiment: str = "gauntlet"

    needs: ClassVar[tuple[str, ...]] = ("mlflow",)

    def __post_init__(self) -> None:
        if not self.experiment:
            raise ValueError("experiment must not be empty")
        if urlsplit(self.uri).password is not None:  # the manifest and report.html would show it
            raise ValueError(
                "uri must hold no password, which results would show: set MLFLOW_TRACKING_PASSWORD"
            )

    def open(self, run: TrackedRun) -> Metrics:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self.uri or _own(run.place))
        found = client.get_experiment_by_name(self.experiment)
        kept = None if self.uri else (run.place / "artifacts").resolve().as_uri()
        number = found.experiment_id if found else client.create_experiment(self.experiment, kept)
        same = client.search_runs([number], f"tags.`{_TAG}` = '{run.identity}'")
        if same:
            name = same[0].info.run_id
            client.update_run(name, status="RUNNING")
            return Metrics(client, name, max(run.done, _known(client, name)))
        name = client.create_run(number, run_name=run.name, tags={_TAG: run.identity}).info.run_id
        _settings(client, name, run.settings)
        return Metrics(client, name, run.done)


@dataclass
class Metrics:
    """An open run of a tracking server."""

    client: Any
    run: str
    done: int

    def rounds(self, rows: Sequence[tuple[int, Numbers]]) -> None:
        for round_, numbers in rows:
            if round_ < self.done:
                continue
            self._log(dict(numbers), round_)
            self.done = round_ + 1

    def finish(self, summary: Numbers, pictures: Mapping[str, Path], tables: Mapping[str, Path]) -> None:
        self._log({f"end.{name}": value for name, value in summary.items()}, max(0, self.done - 1))
        for kind, files in (("pictures", pictures), ("tables", tables)):
            for path in files.values():
                self.client.log_artifact(self.run, str(path), kind)
        self.client.set_terminated(self.run)

    def close(self) -> None:
        return None

    def _log(self, numbers: Numbers, step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        every = [Metric(name, float(value), now, step) for name, value in numbers.items()]
        for first in range(0, len(every), _MOST):
            self.client.log_batch(self.run, metrics=every[first : first + _MOST])


def _own(place: Path) -> str:
    place.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(place / 'mlflow.db').resolve()}"


def _known(client: Any, run: str) -> int:
    """Return the first round that a run does not have."""
    return max((metric.step + 1 for metric in client.get_metric_history(run, "round")), default=0)


def _settings(client: Any, run: str, settings: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    told = [Param(name, value[:_LONGEST]) for name, value in settings.items()]
    for first in range(0, len(told), 100):
        client.log_batch(run, params=told[first : first + 100])
