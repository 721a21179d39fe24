"""Network models: who is delayed and who drops out, on a virtual clock."""

from ...core.contracts import Network
from ...core.declarations import Networks
from ...core.registry import Family

NETWORKS: Family[Network] = Family(
    "networks",
    "network",
    ("deliver",),
    {
        "ideal": "gauntlet.server.networks.ideal:Ideal",
        "links": "gauntlet.server.networks.links:Links",
    },
    declares=Networks,
)
