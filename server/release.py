"""What a round proves of privacy, given all that happens between clipping and noise."""

from ..core.contracts import NoGuarantee, Release, clipped_at, declared
from ..core.trees import State
from .plan import Plan


def release_of(plan: Plan, privacy: State) -> Release | NoGuarantee:
    """Return what the round that left ``privacy`` behind released, or why it guarantees nothing."""
    sensitivity = declared(plan.defense, "sensitivity", None)
    clip_norm = clipped_at(plan.privacy, privacy)
    linear = declared(plan.defense, "linear", False) and not plan.pre_aggregations
    trusts_the_server = plan.privacy.trust_model != "local"
    moved = None
    if sensitivity is not None and clip_norm is not None and not plan.pre_aggregations:
        moved = sensitivity(clip_norm, plan.sampling.expected_size)
    if declared(plan.privacy, "norm", 2) != 2 and not linear:
        moved = None  # what a defense declares is an L2 norm
    if plan.privacy.unit == "example" and trusts_the_server and not linear:
        moved = None  # what it declares is how far a whole client moves the aggregate
    release = plan.privacy.event(moved, plan.sampling.expected_size, privacy)
    if release == NoGuarantee("aggregator") and linear:
        return NoGuarantee("weights")  # a sum, but of what depends on the clients' data or on who came
    if release == NoGuarantee("no_mechanism"):
        return NoGuarantee(declared(plan.optimizer, "unproved", "no_mechanism"))
    if isinstance(release, Release) and trusts_the_server and not declared(plan.network, "blind", False):
        return NoGuarantee("selection")  # who arrives in time depends on how much data a client has
    return release
