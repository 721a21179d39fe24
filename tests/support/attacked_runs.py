"""Private runs with attackers, and what their accountant is told of a round."""

import torch

from gauntlet.core.updates import Context, Updates
from gauntlet.server.guarantee.release import release_of
from gauntlet.server.spec import PluginSpec, RoleSpec

C, CLIENTS, ATTACKERS = 0.5, 10, (6, 7, 8, 9)
FIXED = PluginSpec("mean", {"weighting": "fixed"})
GAUSSIAN = PluginSpec("gaussian", {"clip_norm": C, "noise_multiplier": 2.0, "delta": 1e-3})
POISSON = PluginSpec("poisson", {"sample_rate": 0.9})


def attacked(small, name="mimic", options=None, privacy=GAUSSIAN, **changes):
    role = RoleSpec(PluginSpec(name, options or {}), clients=ATTACKERS)
    settings = {"num_clients": CLIENTS, "privacy": privacy, "defense": FIXED, "roles": (role,), **changes}
    return small(**settings)


def directions(run) -> Updates:
    """Return ten updates of norm C in random directions: what clipping lets out of the clients."""
    stream = torch.Generator().manual_seed(3)
    rows = torch.randn(CLIENTS, run.plan.layout.num_parameters, generator=stream)
    rows *= (C / rows.norm(dim=1))[:, None]
    context = Context(0, run.first.params, run.plan.layout, run.plan.seed)
    size = run.plan.sampling.expected_size
    return Updates(rows, torch.arange(CLIENTS), torch.full((CLIENTS,), 20), size, context=context)


def released(run, round_=0, cohort=range(CLIENTS)):
    return release_of(run.plan, run.first.privacy, round_, cohort)
