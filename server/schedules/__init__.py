"""Schedules: who begins when, and which messages count in a round."""

from ...core.contracts import Schedule
from ...core.declarations import Schedules
from ...core.registry import Family

SCHEDULES: Family[Schedule] = Family(
    "schedules",
    "schedule",
    ("init", "starts", "arrivals"),
    {
        "synchronous": "gauntlet.server.schedules.synchronous:Synchronous",
        "buffered": "gauntlet.server.schedules.buffered:Buffered",
    },
    declares=Schedules,
)
