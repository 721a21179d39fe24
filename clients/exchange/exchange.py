"""What an algorithm's clients send, receive and remember: the layouts that it declares, and their rows.

By default a client sends an update [P], receives parameters [P] and remembers nothing. A rule that exchanges
more (``core.contracts.ExchangingRule``) names groups of vectors, each as long as the parameters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from ...core.contracts import ExchangingRule, Groups, LocalTraining, LocalWork
from ...core.declarations import Algorithms, declared, name_of
from ...core.errors import PluginError
from ...core.layout import Layout
from .facts import SILENCE, Statement, statement_of

UPDATE, PARAMS, PERSONAL = "update", "params", "personal"
NOTHING = Layout(())


@dataclass(frozen=True, eq=False)
class Exchange:
    """The layouts of a run's messages and of its clients' memory.

    Attributes:
        layout: The model's parameters.  # [P]
        up: What a client sends.  # [M]
        down: What the server sends.  # [(1 + E) P]
        memory: What a client remembers.  # [S]
        scales: By group of ``up``, what it is divided by on its way; groups that are not named: 1.
        rule: The algorithm where it is an ``ExchangingRule``, else None.
        statement: The single numbers that a client states beside its message.
        start: Makes what a client remembers at its first visit, from parameters [P]; None: zeros.
        who: What messages call the algorithm where it declares any of the layouts; else empty.
    """

    layout: Layout
    up: Layout
    down: Layout
    memory: Layout
    scales: Mapping[str, float]
    rule: ExchangingRule | None = None
    statement: Statement = SILENCE
    start: Callable[[Tensor], Any] | None = None
    who: str = ""

    @property
    def tells_more(self) -> bool:
        """Whether the algorithm declares any of the layouts, so that its server half is told its share."""
        return self.who != ""

    @property
    def default(self) -> bool:
        """Whether clients send an update alone, state nothing beside it, and remember nothing."""
        return self.up == self.layout and not (self.memory.parameters or self.statement)

    def home(self, messages: Tensor) -> Tensor:
        """Return where the clients' updates are written: in their messages [K, M] where they send them."""
        if self.up == self.layout:
            return messages
        place = self.up.groups.get(UPDATE)
        return (
            messages.new_empty(len(messages), self.layout.num_parameters)
            if place is None
            else messages[:, place]
        )

    def besides(self, extra: Tensor, memory: Tensor) -> tuple[Groups | None, Groups | None]:
        """Return by group what else the server sent [E, P] and clients remember [K, S]; None: of no use."""
        if self.rule is None:
            return None, None
        names = () if self.down == self.layout else (name for name in self.down.groups if name != PARAMS)
        return dict(zip(names, extra, strict=True)), {
            name: memory[:, place] for name, place in self.memory.groups.items()
        }

    def finish(
        self,
        homes: tuple[Tensor, Tensor],
        update: Tensor,
        received: Tensor,
        shared: Groups | None,
        own: Groups | None,
        work: LocalWork,
    ) -> None:
        """Write what clients send and remember to where it belongs.

        Args:
            homes: Where messages [K, M] and memory [K, S] belong.
            update: What ``home`` returned, filled.  # [K, P]
            received: The broadcast parameters.  # [P]
            shared, own: What ``besides`` returned.
            work: What else is known of the training.

        Raises:
            PluginError: A group is missing, is none of those declared, or is of another shape.
        """
        if self.rule is None:
            return
        assert shared is not None
        assert own is not None
        finish = declared(self.rule, Algorithms.finish)
        said: tuple[Groups, Groups] = ({UPDATE: update}, own)
        if finish is not None:
            said = finish(update, received, shared, own, work)
        (messages, memory), (sent, kept) = homes, said
        self._check("finish", "up", self.up_groups, sent, update)
        self._check("finish", "memory", self.memory.groups, kept, update)
        for name, place in sorted(self.up_groups.items(), key=lambda item: item[0] == UPDATE):
            if name in self.scales:
                torch.div(sent[name], self.scales[name], out=messages[:, place])
            elif sent[name] is not update or name != UPDATE:  # last: the others may be made of it
                messages[:, place] = sent[name]
        for name, place in self.memory.groups.items():
            memory[:, place] = kept[name]

    @property
    def up_groups(self) -> Mapping[str, slice]:
        """Where each group lies in a message."""
        return {UPDATE: slice(0, self.layout.num_parameters)} if self.up == self.layout else self.up.groups

    def with_update_times(self, messages: Tensor, factors: Tensor | float) -> Tensor:
        """Return messages [K, M] whose updates are multiplied by factors [K, 1]; what is beside stays."""
        found = messages.clone()
        found[:, self.up_groups.get(UPDATE, slice(None))] *= factors
        return found

    def _check(self, verb: str, what: str, wanted: Mapping[str, slice], came: Groups, like: Tensor) -> None:
        if set(came) != set(wanted):
            raise PluginError(
                f"{_name(self.rule)}: {verb} must return the groups of {what} "
                f"({', '.join(wanted) or 'none'}), got {', '.join(map(str, came)) or 'none'}"
            )
        for name, vectors in came.items():
            if vectors.shape != like.shape or vectors.dtype != like.dtype:
                raise PluginError(
                    f"{_name(self.rule)}: {verb} must return {what} '{name}' as {_kind(like)}, "
                    f"got {_kind(vectors)}"
                )

    def unscaled(self, aggregate: Tensor) -> Tensor:
        """Return messages, or an aggregate of some, in the groups' own units.  # [..., M]"""
        if not self.scales:
            return aggregate
        found = aggregate.clone()
        for name, scale in self.scales.items():
            found[..., self.up_groups[name]] *= scale
        return found

    def first(self, params: Tensor) -> Tensor:
        """Return what a client remembers at its first visit, given the parameters that it receives.  # [S]"""
        size = self.memory.num_parameters
        if self.start is None:
            return params.new_zeros(size)
        said: Any = self.start(params)
        if self.rule is None:
            fits = isinstance(said, Tensor) and said.shape == (size,) and said.dtype == params.dtype
            if not fits:
                came = _kind(said) if isinstance(said, Tensor) else type(said).__name__
                raise PluginError(f"{self.who}: start must return a memory [{size}], got {came}")
            return cast(Tensor, said)
        self._check("start", "memory", self.memory.groups, said, params)
        return torch.cat([said[name] for name in self.memory.groups])

    def sent(self, message: Tensor) -> Tensor:
        """Return a procedure's message [M] in the units of its way: a new one where groups have scales."""
        if not self.scales:
            return message
        found = message.clone()
        for name, scale in self.scales.items():
            found[self.up_groups[name]] /= scale
        return found

    def told(self, extra: Tensor) -> dict[str, Tensor]:
        """Return by tensor what a procedure's server sends behind the parameters, given as one row [1, E]."""
        if self.down == self.layout:
            return {}
        behind = extra.new_zeros(self.layout.num_parameters)
        views = self.down.views(torch.cat([behind, extra.flatten()]))
        return {s.name: views[s.name] for s in self.down.parameters if s.start >= self.layout.num_parameters}


def exchange_of(algorithm: Any, layout: Layout, training: LocalTraining) -> Exchange:
    """Return what an algorithm's clients exchange and remember.

    Args:
        algorithm: A local rule, or a procedure.
        layout: The model's parameters.
        training: How clients train, as the algorithm schedules it.

    Raises:
        PluginError: A layout that cannot be, or scales of other groups or not above 0.
    """
    verbs = (Algorithms.up, Algorithms.down, Algorithms.memory)
    makers = {verb.name: declared(algorithm, verb) for verb in verbs}
    defaults = (layout, layout, NOTHING)
    layouts = {
        name: default if make is None else make(layout)
        for (name, make), default in zip(makers.items(), defaults, strict=True)
    }
    for verb, found in layouts.items():
        if not isinstance(found, Layout):
            raise PluginError(f"{_name(algorithm)}: {verb} must return a Layout, got {type(found).__name__}")
    statement = statement_of(algorithm, training)
    up, down, memory = layouts.values()
    if all(make is None for make in makers.values()):
        return Exchange(layout, up, down, memory, {}, statement=statement)
    procedure = declared(algorithm, Algorithms.work) is not None
    _check_layouts(algorithm, layout, layouts, procedure)
    rule = None if procedure else cast(ExchangingRule, algorithm)
    start = declared(algorithm, Algorithms.start)
    exchange = Exchange(layout, up, down, memory, {}, rule, statement, start, _name(algorithm))
    return replace(exchange, scales=_scales(algorithm, exchange, training))


def _check_layouts(algorithm: Any, layout: Layout, layouts: Mapping[str, Layout], procedure: bool) -> None:
    """Refuse layouts that are none of an algorithm of this kind."""
    who, down = _name(algorithm), layouts["down"]
    for verb, found in layouts.items():
        if procedure:
            if not found.contiguous or (verb == "up" and not found.num_parameters):
                raise PluginError(
                    f"{who}: {verb} must lay out different tensors end to end, 1 number or more"
                )
        elif found not in (layout, NOTHING, layout.repeated(*found.groups)):
            raise PluginError(
                f"{who}: {verb} of a local rule must be layout.repeated(group, ...), got "
                f"{found.num_parameters} numbers for {layout.num_parameters} parameters"
            )
    if down != layout and next(iter(down.groups.items()), None) != (PARAMS, slice(0, layout.num_parameters)):
        raise PluginError(
            f"{who}: the first group of down must be '{PARAMS}', of {layout.num_parameters} numbers"
        )
    if declared(algorithm, Algorithms.personal) is not None and PERSONAL not in layouts["memory"].groups:
        raise PluginError(f"{who}: memory must have a group '{PERSONAL}' for models of clients' own")


def _scales(algorithm: Any, exchange: Exchange, training: LocalTraining) -> dict[str, float]:
    """Return what groups of a message are divided by, those that are not divided by 1."""
    scales = declared(algorithm, Algorithms.scales)
    units = {} if scales is None else {k: float(v) for k, v in scales(training).items() if v != 1}
    for name, scale in units.items():
        if name not in exchange.up_groups or not 0 < scale < float("inf"):
            raise PluginError(
                f"{_name(algorithm)}: scales must be above 0 and of the groups "
                f"{', '.join(exchange.up_groups)}; got {name} = {scale:g}"
            )
    return units


def _name(algorithm: Any) -> str:
    return f"algorithm {name_of(algorithm)}"


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
