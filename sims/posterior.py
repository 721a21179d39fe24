"""What a sampler's kept samples say of the posterior, written when a run ends.

Source: effective sample size by Geyer. Practical Markov Chain Monte Carlo. Statistical Science 7(4), 1992:
autocorrelations are added up by pairs, as long as pairs are positive.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from ..clients.data.base import FederatedData
from ..core.declarations import Algorithms, declared
from ..core.layout import Layout
from ..server.assembly.loading import make_model
from .results import PREDICTIVE, VERDICT_POSTERIOR, write_file, write_json, write_table

if TYPE_CHECKING:
    from ..server.simulation import Simulation
    from ..server.state import ServerState

Array = np.ndarray[Any, Any]
TABLE, SAMPLES = "posterior.parquet", "samples.npy"
PARAMETERS = pa.schema(
    [
        ("parameter", pa.string()),
        ("mean", pa.float64()),
        ("std", pa.float64()),
        ("autocorrelation", pa.float64()),
        ("effective_samples", pa.float64()),
    ]
)
BY_SAMPLE = pa.schema(
    [
        ("sample", pa.int64()),
        ("log_likelihood", pa.float64()),
        ("predictive_log_likelihood", pa.float64()),
        ("predictive_accuracy", pa.float64()),
    ]
)
_BATCH = 4096  # test examples at a time
_COLUMNS = 256  # parameters at a time


def write_posterior(simulation: Simulation, folder: Path, last: ServerState) -> int | None:
    """Write a run's samples and what they say; return how many there are, None where nothing is sampled.

    Raises:
        ResultsError: The disk is full or not writable.
    """
    kept = declared(simulation.plan.optimizer, Algorithms.posterior)
    if kept is None:
        return None
    states: list[Tensor] = kept(last.optimizer)
    if not states:
        return 0
    samples = torch.stack(states)  # [n, P]
    model = make_model(simulation.spec, simulation.data)
    by_sample = pa.Table.from_pylist(list(predictions(model, simulation.data, samples)), schema=BY_SAMPLE)
    table = parameters(simulation.plan.layout, samples.double().numpy())
    content = BytesIO()
    np.save(content, samples.numpy(), allow_pickle=False)
    write_file(folder / SAMPLES, content.getbuffer())
    write_table(folder / TABLE, table)
    write_table(folder / PREDICTIVE, by_sample)
    write_json(folder / VERDICT_POSTERIOR, _verdict(table, by_sample))
    return len(samples)


def _verdict(table: pa.Table, by_sample: pa.Table) -> dict[str, float | int]:
    every = by_sample["log_likelihood"].to_numpy()
    effective = table["effective_samples"].to_numpy()
    return {
        "num_samples": by_sample.num_rows,
        "log_likelihood": float(every.mean()),
        "predictive_log_likelihood": by_sample["predictive_log_likelihood"][-1].as_py(),
        "predictive_accuracy": by_sample["predictive_accuracy"][-1].as_py(),
        "median_std": float(np.median(table["std"].to_numpy())),
        "median_effective_samples": float(np.median(effective)),
        "least_effective_samples": float(effective.min()),
    }


def parameters(layout: Layout, samples: Array) -> pa.Table:
    """Return one row a parameter: its posterior mean and deviation, and how freely the chain moved.

    Args:
        layout: Where each parameter lies.
        samples: In the order of the chain, float64.  # [n, P]
    """
    deviation = samples.std(axis=0, ddof=1) if len(samples) > 1 else np.zeros(samples.shape[1])
    names = [f"{slot.name}[{i}]" for slot in layout.parameters for i in range(slot.size)]
    lag, effective = mixing(samples)
    columns = {
        "parameter": names,
        "mean": samples.mean(axis=0),
        "std": deviation,
        "autocorrelation": lag,
        "effective_samples": effective,
    }
    return pa.Table.from_pydict(columns, schema=PARAMETERS)


def mixing(samples: Array) -> tuple[Array, Array]:
    """Return each parameter's autocorrelation from one sample to the next, and its effective samples.  # [P]

    A parameter that never moves has autocorrelation 1 and one effective sample.
    """
    n, p = samples.shape
    lag, effective = np.ones(p), np.ones(p)
    if n < 4:
        return lag, np.full(p, float(n))
    for at in range(0, p, _COLUMNS):
        block = samples[:, at : at + _COLUMNS] - samples[:, at : at + _COLUMNS].mean(axis=0)
        power = np.abs(np.fft.rfft(block, 2 * n, axis=0)) ** 2
        covariance = np.fft.irfft(power, axis=0)[:n]  # [n, columns]
        moves = covariance[0] > 0
        rho = covariance[:, moves] / covariance[0, moves]
        pairs = rho[: n // 2 * 2].reshape(n // 2, 2, -1).sum(axis=1)  # [n / 2, columns]
        going = np.cumprod(pairs > 0, axis=0)
        time = np.maximum(2 * (pairs * going).sum(axis=0) - 1, 1 / n)
        lag[at : at + _COLUMNS][moves] = rho[1]
        effective[at : at + _COLUMNS][moves] = np.minimum(n / time, n)
    return lag, effective


def predictions(model: nn.Module, data: FederatedData, samples: Tensor) -> Iterator[dict[str, float | int]]:
    """Yield a row a sample: its mean test log likelihood, and that of all samples so far as one predictor.

    The posterior predictive gives a class the mean of its probabilities under the samples.
    """
    layout, (x, y) = Layout.of(model.eval()), data.test()
    own = dict(model.named_parameters())
    total = torch.full((*y.shape, data.num_classes), -torch.inf, dtype=torch.float64)  # [m, ..., C]
    places = y[..., None]
    with torch.no_grad():
        for number, sample in enumerate(samples, start=1):
            for name, value in layout.views(sample).items():
                own[name].copy_(value)
            logits = torch.cat([model(x[at : at + _BATCH]) for at in range(0, len(y), _BATCH)])
            log_probabilities = torch.log_softmax(logits.double(), dim=-1)
            total = torch.logaddexp(total, log_probabilities)
            yield {
                "sample": number - 1,
                "log_likelihood": float(log_probabilities.gather(-1, places).mean()),
                "predictive_log_likelihood": float(total.gather(-1, places).mean() - np.log(number)),
                "predictive_accuracy": float((total.argmax(dim=-1) == y).double().mean()),
            }
