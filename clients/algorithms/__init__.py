"""Local rules: what an algorithm changes about local SGD."""

from ...core.contracts import LocalRule
from ...core.registry import Family

ALGORITHMS: Family[LocalRule] = Family(
    "algorithms",
    "algorithm",
    ("schedule", "correct"),
    {
        "fedavg": "gauntlet.clients.algorithms.fedavg:FedAvg",
        "fedprox": "gauntlet.clients.algorithms.fedprox:FedProx",
        "gradient_descent": "gauntlet.clients.algorithms.gradient_descent:GradientDescent",
    },
)
