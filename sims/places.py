"""Where the tables of plug-ins stand, and what each family is: read without loading any of them."""

from collections.abc import Mapping

PLACES: Mapping[str, str] = {
    "datasets": "gauntlet.clients.data:DATASETS",
    "partitions": "gauntlet.clients.data:PARTITIONS",
    "models": "gauntlet.clients.models:MODELS",
    "algorithms": "gauntlet.clients.algorithms:ALGORITHMS",
    "client_defenses": "gauntlet.clients.client_defenses:CLIENT_DEFENSES",
    "tasks": "gauntlet.clients.tasks:TASKS",
    "codecs": "gauntlet.clients.codecs:CODECS",
    "data_attacks": "gauntlet.attacks.poisoning:DATA_ATTACKS",
    "update_attacks": "gauntlet.attacks.poisoning:UPDATE_ATTACKS",
    "leakage_attacks": "gauntlet.attacks.leakage:LEAKAGE_ATTACKS",
    "inference_attacks": "gauntlet.attacks.leakage:INFERENCE_ATTACKS",
    "servers": "gauntlet.attacks.servers:SERVERS",
    "defenses": "gauntlet.defenses:DEFENSES",
    "pre_aggregations": "gauntlet.defenses:PRE_AGGREGATIONS",
    "privacy": "gauntlet.privacy:PRIVACY",
    "clippings": "gauntlet.privacy:CLIPPINGS",
    "audits": "gauntlet.privacy:AUDITS",
    "samplers": "gauntlet.server.samplers:SAMPLERS",
    "schedules": "gauntlet.server.schedules:SCHEDULES",
    "networks": "gauntlet.server.networks:NETWORKS",
    "server_optimizers": "gauntlet.server.optimizers:SERVER_OPTIMIZERS",
    "trackers": "gauntlet.sims.trackers:TRACKERS",
}
"""From a family's name to ``package:NAME`` of its table."""

SENTENCES: Mapping[str, str] = {
    "datasets": "What clients learn from.",
    "partitions": "How examples are spread over clients.",
    "models": "What clients train.",
    "algorithms": "How clients train, and what they send.",
    "client_defenses": "What clients do against leakage.",
    "tasks": "What is learnt: loss and measures.",
    "codecs": "How messages become bytes, up and down.",
    "data_attacks": "Attacks on clients' examples.",
    "update_attacks": "Attacks on clients' updates.",
    "leakage_attacks": "Rebuild examples from messages.",
    "inference_attacks": "Infer labels, membership, properties.",
    "servers": "Malicious servers.",
    "defenses": "Robust aggregation.",
    "pre_aggregations": "What comes before a defense.",
    "privacy": "Clipping and noise, with an epsilon.",
    "clippings": "Clip norms of a privacy mechanism.",
    "audits": "Measure epsilon from outside.",
    "samplers": "Who takes part in a round.",
    "schedules": "Whose messages count when.",
    "networks": "Delays and losses.",
    "server_optimizers": "What the server does with the aggregate.",
    "trackers": "Tools that show runs.",
}
"""What the members of each family are for."""
