"""Score an audit's canaries while a run goes on, and judge them when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.contracts import Audited
from ..core.errors import ResultsError, ScenarioError
from ..core.seeds import generator
from ..core.trees import State
from ..privacy.accounting import Epsilon
from ..server.state import ServerState
from .results import VERDICT, first_line, write_json, write_table

if TYPE_CHECKING:
    from torch import Tensor

    from ..server.simulation import Simulation, Step

TABLE = "audit.parquet"
AUDIT = pa.schema(
    [
        ("client_id", pa.int64()),
        ("role", pa.string()),
        ("score", pa.float64()),
    ]
)


class AuditTrail:
    """The canaries' scores so far; a checkpoint holds them, so that a stopped run loses none."""

    def __init__(
        self,
        simulation: Simulation,
        folder: Path,
        begin: int,
        kept: State = None,
        before: Tensor | None = None,
    ) -> None:
        """Start at round ``begin``; above 0, take up what an earlier run of the folder left.

        Args:
            simulation: The run.
            folder: Its folder.
            begin: The first round.
            kept: ``kept`` of the earlier run; None where a checkpoint of schema 1 holds none: then the scores
                stand in ``audit.parquet``.
            before: The server's own parameters before that round; by default the first ones.  # [P]

        Raises:
            ResultsError: It left nothing that can be read.
            ScenarioError: No delta is known.
        """
        self._simulation, self._folder = simulation, folder
        plan = simulation.plan
        self._before = simulation.first.params if before is None else before
        self._audit, self._canaries = plan.audit, plan.canaries
        self._delta = plan.audit.delta or plan.accountant.delta
        if len(self._canaries) and self._delta is None:
            name = simulation.spec.audit.name
            raise ScenarioError(f"audit '{name}' needs a delta: neither it nor the privacy mechanism has one")
        total = len(self._canaries) + self._canaries.num_unseen
        final = self._audit.statistic == "final"
        self._scores = np.zeros(total) if final else np.full(total, -1.0)  # cosines
        if len(self._canaries) and begin > 0 and not final:
            self._scores = self._fitting(self._read() if kept is None else np.array(kept))

    @property
    def kept(self) -> State:
        """What a checkpoint has to hold, to go on from here."""
        return self._scores.tolist() if len(self._canaries) else None

    def _read(self) -> np.ndarray[Any, Any]:
        path = self._folder / TABLE
        try:
            scores: np.ndarray[Any, Any] = pq.read_table(path)["score"].to_numpy()
        except (OSError, KeyError, pa.ArrowException) as error:
            raise ResultsError(f"{path} cannot be read: {first_line(error)}") from error
        return scores

    def _fitting(self, scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if scores.shape != self._scores.shape:
            raise ResultsError(
                f"{self._folder / TABLE} or the checkpoint holds {len(scores)} scores, "
                f"expected {len(self._scores)}"
            )
        return scores

    def watch(self, step: Step) -> None:
        """Take one round's release: the step of the server's own parameters, whatever went down."""
        if len(self._canaries) and self._audit.statistic == "max":
            change = step.state.params - self._before
            self._scores = np.maximum(self._scores, self._canaries.cosines(change))
            self._before = step.state.params

    def _write(self) -> None:
        present = self._canaries.present
        roles = np.where(present, "present", "absent").tolist() + ["unseen"] * self._canaries.num_unseen
        ids = np.arange(len(self._scores)) + self._canaries.first
        columns = {"client_id": ids, "role": roles, "score": self._scores}
        write_table(self._folder / TABLE, pa.Table.from_pydict(columns, schema=AUDIT))

    def finish(self, last: ServerState, epsilon: Epsilon) -> None:
        """Judge the scores, and write the verdict beside what the accountant says.

        Args:
            last: The server after the last round.
            epsilon: What the run cost.

        Raises:
            PluginError: The audit raised.
            ResultsError: The disk is full or not writable.
        """
        if not len(self._canaries) or self._delta is None:
            return
        if self._audit.statistic == "final":
            self._scores = self._canaries.cosines(last.params - self._simulation.first.params)
        self._write()
        spec, dimension = self._simulation.spec, self._canaries.num_parameters
        stream = generator(spec.seed, "audit")
        found = self._audit.judge(self._scores, self._canaries.present, dimension, self._delta, stream)
        write_json(self._folder / VERDICT, self._verdict(found, epsilon))

    def _verdict(self, found: Audited, epsilon: Epsilon) -> Mapping[str, Any]:
        spec, plan = self._simulation.spec, self._simulation.plan
        comparable = plan.accountant.delta is None or self._delta == plan.accountant.delta
        refuted = epsilon.value is not None and comparable and found.epsilon_low > epsilon.value
        return {
            "audit": spec.audit.name,
            "options": dict(spec.audit.options),
            "num_canaries": len(self._canaries),
            "dimension": self._canaries.num_parameters,
            "rounds": spec.rounds,
            "delta": self._delta,
            "epsilon": epsilon.value,
            "epsilon_reason": epsilon.reason,
            "epsilon_audit_low": found.epsilon_low,
            "epsilon_audit_est": found.epsilon_est,
            "confidence": found.confidence,
            "refuted": refuted,
            "details": dict(found.details),
        }
