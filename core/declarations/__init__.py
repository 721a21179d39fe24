"""What a plug-in may say of itself besides its verb: one table a family.

A declaration is a public class attribute, field, property or method of the plug-in. Each row of a table has
its name, what values are allowed, the careful answer that holds of a plug-in that is silent, and its meaning
in one line. ``docs/declarations.md`` shows them all.
"""

from .algorithms import Algorithms, Optimizers, Samplers
from .attacks import DataAttacks, LeakageAttacks, Servers, UpdateAttacks
from .clients import ClientData, ClientDefenses, Codecs, Datasets, Models, Partitions, Tasks, attackers
from .declaration import Declaration, Table, declared, declares, name_of
from .defenses import Defenses, PreAggregations
from .privacy import Audits, Clippings, Mechanisms, clipped_at, shows_sums_alone, works_in_steps
from .server import Networks, Schedules
from .trackers import Trackers

TABLES: dict[str, type[Table]] = {
    "datasets": Datasets,
    "partitions": Partitions,
    "tasks": Tasks,
    "models": Models,
    "algorithms": Algorithms,
    "client_defenses": ClientDefenses,
    "codecs": Codecs,
    "data_attacks": DataAttacks,
    "update_attacks": UpdateAttacks,
    "leakage_attacks": LeakageAttacks,
    "inference_attacks": LeakageAttacks,
    "servers": Servers,
    "defenses": Defenses,
    "pre_aggregations": PreAggregations,
    "privacy": Mechanisms,
    "clippings": Clippings,
    "audits": Audits,
    "samplers": Samplers,
    "schedules": Schedules,
    "networks": Networks,
    "server_optimizers": Optimizers,
    "trackers": Trackers,
}
"""From a family's name to its table; a family without one has nothing to declare."""

__all__ = [
    "TABLES",
    "Algorithms",
    "Audits",
    "ClientData",
    "ClientDefenses",
    "Clippings",
    "Codecs",
    "DataAttacks",
    "Datasets",
    "Declaration",
    "Defenses",
    "LeakageAttacks",
    "Mechanisms",
    "Models",
    "Networks",
    "Optimizers",
    "Partitions",
    "PreAggregations",
    "Samplers",
    "Schedules",
    "Servers",
    "Table",
    "Tasks",
    "Trackers",
    "UpdateAttacks",
    "attackers",
    "clipped_at",
    "declared",
    "declares",
    "name_of",
    "shows_sums_alone",
    "works_in_steps",
]
