"""Samplers: who takes part in a round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.declarations import Samplers
from ...core.registry import Family

if TYPE_CHECKING:
    from ...core.contracts import Sampler

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
