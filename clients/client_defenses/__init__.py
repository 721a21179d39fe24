"""Client defenses: what a client does against whoever looks at its message."""

from ...core.contracts import ClientDefense
from ...core.declarations import ClientDefenses
from ...core.registry import Family

CLIENT_DEFENSES: Family[ClientDefense] = Family(
    "client_defenses",
    "client defense",
    (),
    {
        "none": "gauntlet.clients.client_defenses.no_client_defense:NoClientDefense",
        "gradient_pruning": "gauntlet.clients.client_defenses.gradient_pruning:GradientPruning",
        "soteria": "gauntlet.clients.client_defenses.soteria:Soteria",
    },
    either=("change", "wrap", "examples"),
    declares=ClientDefenses,
)
