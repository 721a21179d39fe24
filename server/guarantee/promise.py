"""Say, before anything runs, why a run cannot keep its privacy budget, and what would have to change.

A budget is an ``epsilon`` of the mechanism or the run's ``max_epsilon``. Without one (``noise_multiplier``) a
run whose rounds prove nothing runs all the same, and its tables say why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...clients.codecs.parts.sizes import max_frame
from ...core.contracts import NoGuarantee
from ...core.declarations import Algorithms, Mechanisms, Samplers, declared
from ...core.seeds import generator
from ...privacy.accounting import amplifies, charging_rule
from ..cohort.sampling import sample_cohort
from .guard import projected
from .release import release_of
from .sight import exposed

if TYPE_CHECKING:
    from ...clients.data.base import FederatedData
    from ..plan import Plan
    from ..spec import RunSpec
    from ..state import ServerState

_WITHOUT = "with noise_multiplier, and neither epsilon nor max_epsilon, it runs without a guarantee"

_WHY = {
    "weights": "defense '{defense}' weighs clients by their examples, or divides by who came: set "
    "defense.weighting = 'fixed'",
    "aggregator": "it is not known how far one client moves what defense '{defense}'{mixed} makes: use "
    "defense mean with weighting = 'fixed' and no pre-aggregation, or privacy local_gaussian, after which "
    "any defense keeps the guarantee",
    "selection": "who comes in time through network '{network}' depends on a client's data: leave out the "
    "deadline (network.policy = 'wait_all')",
    "sampling_mismatch": "no analysis is valid for sampler '{sampler}' with privacy '{privacy}': use sampler "
    "poisson or full, or set privacy.relation = 'zero_out'",
    "attackers_see_updates": "attack {attacks} would see honest clients' updates, or what the server "
    "remembers of them: give it knowledge = 'colluders' where it has that option, or use privacy "
    "local_gaussian or dp_sgd",
    "attackers_see_cohort": "what attack {attacks} sends follows from who came (sampled draws its clients "
    "from the cohort; colluders of a cohort of fixed size tell who is missing): name its clients or give "
    "their count, and use sampler poisson or full, or set privacy.relation = 'zero_out' with sampler full or "
    "fixed_size",
    "observer": "server '{server}' is malicious, and central and distributed privacy trust the server: use "
    "privacy local_gaussian or dp_sgd, or server honest",
    "client_memory": "{remembers} earlier rounds, which no analysis with this sampling allows for: use "
    "{without}, or sampler full with privacy gaussian",
    "schedule": "under schedule '{schedule}' others begin in the place of a client that stays away: set "
    "privacy.relation = 'zero_out', or use schedule synchronous",
    "private_clip": "what moves the clip norm goes out without noise: leave out count_noise_std = 0",
    "uncalibrated_noise": "its noise is not charged: set privacy.calibrated = true",
    "extra_release": "algorithm '{algorithm}' tells the server which labels each client holds, which nothing "
    "protects: switch that off (heterofl: mask = false)",
    "facts": "algorithm '{algorithm}' has each client state {facts} beside its message, which nothing "
    "protects: use one without facts, such as fedavg",
    "fitted_inputs": "{fitted} came from training examples, which nothing protects: give them from public "
    "knowledge (csv: ranges, categories, classes; adult, heart_disease: scale)",
    "no_mechanism": "privacy '{privacy}' adds no noise: choose a mechanism and its noise",
    "no_delta": "no delta is given: set privacy.delta",
}


def broken_promise(plan: Plan, spec: RunSpec, first: ServerState, data: FederatedData) -> str | None:
    """Return why a run's budget cannot hold, as far as that is known before the first round, or None.

    Roles, cohorts and drop-outs are those that the run will really have: they follow from its seed. The line
    says what was asked for, why it cannot hold, and the way out.
    """
    asked = _asked(spec)
    if asked is None:
        return None
    reason = foreseen(plan, first, spec.rounds)
    if reason is None:
        why = _few_shares(plan, data, spec.rounds)
    else:
        told = "facts" if reason == "extra_release" and plan.exchange.statement else reason
        facts = ", ".join(plan.exchange.statement.names)
        why = _WHY.get(told, f"no guarantee holds ({reason})").format(
            **_names(spec), **_memories(plan, spec), facts=facts, fitted=", ".join(plan.fitted_inputs)
        )
    return f"{asked} was asked for, and {why}; {_WITHOUT}" if why else None


def _asked(spec: RunSpec) -> str | None:
    """Return the budget as the scenario gave it, or None."""
    if spec.max_epsilon is not None:
        return f"max_epsilon = {spec.max_epsilon:g}"
    epsilon = spec.privacy.options.get("epsilon")
    return None if epsilon is None else f"epsilon = {epsilon:g}"


def foreseen(plan: Plan, first: ServerState, rounds: int) -> str | None:
    """Return why some round of the run will leave no guarantee, or None where nothing is known against it."""
    if reason := projected(plan, first).reason:
        return reason
    drawn = any(role.sampled is not None for role in plan.poisons)
    if not (plan.attacks or drawn or declared(plan.sampler, Samplers.sampling_at)):
        return None  # every round is like the first
    release = release_of(plan, first.privacy, 0, _cohort(plan, 0))
    if isinstance(release, NoGuarantee):
        return release.reason
    rules = {charging_rule(release, plan.at(r).sampling) for r in range(rounds)}
    if len(rules) > 1 or None in rules:
        return "sampling_mismatch"
    amplified = amplifies(release, plan.sampling)
    each = (exposed(plan, r, _cohort(plan, r), release.relation, amplified) for r in range(rounds))
    return next(filter(None, each), None)


def _cohort(plan: Plan, round_: int) -> list[int]:
    plan = plan.at(round_)
    drawn = sample_cohort(plan.sampler, plan.sampling, plan.seed, round_)
    found: list[int] = plan.canaries.cohort(drawn).tolist()
    return found


def _few_shares(plan: Plan, data: FederatedData, rounds: int) -> str | None:
    """Return how often fewer honest clients add noise than are counted on, and the way out; else None."""
    least = declared(plan.privacy, Mechanisms.least_shares)
    if least is None:
        return None
    missing = [
        max(least(plan.at(r).sampling.expected_size) - _shares(plan, data, r), 0) for r in range(rounds)
    ]
    if not any(missing):
        return None
    size, given = plan.sampling.expected_size, int(declared(plan.privacy, Mechanisms.max_dropouts))
    worst = given + max(missing)
    way = f"set privacy.max_dropouts = {worst}" if worst < size else "use a sampler whose cohorts are fixed"
    return (
        f"in {sum(n > 0 for n in missing)} of {rounds} rounds fewer honest clients add their share of the "
        f"noise than the {least(size)} that are counted on (a cohort varies, a message is lost, or an "
        f"attacker adds none): {way}"
    )


def _shares(plan: Plan, data: FederatedData, round_: int) -> int:
    """Return how many honest clients' messages, with their noise, will arrive in a round."""
    cohort, malicious = _cohort(plan, round_), plan.malicious(round_)
    examples = np.array(
        [data.num_examples(i) if i < plan.canaries.first else 1 for i in cohort], dtype=np.int64
    )
    size = max_frame(plan.codec, plan.exchange.up) + plan.bytes_beside_up
    chance = generator(plan.seed, "network", round_)
    fate = plan.network.deliver(examples, plan.bytes_down, np.full(len(cohort), size), chance)
    return sum(bool(came) and i not in malicious for i, came in zip(cohort, fate.arrived, strict=True))


def _memories(plan: Plan, spec: RunSpec) -> dict[str, str]:
    """Return who remembers earlier rounds, as the start of a line, and what would not."""
    kept = plan.exchange.memory.parameters and not declared(plan.exchange.rule, Algorithms.memory_stays)
    found = {f"codec '{spec.codec}'": "identity"} if plan.codec.init() is not None else {}
    found |= {f"algorithm '{spec.algorithm.name}'": "fedavg"} if kept else {}
    verb = "remembers" if len(found) == 1 else "remember"
    whose = "one without a memory, such as" if len(found) == 1 else "ones without a memory, such as"
    return {
        "remembers": f"{' and '.join(found) or 'what clients send'} {verb if found else 'follows from'}",
        "without": f"{whose} {' and '.join(found.values() or ['identity and fedavg'])}",
    }


def _names(spec: RunSpec) -> dict[str, str]:
    """Return what the lines above call a run's ingredients."""
    before = ", ".join(f"'{plugin.name}'" for plugin in spec.pre_aggregations)
    return {
        "defense": str(spec.defense),
        "mixed": f" behind pre-aggregation {before}" if before else "",
        "network": str(spec.network),
        "sampler": str(spec.sampler),
        "schedule": spec.schedule.name,
        "server": spec.server.name,
        "codec": str(spec.codec),
        "algorithm": spec.algorithm.name,
        "privacy": spec.privacy.name,
        "attacks": " or ".join(f"'{role.plugin.name}'" for role in spec.roles),
    }
