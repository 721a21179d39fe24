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
        "gaussian_noise": "gauntlet.clients.client_defenses.gaussian_noise:GaussianNoise",
        "laplace_noise": "gauntlet.clients.client_defenses.laplace_noise:LaplaceNoise",
        "precode": "gauntlet.clients.client_defenses.precode:Precode",
        "ats": "gauntlet.clients.client_defenses.ats:Ats",
        "mixup": "gauntlet.clients.client_defenses.mixup:Mixup",
        "instahide": "gauntlet.clients.client_defenses.instahide:Instahide",
        "outpost": "gauntlet.clients.client_defenses.outpost:Outpost",
        "censor": "gauntlet.clients.client_defenses.censor:Censor",
        "graddefense": "gauntlet.clients.client_defenses.graddefense:GradDefense",
        "frozen_layers": "gauntlet.clients.client_defenses.frozen_layers:FrozenLayers",
    },
    either=("change", "wrap", "examples"),
    declares=ClientDefenses,
)
