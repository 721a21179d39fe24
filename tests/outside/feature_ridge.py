"""Ridge regression on random features of the parameters: clients send what its normal equations need.

The features are random directions in the space of the parameters, as in Rahimi and Recht, Random Features for
Large-Scale Kernel Machines, NeurIPS 2007; the rounds are this example's own.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from gauntlet.core.contracts import Worked
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator


@dataclass(frozen=True)
class FeatureRidge:
    """Minimise mean_i f_i(R^T v) + penalty / 2 ||v||^2 over v, for losses that are quadratic in parameters.

    The server sends m random directions R. A client sends how R H_i R^T and R g_i changed since its last
    visit, H_i being the Hessian of its loss and g_i its gradient at 0; the server keeps the mean over all
    clients. Once everybody was counted, v is the ridge regression's solution, whoever takes part.

    Attributes:
        num_features: m, at least 1.
        penalty: Above 0.
    """

    num_features: int = 4
    penalty: float = 0.01

    weighs_alike: ClassVar[bool] = True

    def __post_init__(self):
        if self.num_features < 1 or self.penalty <= 0:
            raise ValueError("num_features must be at least 1, penalty above 0")

    def up(self, layout):
        return Layout(()).followed_by(gram=(self.num_features,) * 2, slope=(self.num_features,))

    def memory(self, layout):
        return self.up(layout)

    def down(self, layout):
        return layout.repeated("params").followed_by(directions=(self.num_features, layout.num_parameters))

    def schedule(self, training):
        return training

    def directions(self, size):
        drawn = generator(0, "feature ridge").standard_normal((self.num_features, size), dtype="float32")
        return torch.from_numpy(drawn)

    def extra(self, params, state):
        return self.directions(len(params)).flatten()

    def work(self, visit):
        directions = visit.shared["directions"]  # [m, P]
        slope, loss = visit.gradient(torch.zeros_like(visit.received))
        bent = torch.stack([visit.gradient(one)[0] - slope for one in directions])  # H R^T, [m, P]
        found = torch.cat([(directions @ bent.T).flatten(), directions @ slope])
        before = torch.cat([visit.own["gram"].flatten(), visit.own["slope"]])
        return Worked(found - before, loss, memory=found)

    def init(self):
        return {"total": None}

    def step(self, params, aggregate, state, share):
        total = share * aggregate if state["total"] is None else state["total"] + share * aggregate
        m = self.num_features
        gram, slope = total[: m * m].view(m, m).double(), total[m * m :].double()
        weights = torch.linalg.solve(gram + self.penalty * torch.eye(m), -slope).float()
        return weights @ self.directions(len(params)), {"total": total}
