"""Record what probed clients send while a run goes on, and attack it beside the run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..attacks.leakage import INFERENCE_ATTACKS, LEAKAGE_ATTACKS
from ..attacks.leakage.requirements import refuse_blind
from ..clients.data.base import targets_of
from ..core.contracts import declared
from ..core.errors import GauntletError, ScenarioError
from ..core.observation import Knowledge, Truth
from ..core.registry import Family
from ..server.probe import knowledge_of, save_observation
from ..server.simulation import Simulation, Step
from .reconstruct import infer, infers, reconstruct
from .scenario import Scenario
from .sections import Probe

Submit = Callable[..., Callable[[], Any]]
"""Start a function with arguments now or later; calling what it returns waits for the end."""


class Probes:
    """A run's probes, each waiting for the first round, from the wanted one on, with its client in it."""

    def __init__(
        self, scenario: Scenario, simulation: Simulation, folder: Path, begin: int, submit: Submit
    ) -> None:
        """Check the probes; with ``begin`` above 0, take up what an earlier run of the folder left.

        Raises:
            PluginError: A probe names no leakage or inference attack, or options that it does not take, or
                an attack that could make nothing of what its client will send.
            ScenarioError: A probe watches a client that does not exist, or rounds that never come.
        """
        self._simulation, self._folder, self._submit = simulation, folder, submit
        self._seed, self._waiting = scenario.seed, list[tuple[Probe, int, list[int]]]()
        self._running: list[Callable[[], Any]] = []
        if scenario.probes and simulation.plan.privacy.trust_model == "distributed":
            raise ScenarioError(
                f"probe '{scenario.probes[0].name}' watches one client, and with privacy "
                f"'{scenario.privacy.name}' nobody sees more than the sum of the updates; leave it out"
            )
        if scenario.probes and targets_of(simulation.data) is not None:
            raise ScenarioError(
                f"probe '{scenario.probes[0].name}' rebuilds labelled examples, and {simulation.data.name} "
                "has real-valued targets; leave it out"
            )
        if scenario.probes and declared(simulation.kernel.rule, "work", None) is not None:
            raise ScenarioError(
                f"probe '{scenario.probes[0].name}' knows messages of local SGD, and algorithm "
                f"'{scenario.algorithm.name}' sends something else; leave it out"
            )
        for probe in scenario.probes:
            client = self._client(probe)
            self._refuse_blind(probe, client, scenario.rounds)
            self._waiting.append((probe, client, sorted(probe.rounds)))
        self._take_up(begin)

    def _client(self, probe: Probe) -> int:
        if probe.client is None:
            plan = self._simulation.plan
            bad = {c for role in (*plan.poisons, *plan.attacks) for c in role.clients}
            return min(set(range(len(bad) + 1)) - bad)
        if probe.client >= self._simulation.spec.num_clients:
            last = self._simulation.spec.num_clients - 1
            raise ScenarioError(
                f"probe '{probe.name}': client {probe.client} does not exist; allowed: 0 to {last}"
            )
        return probe.client

    def _refuse_blind(self, probe: Probe, client: int, rounds: int) -> None:
        """Refuse a probe that could make nothing of what its client will send, or that never looks."""
        family: Family[Any] = INFERENCE_ATTACKS if infers(probe.name) else LEAKAGE_ATTACKS
        attack = family.build(probe.name, probe.spec().options)
        first = min(probe.rounds, default=0)
        if first >= rounds:
            raise ScenarioError(
                f"probe '{probe.name}': round {first} never comes; allowed: 0 to {rounds - 1}"
            )
        refuse_blind(attack, self._known(probe, client, first)[0], client, first)

    def _known(self, probe: Probe, client: int, round_: int) -> tuple[Knowledge, Truth]:
        """Return what the attacker is told of a client's round, and what the client really trains on."""
        s = self._simulation
        truth = s.kernel.truth(client, round_)
        examples = len(s.kernel.examples(client, round_)[1])
        steps = len(s.kernel.batches(client, round_, examples))
        return knowledge_of(s.spec, s.kernel.training, truth, steps, probe.labels_known), truth

    def _take_up(self, begin: int) -> None:
        """Forget recordings from ``begin`` on, and count the earlier ones as done."""
        for place in sorted((self._folder / "observations").glob("round-*")):
            round_, client = int(place.name.split("-")[1]), int(place.name.split("-")[3])
            if round_ >= begin:
                shutil.rmtree(place)
                continue
            for probe, watched, rounds in self._waiting:
                if watched == client and rounds and rounds[0] <= round_:
                    self._done(rounds, round_)
                    self._attack(place, probe)

    @staticmethod
    def _done(rounds: list[int], round_: int) -> None:
        while rounds and rounds[0] <= round_:
            rounds.pop(0)

    def watch(self, step: Step) -> None:
        """Record the round for every probe that waited for it."""
        round_ = step.outcome.round
        for probe, client, rounds in self._waiting:
            if rounds and rounds[0] <= round_ and client in step.outcome.sent.client_ids:
                self._done(rounds, round_)
                self._attack(self._record(step, probe, client), probe)

    def _record(self, step: Step, probe: Probe, client: int) -> Path:
        s = self._simulation
        knowledge, truth = self._known(probe, client, step.outcome.round)
        return save_observation(
            self._folder / "observations", s.spec, s.data, step.outcome, client, knowledge, truth
        )

    def _attack(self, place: Path, probe: Probe) -> None:
        if infers(probe.name):
            work = self._submit(infer, place, probe.spec(), self._folder / "inferences")
        else:
            results = self._folder / "reconstructions"
            work = self._submit(reconstruct, place, probe.spec(), self._seed, results)
        self._running.append(work)

    def collect(self) -> None:
        """Wait for every attack.

        Raises:
            GauntletError: An attack failed; the others' results are there all the same.
        """
        errors: list[GauntletError] = []
        for wait in self._running:
            try:
                wait()
            except GauntletError as error:
                errors.append(error)
        self._running = []
        if errors:
            raise errors[0]


def submit_later(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Run the function here, when somebody waits for it."""
    return lambda: function(*arguments)


def submit_to_ray(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Run the function as a Ray task beside the training."""
    import ray

    from ..clients.pools.ray import cause_of

    task = ray.remote(num_cpus=0)(function).remote(*arguments)

    def wait() -> Any:
        try:
            return ray.get(task)
        except ray.exceptions.RayTaskError as error:
            raise cause_of(error) from error

    return wait
