"""What privacy for single examples must know of the clients: how many each one holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...clients.training.minibatches import step_sampling
from ...core.declarations import Mechanisms, declared
from ...core.options import options_of
from ...privacy.accounting.calibration import calibrate_steps
from ..spec import PluginSpec, RunSpec

if TYPE_CHECKING:
    from ...clients.data.base import FederatedData
    from ...core.contracts import LocalTraining, Privacy
    from ..assembly.parts import Parts
    from ..plan import Plan


@dataclass(frozen=True)
class LocalSteps:
    """From client ids to each one's sampling rate and number of draws in one round, for an accountant.

    Attributes:
        data: The clients' examples.
        training: How clients run SGD, as their algorithm schedules it.
        poisson: Whether batches are Poisson samples.
    """

    data: FederatedData
    training: LocalTraining
    poisson: bool

    def __call__(self, cohort: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the rates and the draws of a cohort, float64.  # [K] both"""
        return self.of([self.data.num_examples(int(i)) for i in cohort])

    def of(self, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the same for clients that hold so many examples."""
        found = [step_sampling(n, self.training, self.poisson) for n in counts]
        rates = torch.tensor([one.rate for one in found], dtype=torch.float64)
        return rates, torch.tensor([one.draws for one in found], dtype=torch.float64)


def known_noise(parts: Parts, data: FederatedData) -> tuple[Privacy, RunSpec]:
    """Return the mechanism and the run, for examples with a noise multiplier in the place of epsilon."""
    mechanism, spec = parts.mechanism, parts.spec
    if not parts.in_steps or declared(mechanism, Mechanisms.noise_multiplier) is not None:
        return mechanism, spec
    local = _local_steps(parts, data, mechanism)
    apart = parts.sampling.min_separation
    known = calibrate_steps(mechanism, *local.of(_counts(data)[0]), -(-spec.rounds // apart))
    options = {k: v for k, v in options_of(known).items() if v is not None}
    return known, replace(spec, privacy=PluginSpec(spec.privacy.name, options))


def with_local_steps(plan: Plan, parts: Parts, data: FederatedData) -> Plan:
    """Return a plan whose accountant counts examples where they, or what they are cut from, are protected.

    Where they are protected inside of local steps, it charges those.
    """
    if plan.privacy.unit not in ("example", "cell"):
        return plan
    local = _local_steps(parts, data, plan.privacy) if parts.in_steps else None
    accountant = replace(plan.accountant, local=local, num_clients=_counts(data)[1])
    return replace(plan, accountant=accountant)


def _local_steps(parts: Parts, data: FederatedData, mechanism: object) -> LocalSteps:
    training = parts.algorithm.schedule(parts.spec.training)
    return LocalSteps(data, training, declared(mechanism, Mechanisms.poisson))


def _counts(data: FederatedData) -> tuple[list[int], int]:
    """Return the different numbers of examples that clients hold, and that of all together."""
    counts = np.array([data.num_examples(i) for i in range(data.num_clients)])
    return np.unique(counts).tolist(), int(counts.sum())
