"""Server optimisers: how an aggregate moves the global parameters."""

from ...core.contracts import ServerOptimizer
from ...core.declarations import Optimizers
from ...core.registry import Family

SERVER_OPTIMIZERS: Family[ServerOptimizer] = Family(
    "server_optimizers",
    "server optimizer",
    ("init", "step"),
    {
        "sgd": "gauntlet.server.optimizers.sgd:SGD",
        "adam": "gauntlet.server.optimizers.adam:Adam",
        "yogi": "gauntlet.server.optimizers.yogi:Yogi",
        "adagrad": "gauntlet.server.optimizers.adagrad:Adagrad",
    },
    declares=Optimizers,
)
