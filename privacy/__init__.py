"""Floor 2: clipping, noise and accounting. Every mechanism fits ``core.contracts.Privacy``."""

from ..core.contracts import Privacy
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
