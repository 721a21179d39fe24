"""Floor 2: clipping, noise, accounting and audits. Every mechanism fits ``core.contracts.Privacy``."""

from ..core.contracts import Audit, Privacy
from ..core.registry import Family

PRIVACY: Family[Privacy] = Family(
    "privacy",
    "privacy mechanism",
    ("init", "privatize", "clip", "noise", "event"),
    {
        "none": "gauntlet.privacy.no_privacy:NoPrivacy",
        "gaussian": "gauntlet.privacy.gaussian:Gaussian",
        "local_gaussian": "gauntlet.privacy.local_gaussian:LocalGaussian",
    },
)

AUDITS: Family[Audit] = Family(
    "audits",
    "audit",
    ("present", "judge"),
    {
        "none": "gauntlet.privacy.no_audit:NoAudit",
        "one_shot_canaries": "gauntlet.privacy.one_shot_canaries:OneShotCanaries",
        "one_run": "gauntlet.privacy.one_run:OneRun",
    },
)
