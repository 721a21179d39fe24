"""Record what probed clients send while a run goes on, and attack it after the last round."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.declarations import shows_sums_alone
from ..core.errors import GauntletError
from ..server.recording.observed_sum import observed_sum
from ..server.recording.recordings import adopt_observation, save_observation
from .adaptive import unadapted
from .reconstruct import NAME, AttackJob, carry_out, infers, shared_result
from .scenario import Scenario
from .watch import Watch, client_of, in_a_sum, known, make_watches

if TYPE_CHECKING:
    from ..server.simulation import Simulation, Step

Submit = Callable[..., Callable[[], Any]]
"""Start a function with arguments now or later; calling what it returns waits for the end."""


class Probes:
    """A run's probes, each waiting for the first round, from the wanted one on, with its client in it."""

    def __init__(
        self, scenario: Scenario, simulation: Simulation, folder: Path, begin: int, submit: Submit
    ) -> None:
        """Check the probes; with ``begin`` above 0, take up what an earlier run of the folder left.

        Raises:
            GauntletError: See ``make_watches``.
        """
        self._simulation, self._folder, self._submit = simulation, folder, submit
        self._seed, self._jobs = scenario.seed, list[AttackJob]()
        self._together: dict[str, list[Path]] = {}
        self._watches = make_watches(scenario.probes, simulation)
        self._take_up(begin)

    def _take_up(self, begin: int) -> None:
        """Forget recordings from ``begin`` on, and count the earlier ones as done."""
        for place in sorted((self._folder / "observations").glob("round-*")):
            fits = NAME.fullmatch(place.name)
            if fits is None or place.suffix == ".part" or int(fits[1]) >= begin:
                shutil.rmtree(place)
                continue
            round_, client = int(fits[1]), int(fits[2])
            for watch in self._watches:
                if fits[3] == watch.probe.identity():
                    self._attack(place, watch, round_, client)
                elif fits[3] is None and watch.due(round_):
                    self._adopt(place, watch, round_, client)
            if fits[3] is None:
                shutil.rmtree(place)

    def _adopt(self, old: Path, watch: Watch, round_: int, client: int) -> None:
        """Give a probe its own copy of a recording that several shared, with its own knowledge alone."""
        if client_of(watch, self._simulation, round_, [client]) is None:
            return
        for kind, ending in (("reconstructions", ""), ("inferences", ".json")):
            result = self._folder / kind / (shared_result(old.name, watch.probe.name) + ending)
            shutil.rmtree(result, ignore_errors=True) if result.is_dir() else result.unlink(missing_ok=True)
        knowledge, _ = known(watch.probe, self._simulation, [client], round_)
        place = adopt_observation(old, self._place(watch, round_, client), knowledge, watch.probe.record())
        self._attack(place, watch, round_, client)

    def _place(self, watch: Watch, round_: int, client: int) -> Path:
        name = f"round-{round_:06d}-client-{client:06d}-{watch.probe.identity()}"
        return self._folder / "observations" / name

    def watch(self, step: Step) -> None:
        """Record what probes waited for; a message is of the round in which its client began."""
        sums = shows_sums_alone(self._simulation.plan.privacy)
        for round_, began in step.outcome.starts.items():
            cohort = began & set(step.outcome.received.client_ids.tolist()) if sums else began
            for watch in self._watches:
                if not watch.due(round_):
                    continue
                client = client_of(watch, self._simulation, round_, sorted(cohort))
                if client is not None:
                    self._attack(self._record(step, watch, round_, client), watch, round_, client)

    def _record(self, step: Step, watch: Watch, round_: int, client: int) -> Path:
        s, outcome = self._simulation, step.outcome
        total = observed_sum(s.plan, outcome)
        behind = [client] if total is None else in_a_sum(s, client, total.client_ids)
        knowledge, truth = known(watch.probe, s, behind, round_)
        place, probe = self._place(watch, round_, client), watch.probe.record()
        facts = outcome, client, knowledge, truth, probe, s.plan.exchange, s.plan.levels, total
        return save_observation(place, s.spec, s.data, *facts)

    def _attack(self, place: Path, watch: Watch, round_: int, client: int) -> None:
        """Note that a recording is to be attacked; of several together, once the last one is there."""
        watch.done(round_, client)
        if watch.together:
            self._together.setdefault(watch.probe.identity(), []).append(place)
            if not watch.waiting:
                self._plan(watch, self._together.pop(watch.probe.identity()))
        else:
            self._plan(watch, [place])

    def _plan(self, watch: Watch, places: list[Path]) -> None:
        attack = watch.probe.spec()
        results = self._folder / ("inferences" if infers(attack.name) else "reconstructions")
        self._jobs.append(AttackJob(tuple(sorted(places)), attack, self._seed, results))

    def record(self) -> list[dict[str, Any]]:
        """Return what each probe is, what it saw, and the rounds for which it saw nothing."""
        return [watch.record() for watch in self._watches]

    def complaints(self) -> list[str]:
        """Return a warning, in one line, for each probe that did not see all that it waited for.

        And one where a client defense is not shown beside an attack that knows of it.
        """
        alone = unadapted(self._simulation.spec, [watch.probe for watch in self._watches])
        unseen = [words for watch in self._watches if (words := watch.complaint())]
        return [*unseen, *([alone] if alone else [])]

    def collect(self) -> None:
        """Run every attack, on Ray several at a time; what waited for rounds in vain is attacked as it came.

        Raises:
            GauntletError: An attack failed; the others' results are there all the same.
        """
        for watch in self._watches:
            places = self._together.pop(watch.probe.identity(), [])
            if len(places) >= watch.least_rounds:
                self._plan(watch, places)
        errors: list[GauntletError] = []
        for wait in [self._submit(carry_out, job) for job in self._jobs]:
            try:
                wait()
            except GauntletError as error:
                errors.append(error)
        self._jobs = []
        if errors:
            raise errors[0]


def submit_later(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Run the function here, when somebody waits for it."""
    return lambda: function(*arguments)


def submit_to_ray(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Run the function as a Ray task of one CPU."""
    import ray

    from ..clients.pools.ray import cause_of

    task = ray.remote(num_cpus=1)(function).remote(*arguments)

    def wait() -> Any:
        try:
            return ray.get(task)
        except ray.exceptions.RayTaskError as error:
            raise cause_of(error) from error

    return wait
