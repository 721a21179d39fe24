"""Floor 2: clipping, noise and accounting.

Every mechanism fits ``core.contracts.Privacy``; what one clips with fits ``core.contracts.Clipping``.
"""

from ..core.contracts import Audit, Clipping, Privacy
from ..core.declarations import Audits, Clippings, Mechanisms
from ..core.registry import Family

PRIVACY: Family[Privacy] = Family(
    "privacy",
    "privacy mechanism",
    ("init", "privatize", "clip", "noise", "event"),
    {
        "none": "gauntlet.privacy.no_privacy:NoPrivacy",
        "gaussian": "gauntlet.privacy.gaussian:Gaussian",
        "dp_sgd": "gauntlet.privacy.dp_sgd:DpSgd",
        "local_gaussian": "gauntlet.privacy.local_gaussian:LocalGaussian",
        "laplace": "gauntlet.privacy.laplace:Laplace",
        "discrete_gaussian": "gauntlet.privacy.discrete_gaussian:DiscreteGaussian",
        "skellam": "gauntlet.privacy.skellam:Skellam",
        "secure_sum": "gauntlet.privacy.secure_sum:SecureSum",
        "tree": "gauntlet.privacy.tree:Tree",
        "banded_mf": "gauntlet.privacy.banded_mf:BandedMF",
        "input_gaussian": "gauntlet.privacy.input_gaussian:InputGaussian",
        "diff2": "gauntlet.privacy.diff2:Diff2",
        "annealed": "gauntlet.privacy.annealed:Annealed",
    },
    declares=Mechanisms,
)

CLIPPINGS: Family[Clipping] = Family(
    "clippings",
    "clipping",
    ("shorten",),
    {
        "fixed": "gauntlet.privacy.clippings.fixed:Fixed",
        "quantile": "gauntlet.privacy.clippings.quantile:Quantile",
        "moo": "gauntlet.privacy.clippings.moo:Moo",
        "autos": "gauntlet.privacy.clippings.autos:AutoS",
        "autov": "gauntlet.privacy.clippings.autov:AutoV",
        "psac": "gauntlet.privacy.clippings.psac:Psac",
        "per_layer": "gauntlet.privacy.clippings.per_layer:PerLayer",
    },
    declares=Clippings,
)

AUDITS: Family[Audit] = Family(
    "audits",
    "audit",
    ("present", "judge"),
    {
        "none": "gauntlet.privacy.audits.no_audit:NoAudit",
        "one_shot_canaries": "gauntlet.privacy.audits.one_shot_canaries:OneShotCanaries",
        "one_run": "gauntlet.privacy.audits.one_run:OneRun",
    },
    declares=Audits,
)
