"""Network models: who is delayed and who drops out, on a virtual clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.declarations import Networks
from ...core.registry import Family

if TYPE_CHECKING:
    from ...core.contracts import Network

NETWORKS: Family[Network] = Family(
    "networks",
    "network",
    ("deliver",),
    {
        "ideal": "gauntlet.server.networks.ideal:Ideal",
        "links": "gauntlet.server.networks.links:Links",
        "durations": "gauntlet.server.networks.durations:Durations",
        "bursts": "gauntlet.server.networks.bursts:Bursts",
        "trace": "gauntlet.server.networks.trace:Trace",
        "script": "gauntlet.server.networks.script:Script",
    },
    declares=Networks,
)
