"""What privacy for single examples must know of the clients: how many each one holds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..clients.data.base import FederatedData
from ..clients.minibatches import step_sampling
from ..core.contracts import LocalTraining
from ..core.declarations import Mechanisms, declared, works_in_steps
from ..core.errors import ScenarioError
from ..core.registry import options_of
from ..privacy import PRIVACY
from ..privacy.calibration import calibrate_steps
from .ingredients import make_rule, make_sampling
from .plan import Plan
from .spec import PluginSpec, RunSpec


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


def protects_examples(spec: RunSpec) -> bool:
    """Return whether a run's privacy mechanism protects single examples inside of local steps."""
    return works_in_steps(PRIVACY.find(spec.privacy.name))


def with_known_noise(spec: RunSpec, data: FederatedData) -> RunSpec:
    """Return a run whose mechanism for examples has a noise multiplier in the place of its epsilon.

    Raises:
        PluginError: Options that the mechanism does not take.
        ScenarioError: An audit by made-up clients, which says nothing about examples.
    """
    if not protects_examples(spec):
        return spec
    if spec.audit.name != "none":
        raise ScenarioError(
            f"audit '{spec.audit.name}' adds made-up clients, and privacy '{spec.privacy.name}' protects "
            "single examples; audit a mechanism whose unit is the client"
        )
    mechanism = PRIVACY.build(spec.privacy.name, spec.privacy.options)
    if declared(mechanism, Mechanisms.noise_multiplier) is not None:
        return spec
    local = _local_steps(spec, data, mechanism)
    apart = make_sampling(spec)[1].min_separation
    known = calibrate_steps(mechanism, *local.of(_counts(data)[0]), -(-spec.rounds // apart))
    options = {k: v for k, v in options_of(known).items() if v is not None}
    return replace(spec, privacy=PluginSpec(spec.privacy.name, options))


def with_local_steps(plan: Plan, spec: RunSpec, data: FederatedData) -> Plan:
    """Return a plan whose accountant counts examples where they, or what they are cut from, are protected.

    Where they are protected inside of local steps, it charges those.
    """
    if plan.privacy.unit not in ("example", "cell"):
        return plan
    local = _local_steps(spec, data, plan.privacy) if protects_examples(spec) else None
    accountant = replace(plan.accountant, local=local, num_clients=_counts(data)[1])
    return replace(plan, accountant=accountant)


def _local_steps(spec: RunSpec, data: FederatedData, mechanism: object) -> LocalSteps:
    training = make_rule(spec).schedule(spec.training)
    return LocalSteps(data, training, declared(mechanism, Mechanisms.poisson))


def _counts(data: FederatedData) -> tuple[list[int], int]:
    """Return the different numbers of examples that clients hold, and that of all together."""
    counts = np.array([data.num_examples(i) for i in range(data.num_clients)])
    return np.unique(counts).tolist(), int(counts.sum())
