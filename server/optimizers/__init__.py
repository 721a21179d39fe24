"""Server optimisers: how an aggregate moves the global parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.declarations import Optimizers
from ...core.registry import Family

if TYPE_CHECKING:
    from ...core.contracts import ServerOptimizer

SERVER_OPTIMIZERS: Family[ServerOptimizer] = Family(
    "server_optimizers",
    "server optimizer",
    ("init", "step"),
    {
        "sgd": "gauntlet.server.optimizers.sgd:SGD",
        "adam": "gauntlet.server.optimizers.adam:Adam",
        "yogi": "gauntlet.server.optimizers.yogi:Yogi",
        "adagrad": "gauntlet.server.optimizers.adagrad:Adagrad",
        "adagrad_norm": "gauntlet.server.optimizers.adagrad_norm:AdagradNorm",
        "adabelief": "gauntlet.server.optimizers.adabelief:AdaBelief",
        "grokfast": "gauntlet.server.optimizers.grokfast:Grokfast",
        "adgd": "gauntlet.server.optimizers.adgd:AdGD",
        "exadam": "gauntlet.server.optimizers.exadam:EXAdam",
        "sinkgd": "gauntlet.server.optimizers.sinkgd:SinkGD",
        "task_accumulated": "gauntlet.server.optimizers.task_accumulated:TaskAccumulated",
    },
    declares=Optimizers,
)
