"""ADMM over noisy links: least squares by consensus, with the dual variable in the uplink or without it.

Source: Noise-robust and resource-efficient ADMM-based federated learning. arXiv:2409.13451, of which the
abstract alone was read. Every recursion here is a reconstruction from it, checked against least squares; no
number of the paper is claimed.
"""

from dataclasses import dataclass, replace
from math import isfinite, sqrt
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import LocalTraining, Sampling, Visit, Worked
from ...core.layout import Layout
from ...core.seeds import generator as seeded
from ...core.trees import State

MOST_PARAMETERS = 1024  # each client holds a matrix of its square
_STRAIGHT = 1e-3  # of a gradient: how far a quadratic loss may be off its own Hessian, in float32


@dataclass(frozen=True)
class ADMM:
    """Solve least squares exactly at every client, and agree by consensus over links that add noise.

    Client k's J_k is the sum over its examples of the loss, which must be quadratic in the parameters:
    squared errors of a linear model. With A = its Hessian + rho I, N = A^-1 and b the solution of
    A b = -(its gradient at 0), everybody sends w_k = b in round 0. From then on, w being the server's mean:

    - ``dual``: z_k += rho (w_k - w); w_k = b - N (z_k - rho w); the server keeps the last w_k + z_k / rho of
      all clients, and w is the mean over all. The one form that comes to the least squares' solution
      under partial participation, and stays there under noise.
    - ``dual_mean``: the same, but w_k alone is sent, and w is the mean over the cohort. Noise makes it drift.
    - ``dual_free``: w_k += rho N (s - w_k) with s = 2 w - (the w before); w as in ``dual_mean``. No dual
      variable. It drifts too, and keeps a bias where not everybody takes part.

    A transmission adds N(0, sigma^2) to every number, up and down. What the server keeps of a client is part
    of that client's memory here, so that it may send the change, and no row of the server's is needed. The
    noise of links protects nobody: there is no epsilon.

    Attributes:
        form: See above.
        rho: The penalty, above 0.
        noise_std: The links' sigma, in the parameters' units, at least 0.
        snr_db: Sigma follows from what is sent instead: its mean square over 10^(snr_db / 10). None: not.
        reception: How a ``dual_free`` client comes by s: ``"one"``, the server sends s; ``"two"``, it sends
            both models, each with noise of its own, of which s has 5 sigma^2.
        cohort_size: Clients drawn in each round but 0, which takes all; at least 1. None: all.
    """

    form: Literal["dual", "dual_mean", "dual_free"] = "dual"
    rho: float = 1.0
    noise_std: float = 0.01
    snr_db: float | None = None
    reception: Literal["one", "two"] = "one"
    cohort_size: int | None = None

    periodic: ClassVar[bool] = True
    plain_mean: ClassVar[bool] = True
    weighs_alike: ClassVar[bool] = True
    losses: ClassVar[tuple[str, ...]] = ("mse",)

    def __post_init__(self) -> None:
        if self.form not in ("dual", "dual_mean", "dual_free"):
            raise ValueError(f"form must be dual, dual_mean or dual_free, got {self.form!r}")
        if self.reception not in ("one", "two"):
            raise ValueError(f"reception must be one or two, got {self.reception!r}")
        if not (isfinite(self.rho) and self.rho > 0):
            raise ValueError(f"rho must be finite and above 0, got {self.rho}")
        if not (isfinite(self.noise_std) and self.noise_std >= 0):
            raise ValueError(f"noise_std must be finite and at least 0, got {self.noise_std}")
        if self.snr_db is not None and not isfinite(self.snr_db):
            raise ValueError(f"snr_db must be finite, got {self.snr_db}")
        if self.cohort_size is not None and self.cohort_size < 1:
            raise ValueError(f"cohort_size must be at least 1, got {self.cohort_size}")

    @property
    def _free(self) -> bool:
        return self.form == "dual_free"

    def up(self, layout: Layout) -> Layout:
        return layout.repeated("change" if self.form == "dual" else "local")

    def down(self, layout: Layout) -> Layout:
        both = self._free and self.reception == "two"
        return layout.repeated("params", "before") if both else layout.repeated("params")

    def memory(self, layout: Layout) -> Layout:
        names = {"dual": ("local", "dual", "kept"), "dual_mean": ("local", "dual"), "dual_free": ("local",)}
        return Layout(()).followed_by(**dict.fromkeys(names[self.form], (layout.num_parameters,)))

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, batch_size=0, local_steps=1, momentum=0.0)

    def prepare(self, visit: Visit) -> State:
        """Return (N [P, P], b [P]), float64.

        Raises:
            ValueError: The loss is not quadratic in the parameters, or these are too many.
        """
        size = len(visit.received)
        if size > MOST_PARAMETERS:
            raise ValueError(f"admm solves for at most {MOST_PARAMETERS} parameters, the model has {size}")

        def slope(at: Tensor) -> Tensor:
            return visit.gradient(at)[0].double() * visit.num_examples

        start = slope(torch.zeros(size))
        hessian = torch.stack([slope(one) - start for one in torch.eye(size)])  # [P, P]
        whole = slope(torch.ones(size)) - start
        if not (whole - hessian.sum(dim=0)).norm() <= _STRAIGHT * (hessian.norm() + start.norm()):
            raise ValueError("admm needs a loss that is quadratic in the parameters: a model that is linear")
        return solvers(hessian, -start, self.rho)

    def work(self, visit: Visit) -> Worked:
        """Return the client's model, or how what the server keeps of it changes; see the class."""
        inverse, b = visit.memory
        own = {name: value.double() for name, value in visit.own.items()}
        local, dual = self._solve(visit, own, inverse, b) if visit.round else (b, torch.zeros_like(b))
        sent = local + dual / self.rho if self.form == "dual" else local
        if visit.round:
            sent = sent + self._noise(visit, "uplink", sent)
        message = sent - own["kept"] if self.form == "dual" else sent
        now = {"local": local, "dual": dual, "kept": sent}
        memory = torch.cat([now[name] for name in own]).float()
        return Worked(message.float(), visit.losses(local.float()[None])[0], memory=memory)

    def _solve(
        self, visit: Visit, own: dict[str, Tensor], inverse: Tensor, b: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return w_k after what was received, and z_k, which nobody remembers in ``dual_free``."""
        received = visit.received.double()
        received = received + self._noise(visit, "downlink", received)
        if not self._free:
            return dual_step(own["local"], own["dual"], received, inverse, b, self.rho)
        if self.reception == "two":
            before = visit.extra.double().flatten()
            received = 2 * received - before - self._noise(visit, "second downlink", before)
        return free_step(own["local"], received, inverse, self.rho), received

    def _noise(self, visit: Visit, purpose: str, sent: Tensor) -> Tensor:
        draw = torch.from_numpy(visit.stream(f"admm {purpose}").standard_normal(len(sent)))
        if self.snr_db is None:
            return self.noise_std * draw
        return float(sent.square().mean().sqrt()) / sqrt(10 ** (self.snr_db / 10)) * draw

    def init(self) -> State:
        return {"mean": None, "before": None}

    def extra(self, params: Tensor, state: State) -> Tensor:
        """Return the mean before the last one, where clients form s; else nothing.  # [1, P] or [1, 0]"""
        if not (self._free and self.reception == "two"):
            return params.new_zeros(1, 0)
        before = state["before"]
        return torch.zeros_like(params)[None] if before is None else before[None]

    def step(self, params: Tensor, aggregate: Tensor, state: State, share: float) -> tuple[Tensor, State]:
        """Take the mean, and send it or s; where nobody was counted, stay."""
        if share == 0:
            return params, state
        old = torch.zeros_like(params) if state["mean"] is None else state["mean"]
        mean = old + share * aggregate if self.form == "dual" else aggregate.clone()
        combined = self._free and self.reception == "one"
        return 2 * mean - old if combined else mean.clone(), {"mean": mean, "before": old}

    def model(self, params: Tensor, state: State) -> Tensor:
        """Return the mean; before the first round what clients receive.  # [P]"""
        found: Tensor = params if state["mean"] is None else state["mean"]
        return found

    def sampling(self, num_clients: int) -> Sampling:
        size = num_clients if self.cohort_size is None else self.cohort_size
        if size > num_clients:
            raise ValueError(f"cohort_size {size} is larger than the population of {num_clients} clients")
        scheme = "full" if size == num_clients else "fixed_size"
        return Sampling(scheme, num_clients, size / num_clients, float(size))

    def sampling_at(self, num_clients: int, round_: int) -> Sampling:
        return (
            self.sampling(num_clients) if round_ else Sampling("full", num_clients, 1.0, float(num_clients))
        )

    def sample(
        self, num_clients: int, generator: np.random.Generator, round_: int = 0
    ) -> np.ndarray[Any, Any]:
        size = round(self.sampling_at(num_clients, round_).expected_size)
        stream = seeded(int(generator.integers(2**62)), "admm cohort", round_)
        return np.sort(stream.choice(num_clients, size, replace=False)).astype(np.int64)


def solvers(hessian: Tensor, slope: Tensor, rho: float) -> tuple[Tensor, Tensor]:
    """Return N = (H + rho I)^-1 and b = N slope, for stacked clients too, in float64.

    Args:
        hessian: H, of J_k.  # [..., P, P]
        slope: Minus the gradient of J_k at 0.  # [..., P]
        rho: The penalty.
    """
    inverse = torch.linalg.inv(hessian.double() + rho * torch.eye(slope.shape[-1], dtype=torch.float64))
    return inverse, _times(inverse, slope.double())


def dual_step(
    local: Tensor, dual: Tensor, received: Tensor, inverse: Tensor, b: Tensor, rho: float
) -> tuple[Tensor, Tensor]:
    """Return w_k and z_k after one round with a dual variable, for stacked clients too.  # [..., P] both

    Args:
        local, dual: w_k and z_k before.  # [..., P] both
        received: w as it came in.  # [..., P]
        inverse, b: See ``solvers``.  # [..., P, P] and [..., P]
        rho: The penalty.
    """
    dual = dual + rho * (local - received)
    return b - _times(inverse, dual - rho * received), dual


def free_step(local: Tensor, combined: Tensor, inverse: Tensor, rho: float) -> Tensor:
    """Return w_k after one round without a dual variable, from s as it came in.  # [..., P]"""
    return local + rho * _times(inverse, combined - local)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None])[..., 0]
