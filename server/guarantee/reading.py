"""What a run's epsilon must be read with, and what is to be said about its delta before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.declarations import Mechanisms, declared

if TYPE_CHECKING:
    from ..plan import Plan


def stated(plan: Plan) -> dict[str, Any]:
    """Return the terms of a run's guarantee, as a manifest holds them.

    Keys: ``unit``, ``trust_model``, ``relation``, ``public`` (what neighbours have in common because
    everybody may know it), ``delta`` (or None), ``warning`` (one line, or None).
    """
    return {
        "unit": plan.privacy.unit,
        "trust_model": plan.privacy.trust_model,
        "relation": declared(plan.privacy, Mechanisms.relation),
        "public": list(declared(plan.privacy, Mechanisms.public)),
        "delta": plan.accountant.delta,
        "warning": delta_warning(plan),
    }


def delta_warning(plan: Plan) -> str | None:
    """Return in one line why a run's delta is too large to mean much, or None where it is not."""
    accountant = plan.accountant
    if not accountant.delta_warning:
        return None
    units = "clients" if plan.privacy.unit == "client" else "examples"
    return (
        f"delta = {accountant.delta:g} is not below 1 / {accountant.num_clients} (the number of {units}): "
        "giving one of them away entirely would pass as private"
    )
