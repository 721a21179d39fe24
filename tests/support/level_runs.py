"""What runs of clients at three levels have in common: models of several widths."""

from gauntlet.core.contracts import LocalTraining
from gauntlet.server.spec import PluginSpec

UNIFORM = PluginSpec("mean", {"weighting": "uniform"})
TRAINING = LocalTraining(local_epochs=2, batch_size=16, lr=0.1, momentum=0.5, weight_decay=0.01)


def hetero(**options) -> PluginSpec:
    return PluginSpec("heterofl", {"rates": (1.0, 0.5, 0.25), "mode": "fix", **options})
