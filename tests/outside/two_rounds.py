"""Two rounds at once: inputs whose gradients are those that a client sent in all of the observed rounds.

Source: Geiping, Bauermeister, Droege, Moeller. Inverting Gradients. NeurIPS 2020, Equation 4: one round, by
cosine distance and signed Adam. arXiv:2003.14053. The sum over rounds of one client's same examples is ours.
"""

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from gauntlet.core.errors import PluginError
from gauntlet.core.observation import Reconstruction


@dataclass(frozen=True)
class TwoRounds:
    """Search the examples that a client trains on in every round, by the mean cosine distance over rounds.

    For a client whose one step goes over all its examples; labels must be known. Only what was sent is
    compared, so that a sparse codec costs coordinates and no truth. ``cost`` is the mean distance.

    Attributes:
        steps: Steps of signed Adam, at least 1.
        lr: Their size, in units of the inputs, above 0; a tenth of it in the last quarter.
    """

    steps: int = 400
    lr: float = 0.05

    requires: ClassVar = {"batch_size": "exact", "labels": "exact", "local_steps": "exact"}
    only: ClassVar = {"local_steps": 1}
    assumes: ClassVar = {"optimizer": "sgd", "weight_decay": 0.0, "loss": "cross_entropy"}
    least_rounds: ClassVar[int] = 1
    most_rounds: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.steps < 1 or self.lr <= 0:
            raise ValueError(f"steps must be at least 1 and lr above 0, got {self.steps} and {self.lr}")

    def check(self, observation):
        low, high = observation.value_range
        if not high - low < float("inf"):
            raise PluginError(f"TwoRounds searches a finite range of values, got {low} to {high}")

    def reconstruct(self, observations, generator):
        last = observations[-1]
        y, (low, high) = torch.tensor(sorted(last.knowledge.labels)), last.value_range
        distances = [self._distance(o, y) for o in observations]
        x = torch.from_numpy(generator.uniform(low, high, (len(y), *last.input_shape))).float()
        x.requires_grad_()
        adam = torch.optim.Adam([x], lr=self.lr)
        schedule = torch.optim.lr_scheduler.MultiStepLR(adam, [3 * self.steps // 4])
        best, least, trace = x.detach().clone(), float("inf"), []
        for _ in range(self.steps):
            cost = sum(distance(x) for distance in distances) / len(distances)
            trace.append(float(cost.detach()))
            if trace[-1] < least:
                best, least = x.detach().clone(), trace[-1]
            x.grad = torch.autograd.grad(cost, x)[0].sign()
            adam.step()
            schedule.step()
            x.data.clamp_(low, high)
        return Reconstruction(best, y, least, tuple(trace), "max_iterations", {"rounds": len(distances)})

    def _distance(self, observation, y):
        model = copy.deepcopy(observation.model).eval()
        named = dict(model.named_parameters())
        wanted = [named[slot.name].requires_grad_() for slot in observation.layout.parameters]
        sent, target = observation.support, -observation.update  # up to the step size  # [P]

        def distance(x):
            loss = functional.cross_entropy(model(x), y)
            gradients = torch.autograd.grad(loss, wanted, create_graph=True)
            gradient = torch.cat([g.reshape(-1) for g in gradients])
            return 1 - functional.cosine_similarity(gradient[sent], target[sent], dim=0)

        return distance
