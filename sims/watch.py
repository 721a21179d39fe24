"""Which client a probe watches, in which rounds, and whether what it is to look at can be attacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from ..attacks.leakage import INFERENCE_ATTACKS, LEAKAGE_ATTACKS, infers
from ..attacks.leakage.parts.requirements import name_of, refuse_number, refuse_unmet, rounds_of, takes_labels
from ..core.contracts import Groups
from ..core.declarations import Algorithms, DataAttacks, Mechanisms, declared, shows_sums_alone
from ..core.errors import PluginError, ScenarioError
from ..core.guards import guard
from ..core.leakage_knowledge import LeakageKnowledge
from ..core.observation import Truth
from ..core.registry import Family
from ..server.cohort.sampling import sample_cohort
from ..server.mail.planting import plant
from ..server.recording.candidates import auxiliary_of, candidates_of
from ..server.recording.observed_sum import counts_examples
from ..server.recording.probe import blank_observation, knowledge_of
from ..server.recording.steps import steps_of, told_of_steps
from .sections import Probe
from .told_records import refuse_records

if TYPE_CHECKING:
    from torch import Tensor

    from ..server.simulation import Simulation


@dataclass
class Watch:
    """One probe and how far it came.

    Attributes:
        probe: What the scenario says.
        waiting: Rounds, ascending, from each of which on the probe has still to see a client.
        least_rounds, most_rounds: How many rounds of one client the attack takes together.
        seen: (round, client) of each recording.
    """

    probe: Probe
    waiting: list[int]
    least_rounds: int = 1
    most_rounds: int = 1
    seen: list[tuple[int, int]] = field(default_factory=list)

    def due(self, round_: int) -> bool:
        """Return whether the probe waits for a client in this round."""
        return bool(self.waiting) and self.waiting[0] <= round_

    @property
    def together(self) -> bool:
        """Whether the attack takes several rounds of one client at once."""
        return self.most_rounds > 1

    @property
    def client(self) -> int | None:
        """The client that the probe must watch; None where any honest one will do."""
        if self.probe.client is None and self.together and self.seen:
            return self.seen[0][1]
        return self.probe.client

    def done(self, round_: int, client_id: int) -> None:
        """Note a recording of this round."""
        self.waiting = [wanted for wanted in self.waiting if wanted > round_]
        self.seen.append((round_, client_id))

    def record(self) -> dict[str, Any]:
        """Return what the manifest holds of the probe: what it is, and what it saw and did not see."""
        return {
            "probe": self.probe.identity(),
            **self.probe.record(),
            "seen": [list(pair) for pair in self.seen],
            "unseen": self.waiting,
        }

    def complaint(self) -> str | None:
        """Return a warning, in one line, where the probe never saw what it waited for."""
        if not self.waiting:
            return None
        who = "an honest client" if self.client is None else f"client {self.client}"
        rounds = ", ".join(map(str, self.waiting))
        what = "saw nothing" if not self.seen else "did not see all"
        few = (
            f", and the attack needs {self.least_rounds} rounds" if len(self.seen) < self.least_rounds else ""
        )
        return (
            f"warning: probe '{self.probe.name}' ({self.probe.identity()}) {what}: {who} took part in no "
            f"round that was run from round {rounds} on{few if self.together else ''}"
        )


def make_watches(probes: list[Probe], simulation: Simulation) -> list[Watch]:
    """Return a run's probes, all checked.

    Raises:
        PluginError: A probe names no leakage or inference attack, or options that it does not take, or an
            attack that could make nothing of what its client will send.
        ScenarioError: A probe watches a client that does not exist, or rounds that never come, or stands
            there twice.
    """
    if probes:
        _refuse_other_runs(probes[0].name, simulation)
    identities = [probe.identity() for probe in probes]
    for probe, identity in zip(probes, identities, strict=True):
        if identities.count(identity) > 1:
            raise ScenarioError(f"probe '{probe.name}' stands there twice with the same keys; leave one out")
        _refuse_hidden(probe, simulation)
        _refuse_blind(probe, simulation)
    return [_watch(probe) for probe in probes]


def _watch(probe: Probe) -> Watch:
    """Return a probe that has seen nothing yet."""
    _, family = _family(probe)
    least, most = rounds_of(family.build(probe.name, probe.spec().options))
    return Watch(probe, sorted(set(probe.rounds)), least, most)


def client_of(watch: Watch, simulation: Simulation, round_: int, cohort: list[int]) -> int | None:
    """Return whom a probe watches among the clients of a round: by default the first honest one.

    Where several rounds are attacked together, the client that was seen first is watched from then on.
    Canaries of an audit have no examples, and a client counts as honest that never runs an attack, nor
    has poor data. A client whose batches all came out empty sends nothing of an example, and is passed
    over.
    """
    if watch.client is not None:
        wanted = [watch.client] if watch.client in cohort else []
    else:
        plan = simulation.plan
        roles = (*plan.poisons, *plan.attacks)
        bad = {client for role in roles for client in (*role.clients, *role.attackers(round_))}
        wanted = sorted(c for c in cohort if c < simulation.spec.num_clients and c not in bad)
    return next((c for c in wanted if _has_examples(simulation, c, round_)), None)


def _has_examples(simulation: Simulation, client: int, round_: int) -> bool:
    """Return whether any example is in the client's batches: where chance draws them, all can be empty."""
    kernel = simulation.kernel
    return any(map(len, kernel.batches(client, round_, len(kernel.examples(client, round_)[1]))))


def _joined(truths: Sequence[Truth]) -> Truth:
    """Return what several clients train on as if it were one's."""

    def both(parts: Sequence[Truth]) -> tuple[Tensor, Tensor]:
        return torch.cat([t.x for t in parts]), torch.cat([t.y for t in parts])

    altered = any(t.altered is not None for t in truths)
    trained = both([t.trained() for t in truths]) if altered else None
    return Truth(*both(truths), altered=trained, framing=truths[0].framing)


def known(
    probe: Probe, simulation: Simulation, clients: Sequence[int], round_: int
) -> tuple[LeakageKnowledge, Truth]:
    """Return what the attacker is told of a message, and what the clients behind it really train on.

    Args:
        probe: What the scenario says.
        simulation: The run.
        clients: The sender; of a sum all whose messages are in it, canaries left out.
        round_: The round in which they began.
    """
    kernel, plan = simulation.kernel, simulation.plan
    training = replace(kernel.training, loss=simulation.evaluator.task.loss_name(kernel.training.loss))
    truths = [kernel.truth(client, round_) for client in clients]
    truth = _joined(truths)
    steps = {len(steps_of(simulation, client, round_)) for client in clients}
    told, besides = probe.labels_known, _besides(simulation, round_)
    drawn = declared(plan.privacy, Mechanisms.poisson)
    drawn = drawn or (shows_sums_alone(plan.privacy) and not counts_examples(plan))
    facts = kernel.rule, besides, simulation.first.params, drawn, probe.defense_known
    same, server = steps.pop() if len(steps) == 1 else None, plan.inserted.get("server")
    sums = shows_sums_alone(plan.privacy)
    of_steps = () if sums else told_of_steps(simulation, clients[0], round_, truth, told)
    knowledge = knowledge_of(simulation.spec, training, truth, same, told, *facts, server, *of_steps)
    if probe.auxiliary:
        knowledge = replace(knowledge, auxiliary=auxiliary_of(simulation, probe.auxiliary, truth))
    if probe.candidates != "none":
        several, alike = len(set(probe.rounds)) > 1, probe.candidates == "same_classes"
        drawn_for = clients[0], round_, truth, probe.auxiliary, several, alike
        candidates, members = candidates_of(simulation, *drawn_for)
        return replace(knowledge, candidates=candidates), replace(truth, members=members)
    return knowledge, truth


def in_a_sum(simulation: Simulation, client: int, ids: Sequence[int]) -> list[int]:
    """Return the clients behind what is seen of one: itself, or of a sum those of ``ids`` with examples."""
    if not shows_sums_alone(simulation.plan.privacy):
        return [client]
    return [i for i in ids if i < simulation.spec.num_clients]


def _besides(simulation: Simulation, round_: int) -> tuple[Groups, ...]:
    """Return what a rule that exchanges more than parameters is given besides in a client's first step.

    In round 0 what server and clients begin with. Later on the attacker is told of no client's memory, so
    that anything else may stand for it.
    """
    plan, first = simulation.plan, simulation.first
    if plan.exchange.rule is None:
        return ()
    extra, memory = plan.extra(first.params, first.optimizer), plan.exchange.first(first.params)
    shared, own = plan.exchange.besides(extra, memory[None] + float(round_ > 0))
    assert shared is not None
    assert own is not None
    return shared, {name: kept[0] for name, kept in own.items()}


def _refuse_other_runs(name: str, simulation: Simulation) -> None:
    """Refuse runs in which no message of local SGD on labelled examples is seen."""
    facts = simulation.evaluator.task.facts
    if not facts.num_classes:
        raise ScenarioError(
            f"probe '{name}' rebuilds labelled examples, and {facts.name} has {facts.labels}; leave it out"
        )
    rule = simulation.kernel.rule
    if any(declared(rule, way) is not None for way in (Algorithms.work, Algorithms.keeps)):
        raise ScenarioError(
            f"probe '{name}' knows messages of local SGD, and algorithm '{simulation.spec.algorithm.name}' "
            "sends something else; leave it out"
        )


def _refuse_blind(probe: Probe, simulation: Simulation) -> None:
    """Refuse a probe that could make nothing of what its clients will send, or that never looks."""
    spec = simulation.spec
    if probe.client is not None and probe.client >= spec.num_clients:
        last = spec.num_clients - 1
        raise ScenarioError(
            f"probe '{probe.name}': client {probe.client} does not exist; allowed: 0 to {last}"
        )
    kind, family = _family(probe)
    attack = guard(family.build(probe.name, probe.spec().options), f"{kind} '{probe.name}'")
    first = min(probe.rounds)
    if first >= spec.rounds:
        raise ScenarioError(
            f"probe '{probe.name}': round {first} never comes; allowed: 0 to {spec.rounds - 1}"
        )
    if probe.labels_known and not takes_labels(attack):
        raise PluginError(
            f"probe '{probe.name}': labels_known = true tells it the labels, and {name_of(attack)} does not "
            "use them (it names labels in neither requires nor uses); leave it out"
        )
    shape = simulation.evaluator.task.facts.label_shape
    if probe.labels_known and shape:
        raise ScenarioError(
            f"probe '{probe.name}': labels_known = true tells one class an example, and those of "
            f"{simulation.data.name} are of shape {list(shape)}; leave it out"
        )
    refuse_records(probe, attack, simulation)
    if rounds_of(attack)[1] > 1:
        refuse_number(attack, len(set(probe.rounds)))
    _refuse_unmet(attack, probe, simulation)


def _refuse_unmet(attack: object, probe: Probe, simulation: Simulation) -> None:
    """Refuse a probe whose attack could make nothing of what one of its clients will send."""
    spec = simulation.spec
    for client, round_ in _expected(probe, simulation).items():
        behind = in_a_sum(simulation, client, _cohort(simulation, round_))
        knowledge, _ = known(probe, simulation, behind or [client], round_)
        number = len(behind) if shows_sums_alone(simulation.plan.privacy) else None
        state = replace(simulation.first, round=round_)
        _, planted = plant(simulation.plan, state, state.params)
        told = planted, number
        refuse_unmet(attack, blank_observation(spec, simulation.data, round_, client, knowledge, *told))


def _refuse_hidden(probe: Probe, simulation: Simulation) -> None:
    """Refuse a probe on a client, or a sum with one, of which only its worker knows what it trains on."""
    roles = [r for r in simulation.plan.poisons if declared(r.attack, DataAttacks.sees_model)]
    if probe.client is not None and any(probe.client in role.clients for role in roles):
        raise ScenarioError(
            f"probe '{probe.name}': client {probe.client} makes its examples from the model that it "
            "receives, so that nobody else knows what it trains on; watch another client"
        )
    if roles and shows_sums_alone(simulation.plan.privacy):
        raise ScenarioError(
            f"probe '{probe.name}' sees sums of all clients, some of which make their examples from the "
            f"model that they receive (attack '{roles[0].kind}'), so that nobody else knows what is behind a "
            "sum; leave out one of the two"
        )


def _family(probe: Probe) -> tuple[str, Family[Any]]:
    family: Family[Any] = INFERENCE_ATTACKS if infers(probe.name) else LEAKAGE_ATTACKS
    return family.noun, family


def _expected(probe: Probe, simulation: Simulation) -> dict[int, int]:
    """Return the clients that the probe will watch, each with the first round in which it does.

    A client that the scenario names is taken to be there; whether it is turns out in the run.
    """
    if probe.client is not None:
        return {probe.client: min(probe.rounds)}
    found: dict[int, int] = {}
    watch = _watch(probe)
    for round_ in range(watch.waiting[0], simulation.spec.rounds):
        if not watch.due(round_):
            continue
        client = client_of(watch, simulation, round_, _cohort(simulation, round_))
        if client is not None:
            watch.done(round_, client)
            found.setdefault(client, round_)
    return found


def _cohort(simulation: Simulation, round_: int) -> list[int]:
    plan = simulation.plan.at(round_)
    drawn = sample_cohort(plan.sampler, plan.sampling, plan.seed, round_)
    return [int(client) for client in drawn]
