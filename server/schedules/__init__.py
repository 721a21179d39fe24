"""Schedules: who begins when, and which messages count in a round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.declarations import Schedules
from ...core.registry import Family

if TYPE_CHECKING:
    from ...core.contracts import Schedule

SCHEDULES: Family[Schedule] = Family(
    "schedules",
    "schedule",
    ("init", "starts", "arrivals"),
    {
        "synchronous": "gauntlet.server.schedules.synchronous:Synchronous",
        "buffered": "gauntlet.server.schedules.buffered:Buffered",
        "fedasync": "gauntlet.server.schedules.fedasync:FedAsync",
        "deadline": "gauntlet.server.schedules.deadline:Deadline",
        "over_select": "gauntlet.server.schedules.over_select:OverSelect",
        "quorum": "gauntlet.server.schedules.quorum:Quorum",
        "bursty": "gauntlet.server.schedules.bursty:Bursty",
    },
    declares=Schedules,
)
