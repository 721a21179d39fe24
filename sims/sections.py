"""The sections of a scenario: what each table may hold."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from ..core.errors import ScenarioError
from ..server.spec import PluginSpec, RoleSpec
from .plain import plugin_table


class Section(BaseModel):
    """A table of a scenario: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Plugin(BaseModel):
    """A plug-in section: a name, and beside it the plug-in's own options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, bool | int | float | list | tuple):
            raise ValueError("it must be a plug-in's name, or a table with its name and options")
        return plugin_table(value)

    def spec(self) -> PluginSpec:
        """Return the plug-in's name and options."""
        return PluginSpec(self.name, dict(self.model_extra or {}))


class Model(Plugin):
    """The ``[model]`` section.

    Attributes:
        init: A safetensors file with its first weights (``gauntlet export`` writes one), taken for public:
            what it was trained on is not charged. None: they are drawn from the seed.
    """

    init: str | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, plainly: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = plainly(self)
        return {k: v for k, v in values.items() if k != "init" or v is not None}


class Attack(Plugin):
    """An ``[[attacks]]`` section: an attack on training, who runs it and when.

    Exactly one of ``clients`` (ids), ``count``, ``share`` (of the population, drawn once, rounded down) and
    ``sampled`` (of each round's cohort, drawn anew in every round, rounded down) is given.

    Attributes:
        start_round: The first round of the attack: sleepers are honest until then.
        stop_round: The first round without it again.
        every: The attack runs in every ``every``-th round; or
        on_rounds: in bursts of so many rounds,
        off_rounds: with so many honest rounds between them.
        update: Where the attack is one on data, an attack on updates that the same clients add.
    """

    clients: list[int] | None = None
    count: int | None = Field(default=None, ge=0)
    share: float | None = Field(default=None, ge=0, le=1)
    sampled: float | None = Field(default=None, gt=0, le=1)
    start_round: int = Field(default=0, ge=0)
    stop_round: int | None = Field(default=None, ge=0)
    every: int = Field(default=1, ge=1)
    on_rounds: int | None = Field(default=None, ge=1)
    off_rounds: int | None = Field(default=None, ge=1)
    update: Plugin | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Attack":
        if sum(v is not None for v in (self.clients, self.count, self.share, self.sampled)) != 1:
            raise ValueError("exactly one of clients, count, share and sampled is needed")
        return self

    @model_validator(mode="after")
    def _one_rhythm(self) -> "Attack":
        if self.stop_round is not None and self.stop_round <= self.start_round:
            raise ValueError(f"stop_round must be above start_round, {self.start_round}")
        if (self.on_rounds is None) != (self.off_rounds is None):
            raise ValueError("on_rounds and off_rounds go together")
        if self.on_rounds is not None and self.every != 1:
            raise ValueError("every does not go with on_rounds and off_rounds: choose one rhythm")
        return self

    def role(self, num_clients: int) -> RoleSpec:
        """Return who attacks, and when.

        Raises:
            ScenarioError: A share above 0 of which not one client comes.
        """
        share = self.share or 0.0
        count = self.count if self.count is not None else int(share * num_clients + 1e-9)
        if share > 0 and count == 0:
            raise ScenarioError(
                f"attack '{self.name}': a share of {share:g} of {num_clients} clients is nobody; "
                f"allowed: 0, or at least {1 / num_clients:.3g}"
            )
        return RoleSpec(
            plugin=self.spec(),
            clients=None if self.clients is None else tuple(self.clients),
            count=count,
            start_round=self.start_round,
            stop_round=self.stop_round,
            every=self.every,
            on_rounds=self.on_rounds or 0,
            off_rounds=self.off_rounds or 0,
            sampled=self.sampled,
            update=self.update.spec() if self.update else None,
        )


class Probe(Plugin):
    """A ``[[probes]]`` section: a leakage or inference attack on what one client really sends.

    Attributes:
        client: The observed client; by default, of those that take part, the honest one of the lowest id.
        rounds: For each of them, the first round from there on in which the client takes part.
        labels_known: Whether the attacker is told the labels.
        defense_known: Whether the attacker is told what clients do against it (``client_defense``).
        candidates: Whether the attacker has records to ask about, of which half are the client's; the others
            are of the same classes, or of any.
        auxiliary: How many test examples the attacker has beside, of the clients' distribution.
    """

    client: int | None = Field(default=None, ge=0)
    rounds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1)
    labels_known: bool = False
    defense_known: bool = True
    candidates: Literal["none", "same_classes", "any_class"] = "none"
    auxiliary: int = Field(default=0, ge=0)

    @model_serializer(mode="wrap")
    def _as_before(self, plainly: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys that earlier versions did not have where they say what these did."""
        values: dict[str, Any] = plainly(self)
        later = {"defense_known": True, "candidates": "none", "auxiliary": 0}
        return {k: v for k, v in values.items() if k not in later or later[k] != v}

    def record(self) -> dict[str, Any]:
        """Return the probe as plain values: the attack, its options, whom it watches and what it is told."""
        return {
            "attack": self.name,
            "options": self.spec().options,
            "client": self.client,
            "rounds": sorted(set(self.rounds)),
            "labels_known": self.labels_known,
            **({} if self.defense_known else {"defense_known": False}),
            **({"candidates": self.candidates} if self.candidates != "none" else {}),
            **({"auxiliary": self.auxiliary} if self.auxiliary else {}),
        }

    def identity(self) -> str:
        """Return a name of this probe alone, fit for a folder: the attack, and a digest of all its keys."""
        told = "-labels-known" if self.labels_known else ""
        return f"{plain(self.name)}{told}-{digest_of(self.record())}"


def plain(name: str) -> str:
    """Return the readable part of a plug-in's name, fit for a folder: of ``place:Class``, the class."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name.rpartition(":")[2])[:40]


def digest_of(values: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits (64 bits) that stand for plain values."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=8).hexdigest()


class Evaluation(Section):
    """How often the global model is scored on the test set: every ``every`` rounds, and after the last."""

    every: int = Field(default=1, ge=1)


class Matrix(Section):
    """What ``gauntlet matrix`` crosses; each member of a list as a scenario would have it.

    Attributes:
        attacks: Attacks in place of the scenario's: a name, a table with options, or a list of two on the
            same clients: one on data, then one on updates.
        defenses: Defenses: a name, a table, or a list: pre-aggregations first, the defense last.
        shares: Shares of malicious clients, above 0 and below 1.
        seeds: Seeds; by default the scenario's own.
    """

    attacks: list[str | dict[str, Any] | list[str | dict[str, Any]]] = []
    defenses: list[str | dict[str, Any] | list[str | dict[str, Any]]] = []
    shares: list[Annotated[float, Field(gt=0, lt=1)]] = []
    seeds: list[Annotated[int, Field(ge=0)]] = []


class Checkpoint(Section):
    """How often the run is saved: every ``every`` rounds (0: only at the end)."""

    every: int = Field(default=10, ge=0)


class Runtime(Section):
    """Where clients run. Never changes a result.

    Attributes:
        pool: Ray actors, or this process.
        num_workers: Ray workers; every core by default.
        ray_address: A cluster to join instead of this machine.
        patience_seconds: With no block of clients finished for so long, the slowest Ray worker counts as hung
            and is replaced; by default nobody is given up.
        gpus_per_worker: GPUs, or which part of one, that a Ray worker is given where clients train on CUDA;
            by default all GPUs are dealt out evenly.
        transport: How blocks travel to Ray workers and back: sockets, or Ray's object store, which needs no
            port of ours; by default sockets on this machine and the object store on a cluster.
    """

    pool: Literal["ray", "serial"] = "ray"
    num_workers: int | None = Field(default=None, ge=1)
    ray_address: str | None = None
    patience_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    gpus_per_worker: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    transport: Literal["auto", "socket", "ray"] = "auto"
