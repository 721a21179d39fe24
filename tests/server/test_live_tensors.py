"""Plug-ins that write into the engine's tensors are refused by name. Oracle: what each is made to do."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.pools.serial import SerialPool
from gauntlet.clients.scoring.scorer import Scorer
from gauntlet.core.contracts import Delivery, Goal, UpdateKnowledge, Verdict
from gauntlet.core.errors import ForbiddenWrite, InfeasibleCohort, PluginError
from gauntlet.core.guards import from_outside, guard
from gauntlet.defenses.mean import Mean
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.server.optimizers import SERVER_OPTIMIZERS
from gauntlet.server.round import run_round
from gauntlet.server.scoring.evaluation import Evaluator
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec


def here(name: str, **options: Any) -> PluginSpec:
    return PluginSpec(f"{__file__}:{name}", options)


def write(values: Any, how: str) -> None:
    """Write into a tensor as torch does, or through a numpy view."""
    if how == "torch":
        values.mul_(0)
    elif how == "data":
        values.data.mul_(0)
    else:
        (values if isinstance(values, np.ndarray) else values.numpy())[...] = 0


@dataclass(frozen=True)
class Rule:
    """The mean, and a write into something that the server knows."""

    where: str
    how: str = "torch"

    def init(self) -> dict[str, Any]:
        return {"sum": torch.ones(3)}

    def aggregate(self, updates: Any, state: dict[str, Any]) -> tuple[Verdict, dict[str, Any]]:
        mean = updates.vectors.mean(dim=0)
        places = {
            "rows": updates.vectors,
            "ids": updates.client_ids,
            "examples": updates.num_examples,
            "params": updates.context.params,
            "root": updates.context.root,
            "state": state["sum"],
        }
        write(places[self.where], self.how)
        return Verdict(mean), state

    def transform(self, updates: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        _, state = self.aggregate(updates, state)
        return updates, state


@dataclass(frozen=True)
class Gives:
    """Zero the model, then give the cohort up."""

    how: str

    def init(self) -> None:
        return None

    def aggregate(self, updates: Any, state: None) -> tuple[Verdict, None]:
        if self.how == "empty" and len(updates):
            return Verdict(updates.vectors.mean(dim=0)), state
        updates.context.params.data.zero_()
        if self.how == "infeasible":
            raise InfeasibleCohort("too few")
        if self.how == "value":
            raise ValueError("too few")
        return Verdict(updates.vectors.sum(dim=0)), state


@dataclass(frozen=True)
class Tally:
    """The mean, and a list among the options that grows with every round."""

    seen: list[int]

    def init(self) -> None:
        return None

    def aggregate(self, updates: Any, state: None) -> tuple[Verdict, None]:
        self.seen.append(len(updates))
        return Verdict(updates.vectors.mean(dim=0)), state


@dataclass(frozen=True)
class Attack:
    """An honest update, and a write into what the server broadcast."""

    how: str = "torch"
    place: str = "params"
    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OMNISCIENT

    def init(self) -> None:
        return None

    def corrupt(self, own: Any, view: Any, state: None) -> tuple[Any, None]:
        if self.place == "params":
            write(view.params, self.how)
        return own, state

    def steer(self, gradient: Any, params: Any, received: Any) -> Any:
        if self.place == "received":
            write(received, self.how)
        return gradient


@dataclass(frozen=True)
class Poison:
    """Examples as they are, and a write into the client's own, or into the server's test set."""

    place: str

    def poison(self, x: Any, y: Any, generator: Any) -> tuple[Any, Any]:
        if self.place == "own":
            write(x, "torch")
        return x, y

    def goal(self, x: Any, y: Any) -> Goal:
        if self.place == "test":
            write(y, "numpy")
        return Goal(x[:5], y[:5], y[:5])


@dataclass(frozen=True)
class Step:
    """Plain averaging, and a write into the old parameters or the aggregate."""

    place: str
    how: str

    def init(self) -> None:
        return None

    def step(self, params: Any, aggregate: Any, state: None) -> tuple[Any, None]:
        new = params + aggregate
        write(params if self.place == "params" else aggregate, self.how)
        return new, state


@dataclass(frozen=True)
class Net:
    """Everything arrives, and nobody has any examples."""

    def deliver(self, examples: Any, bytes_down: int, bytes_up: Any, generator: Any) -> Delivery:
        examples[...] = 0
        return Delivery(np.ones(len(examples), dtype=bool), np.zeros(len(examples)), 0.0)


@dataclass(frozen=True)
class Halving:
    """A clipping of nobody's: updates as they are, halved."""

    def shorten(self, updates: Any, norms: Any, clip_norm: float) -> Any:
        return updates.vectors / 2


class Doubling(nn.Module):
    """A linear model that doubles its inputs where they lie."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(x.mul_(2).flatten(1))
        return out


RULES = [("rows", "torch"), ("rows", "numpy"), ("rows", "data"), ("ids", "torch"), ("examples", "numpy")]
RULES += [("params", "torch"), ("params", "numpy"), ("params", "data"), ("root", "numpy"), ("state", "torch")]
CASES = [
    *(({"defense": here("Rule", where=place, how=how)}, "defense '") for place, how in RULES),
    *(
        ({"pre_aggregations": (here("Rule", where=place, how=how),)}, "pre-aggregation '")
        for place, how in RULES
    ),
    *(
        ({"roles": (RoleSpec(here("Attack", how=how), count=2),)}, "attack '")
        for how in ("torch", "numpy", "data")
    ),
    ({"roles": (RoleSpec(here("Attack", place="received"), count=2),)}, "local training "),
    ({"roles": (RoleSpec(here("Poison", place="own"), count=2),)}, "attack '"),
    *(
        ({"server_optimizer": here("Step", place=place, how=how)}, "server optimizer '")
        for place in ("params", "aggregate")
        for how in ("torch", "numpy")
    ),
    ({"network": here("Net")}, "network '"),
    ({"defense": here("Tally", seen=[])}, "defense '"),
]


@pytest.mark.parametrize(("changes", "who"), CASES, ids=str)
def test_whoever_writes_into_what_it_is_handed_is_refused_by_name(small, changes, who):
    simulation = prepare(small(root_examples=20, **changes))
    with pytest.raises(PluginError, match=f"{who}.* wrote into what it was handed"):
        run_round(simulation.plan, simulation.first, simulation.serial_pool())


@pytest.mark.parametrize(
    ("how", "dropout"), [("infeasible", 0.0), ("value", 0.5), ("empty", 0.999999)], ids=str
)
def test_a_write_before_a_refusal_ends_the_run_and_is_no_small_cohort(small, how, dropout):
    """A rule that cannot judge a cohort leaves the model as it was; one that wrote into it does not."""
    losing = PluginSpec("links", {"dropout": dropout})
    simulation = prepare(small(defense=here("Gives", how=how), network=losing))
    with pytest.raises(ForbiddenWrite, match=r"defense '.* wrote into what it was handed"):
        run_round(simulation.plan, simulation.first, simulation.serial_pool())


def test_a_goal_that_writes_into_the_test_set_is_refused_before_the_run(small):
    spec = small(roles=(RoleSpec(here("Poison", place="test"), count=2),))
    with pytest.raises(PluginError, match=r"attack '.*' wrote into what it was handed"):
        prepare(spec)


def test_a_model_that_works_in_place_on_the_test_set_is_refused(small):
    examples = Evaluator(prepare(small()).data).examples
    pool = SerialPool(None, scorer=Scorer(Doubling(), examples))  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="the model wrote into what it was handed"):
        pool.score(Broadcast(0, torch.zeros(650), torch.zeros(0)))


def watched(plan: Any) -> Any:
    """Return a plan whose own plug-ins are watched as those from outside are."""

    def strict(plugin: Any) -> Any:
        return guard(plugin.__wrapped__, type(plugin.__wrapped__).__name__, watched=True)

    return replace(
        plan,
        codec=strict(plan.codec),
        network=strict(plan.network),
        privacy=strict(plan.privacy),
        defense=strict(plan.defense),
        optimizer=strict(plan.optimizer),
        pre_aggregations=tuple(map(strict, plan.pre_aggregations)),
        attacks=tuple(replace(role, attack=strict(role.attack)) for role in plan.attacks),
    )


def variants() -> list[dict[str, Any]]:
    """Return runs in which every built-in of the families that need no special run takes part."""
    noise = {"noise_multiplier": 1.0, "delta": 0.01}
    fixed = PluginSpec("mean", {"weighting": "fixed"})
    return [
        *({"codec": PluginSpec(name)} for name in CODECS.table),
        *({"server_optimizer": PluginSpec(name)} for name in SERVER_OPTIMIZERS.table),
        *(
            {"privacy": PluginSpec(name, {"clip_norm": 0.5, **noise}), "defense": fixed}
            for name in ("gaussian", "local_gaussian")
        ),
        {"network": PluginSpec("links", {"dropout": 0.2}), "defense": PluginSpec("median")},
        {"pre_aggregations": (PluginSpec("nnm", {"num_byzantine": 2}),), "defense": PluginSpec("mud_hog")},
    ]


@pytest.mark.slow
def test_our_own_plug_ins_would_pass_the_watch(small):
    """They are not watched in a run, so that it costs them nothing: here they are, for three rounds."""
    for changes in variants():
        simulation = prepare(small(rows=True, **changes))
        plan, state, pool = watched(simulation.plan), simulation.first, simulation.serial_pool()
        for _ in range(3):
            state, _ = run_round(plan, state, pool)


def test_an_attack_that_writes_into_its_own_copy_of_others_rows_changes_none_of_them(small):
    """The engine's rows are those of a run without the attack, to the last bit."""
    honest = prepare(small())
    _, expected = run_round(honest.plan, honest.first, honest.serial_pool())
    liars = prepare(small(roles=(RoleSpec(here("Attack", place="nowhere"), clients=(1, 4)),)))
    _, outcome = run_round(liars.plan, liars.first, liars.serial_pool())
    assert torch.equal(outcome.honest.vectors, expected.honest.vectors)
    assert torch.equal(outcome.received.vectors, expected.received.vectors)


def test_outside_is_whatever_is_not_ours_or_names_what_is_not():
    assert not from_outside(guard(Mean(), "defense 'mean'"))
    assert from_outside(Rule("rows"))
    assert from_outside(guard(Rule("rows"), "mine"))
    assert from_outside(Gaussian(1.0, noise_multiplier=0.0, clipping={"name": f"{__file__}:Halving"}))
