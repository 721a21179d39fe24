"""How evenly accuracy is spread over clients: a row a model and evaluated round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from ..server.plan import Plan
    from ..server.simulation import Step

FAIRNESS = pa.schema(
    [
        ("round", pa.int64()),
        ("model", pa.string()),
        ("clients", pa.int64()),
        *((name, pa.float64()) for name in ("mean", "std", "worst", "p10", "median", "best")),
    ]
)


def fairness_rows(plan: Plan, step: Step) -> pa.Table:
    """Return how the accuracy of clients that never attacked is spread, on what each of them holds out.

    Of the global model, and of clients' own ones where they have some; no row of a regression, or where
    everybody attacks.
    """
    attacked = plan.attacked(step.outcome.round)
    honest = [one for one in step.personal if one.client_id not in attacked]
    found = []
    for model, scores in (
        ("global", [one.global_accuracy for one in honest]),
        ("own", [one.accuracy for one in honest]),
    ):
        known = np.array([score for score in scores if score is not None])
        if len(known):
            found.append({"round": step.outcome.round, "model": model, **spread(known)})
    return pa.Table.from_pylist(found, schema=FAIRNESS)


def spread(scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> dict[str, float]:
    """Return how many scores there are, their mean, standard deviation and quantiles."""
    worst, p10, median, best = np.quantile(scores, [0.0, 0.1, 0.5, 1.0]).tolist()
    mean, std = float(scores.mean()), float(scores.std())
    return {
        "clients": len(scores), "mean": mean, "std": std,
        "worst": worst, "p10": p10, "median": median, "best": best,
    }  # fmt: skip
