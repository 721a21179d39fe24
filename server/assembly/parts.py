"""Every plug-in of a run: built once, when it is first asked for, and the same one for whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from ...attacks.servers import SERVERS
from ...clients.algorithms import ALGORITHMS
from ...clients.client_defenses import CLIENT_DEFENSES
from ...clients.codecs import CODECS
from ...clients.data import DATASETS, PARTITIONS
from ...clients.exchange.exchange import Exchange, exchange_of
from ...core.declarations import Algorithms, Datasets, Declaration, Schedules, declared, works_in_steps
from ...core.guards import guard
from ...core.registry import configure
from ...core.replies import REPLIES
from ...core.roles import Role
from ...defenses import DEFENSES, PRE_AGGREGATIONS
from ...privacy import AUDITS, PRIVACY
from ...privacy.accounting.calibration import calibrate
from ..cohort.roles import Attack, assign, build_attacks
from ..cohort.sampling import counted_sampling, sample_cohort
from ..mail.link import Link
from ..networks import NETWORKS
from ..optimizers import SERVER_OPTIMIZERS
from ..samplers import SAMPLERS
from ..schedules import SCHEDULES
from ..spec import PluginSpec, RunSpec

if TYPE_CHECKING:
    from ...core.contracts import (
        Audit,
        ClientDefense,
        Codec,
        Defense,
        MaliciousServer,
        Network,
        PreAggregation,
        Privacy,
        Sampler,
        Sampling,
        Schedule,
    )
    from ...core.layout import Layout
    from ...core.registry import Family
    from ..mail.link import ClientLinks

Roles = tuple[tuple[Role[Any], ...], tuple[Role[Any], ...]]


def made(family: Family[Any], spec: PluginSpec) -> Any:
    """Return a plug-in whose faults become one clear line.

    Raises:
        PluginError: A plug-in that does not exist or takes other options.
    """
    return watched(family, family.build(spec.name, spec.options), spec.name)


def watched(family: Family[Any], plugin: Any, name: str) -> Any:
    """Return a family's plug-in so that what it raises, and what it hands back amiss, is one clear line."""
    return guard(plugin, f"{family.noun} '{name}'", REPLIES.get(family.name))


@dataclass(frozen=True, eq=False)
class Parts:
    """A run's plug-ins. Asking for one that does not exist, or takes other options, is a ``PluginError``.

    Attributes:
        spec: What names them.
        given: Whether the clients' data were made elsewhere, so that the spec's are not asked for.
    """

    spec: RunSpec
    given: bool = False

    def complete(self) -> None:
        """Build all of them, so that a name that does not exist is refused before anything is loaded."""
        _ = self.mechanism
        if not self.given:
            _ = self.dataset, self.partition
        _ = self.client_defense, self.server
        _ = self.audit, self.algorithm, self.sampler, self.schedule, self.attacks
        _ = self.codec, self.codec_down, self.pre_aggregations, self.defense, self.network, self.optimizer
        _ = self.link

    @cached_property
    def dataset(self) -> Any:
        return DATASETS.build(self.spec.data.name, self.spec.data.options)

    @cached_property
    def partition(self) -> Any | None:
        """What spreads the data set; None where it makes its own clients."""
        if declared(self.dataset, Datasets.load) is None:
            return None
        return PARTITIONS.build(self.spec.partition.name, self.spec.partition.options)

    @cached_property
    def algorithm(self) -> Any:
        return made(ALGORITHMS, self.spec.algorithm)

    def brings(self, verb: Declaration[Any]) -> bool:
        """Return whether the algorithm has this verb: one of another family, or ``work``."""
        return declared(self.algorithm, verb) is not None

    @cached_property
    def sampler(self) -> Sampler:
        """Who comes: the algorithm itself where it samples."""
        own: Sampler = self.algorithm
        found: Sampler = own if self.brings(Algorithms.sample) else made(SAMPLERS, self.spec.sampler)
        return found

    @cached_property
    def population(self) -> int:
        """Return how many are sampled from: the clients, and an audit's canaries."""
        return self.spec.num_clients + self.audit.num_canaries

    @cached_property
    def sampling(self) -> Sampling:
        """How those whose messages count in a round sample the population."""
        return counted_sampling(self.schedule, self.sampler.sampling(self.population))

    @cached_property
    def optimizer(self) -> Any:
        """What moves the parameters: the algorithm's own half where it has one."""
        own = self.brings(Algorithms.step)
        return self.algorithm if own else made(SERVER_OPTIMIZERS, self.spec.server_optimizer)

    @cached_property
    def mechanism(self) -> Privacy:
        """The privacy mechanism as it is named: not behind a guard, its noise not calibrated."""
        found: Privacy = PRIVACY.build(self.spec.privacy.name, self.spec.privacy.options)
        return found

    @cached_property
    def audit(self) -> Audit:
        found: Audit = made(AUDITS, self.spec.audit)
        return found

    @cached_property
    def codec(self) -> Codec:
        found: Codec = made(CODECS, self.spec.codec)
        return found

    @cached_property
    def codec_down(self) -> Codec:
        """The codec of the way down: the same one where both ways are named alike."""
        same = self.spec.codec_down == self.spec.codec
        found: Codec = self.codec if same else made(CODECS, self.spec.codec_down)
        return found

    @cached_property
    def client_defense(self) -> ClientDefense:
        found: ClientDefense = made(CLIENT_DEFENSES, self.spec.client_defense)
        return found

    @cached_property
    def network(self) -> Network:
        found: Network = made(NETWORKS, self.spec.network)
        return found

    @cached_property
    def link(self) -> ClientLinks | None:
        """The clients' virtual links; None where bytes take no time but the network's."""
        if self.spec.link is None:
            return None
        link = configure(Link, "link", self.spec.link)
        return link.of_clients(self.spec.num_clients, self.spec.seed)

    @cached_property
    def schedule(self) -> Schedule:
        found: Schedule = made(SCHEDULES, self.spec.schedule)
        return found

    @cached_property
    def server(self) -> MaliciousServer:
        """What the server does to the model before clients train: nothing, if it is honest."""
        found: MaliciousServer = made(SERVERS, self.spec.server)
        return found

    @cached_property
    def defense(self) -> Defense:
        found: Defense = made(DEFENSES, self.spec.defense)
        return found

    @cached_property
    def pre_aggregations(self) -> tuple[PreAggregation, ...]:
        return tuple(made(PRE_AGGREGATIONS, named) for named in self.spec.pre_aggregations)

    @cached_property
    def attacks(self) -> tuple[tuple[Attack, ...], ...]:
        """The attacks of each role of the spec."""
        return tuple(map(build_attacks, self.spec.roles))

    @cached_property
    def roles(self) -> Roles:
        """(Data attacks, update attacks), each with its clients."""
        spec, sampler, sampling = self.spec, self.sampler, self.sampling

        @lru_cache(maxsize=1)
        def cohorts(round_: int) -> list[int]:
            drawn = sample_cohort(sampler, sampling, spec.seed, round_)
            return [int(i) for i in drawn if i < spec.num_clients]

        return assign(spec.roles, spec.num_clients, spec.seed, cohorts, self.attacks)

    def privacy(self, mechanism: Privacy, num_parameters: int | None) -> Privacy:
        """Return the mechanism for messages of so many numbers, its noise calibrated where a budget is given.

        Raises:
            ValueError: A budget that this sampling cannot keep.
        """
        shared, remembers = self._shared(mechanism), self.brings(Algorithms.memory)
        remembers = remembers and not declared(self.algorithm, Algorithms.memory_stays)
        remembers = remembers or self.brings(Algorithms.keeps)
        amplified = declared(self.schedule, Schedules.plain) and not remembers
        return calibrate(shared, self.sampling, self.spec.rounds, num_parameters, amplified)

    def exchange(self, layout: Layout) -> Exchange:
        """Return what the clients of a model with this layout send, receive and remember.

        Raises:
            PluginError: The algorithm declares what cannot be.
        """
        return exchange_of(self.algorithm, layout, self.algorithm.schedule(self.spec.training))

    def _shared(self, mechanism: Privacy) -> Privacy:
        """Return the mechanism with the options that it leaves open taken over from the algorithm."""
        if not self.brings(Algorithms.work) or not is_dataclass(mechanism):
            return mechanism
        options = {f.name for f in fields(mechanism)} & set(declared(self.algorithm, Algorithms.shared))
        open_ = [name for name in options if getattr(mechanism, name) is None]
        found: Mapping[str, Any] = {name: getattr(self.algorithm, name) for name in open_}
        return replace(mechanism, **found) if found else mechanism

    def alone(self) -> Parts:
        """Return what the server trains with on examples of its own: where nobody attacks or hides.

        The model stays as the clients' defense may have wrapped it.
        """
        spec = replace(self.spec, privacy=PluginSpec("none"), roles=(), device="cpu", compile="off")
        found = Parts(spec, given=True)
        same = {
            name: getattr(self, name)
            for name in ("algorithm", "sampler", "audit", "schedule", "defense", "server")
        }
        vars(found).update(same)
        bare = self.spec.client_defense == PluginSpec("none")
        own = self.client_defense if bare else made(CLIENT_DEFENSES, PluginSpec("none"))
        vars(found)["client_defense"] = own
        if self.spec.privacy == spec.privacy:
            vars(found)["mechanism"] = self.mechanism
        return found

    @cached_property
    def in_steps(self) -> bool:
        """Whether the mechanism protects single examples inside of local steps."""
        return works_in_steps(self.mechanism)
