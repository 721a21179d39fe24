"""Malicious servers: another model, or other parameters, so that what clients send gives their data away."""

from ...core.contracts import MaliciousServer
from ...core.declarations import Servers
from ...core.registry import Family

SERVERS: Family[MaliciousServer] = Family(
    "servers",
    "server",
    ("rebuild", "init", "plant"),
    {
        "honest": "gauntlet.attacks.servers.honest:Honest",
        "imprint": "gauntlet.attacks.servers.imprint:Imprint",
        "personal_notes": "gauntlet.attacks.servers.personal_notes:PersonalNotes",
        "trap_weights": "gauntlet.attacks.servers.trap_weights:TrapWeights",
    },
    declares=Servers,
)
