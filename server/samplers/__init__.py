"""Samplers: who takes part in a round."""

from ...core.contracts import Sampler
from ...core.declarations import Samplers
from ...core.registry import Family

SAMPLERS: Family[Sampler] = Family(
    "samplers",
    "sampler",
    ("sampling", "sample"),
    {
        "full": "gauntlet.server.samplers.full:Full",
        "fixed_size": "gauntlet.server.samplers.fixed_size:FixedSize",
        "poisson": "gauntlet.server.samplers.poisson:Poisson",
        "round_robin": "gauntlet.server.samplers.round_robin:RoundRobin",
    },
    declares=Samplers,
)
