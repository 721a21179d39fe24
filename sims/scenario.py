"""A scenario: a TOML file, checked to the last key."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..core.contracts import LocalTraining
from ..core.errors import ScenarioError, unknown
from ..core.registry import configure
from ..server.spec import PluginSpec, RoleSpec, RunSpec
from .overrides import change, parse

_SHELVES = ("scenarios", "papers")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Plugin(BaseModel):
    """A plug-in section: a name, and beside it the plug-in's own options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def spec(self) -> PluginSpec:
        """Return the plug-in's name and options."""
        return PluginSpec(self.name, dict(self.model_extra or {}))


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
        """Return who attacks, and when."""
        return RoleSpec(
            plugin=self.spec(),
            clients=None if self.clients is None else tuple(self.clients),
            count=self.count if self.count is not None else int((self.share or 0) * num_clients + 1e-9),
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
        client: The observed client; by default the honest one of the lowest id.
        rounds: For each of them, the first round from there on in which the client takes part.
        labels_known: Whether the attacker is told the labels.
    """

    client: int | None = Field(default=None, ge=0)
    rounds: list[int] = [0]
    labels_known: bool = False


class Evaluation(_Section):
    """How often the global model is scored on the test set: every ``every`` rounds, and after the last."""

    every: int = Field(default=1, ge=1)


class Matrix(_Section):
    """What ``gauntlet matrix`` crosses; each member of a list as a scenario would have it.

    Attributes:
        attacks: Attacks: a name, a table with options, or a list of them that run on the same clients.
        defenses: Defenses: a name, a table, or a list: pre-aggregations first, the defense last.
        shares: Shares of malicious clients, above 0 and below 1.
        seeds: Seeds; by default the scenario's own.
    """

    attacks: list[str | dict[str, Any] | list[str | dict[str, Any]]] = []
    defenses: list[str | dict[str, Any] | list[str | dict[str, Any]]] = []
    shares: list[Annotated[float, Field(gt=0, lt=1)]] = []
    seeds: list[Annotated[int, Field(ge=0)]] = []


class Checkpoint(_Section):
    """How often the run is saved: every ``every`` rounds (0: only at the end)."""

    every: int = Field(default=10, ge=0)


class Runtime(_Section):
    """Where clients run. Never changes a result.

    Attributes:
        pool: Ray actors, or this process.
        num_workers: Ray workers; every core by default.
        ray_address: A cluster to join instead of this machine.
        patience_seconds: With no block of clients finished for so long, the slowest Ray worker counts as hung
            and is replaced; by default nobody is given up.
        gpus_per_worker: GPUs, or which part of one, that a Ray worker is given where clients train on CUDA;
            by default all GPUs are dealt out evenly.
    """

    pool: Literal["ray", "serial"] = "ray"
    num_workers: int | None = Field(default=None, ge=1)
    ray_address: str | None = None
    patience_seconds: float | None = Field(default=None, gt=0)
    gpus_per_worker: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class Scenario(_Section):
    """Everything that decides a run, and how to run it. See ``docs/run-a-scenario.md`` for each key."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seed: int = Field(default=0, ge=0)
    rounds: int = Field(ge=1)
    num_clients: int = Field(ge=1)
    data: Plugin
    partition: Plugin = Plugin(name="iid")
    model: Plugin
    training: dict[str, Any] = {}
    algorithm: Plugin = Plugin(name="fedavg")
    sampler: Plugin = Plugin(name="full")
    attacks: list[Attack] = []
    probes: list[Probe] = []
    codec: Plugin = Plugin(name="identity")
    network: Plugin = Plugin(name="ideal")
    privacy: Plugin = Plugin(name="none")
    max_epsilon: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    audit: Plugin = Plugin(name="none")
    pre_aggregations: list[Plugin] = []
    defense: Plugin = Plugin(name="mean")
    server_optimizer: Plugin = Plugin(name="sgd")
    vectorize: Literal["auto", "on", "off"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    root_examples: int = Field(default=0, ge=0)
    evaluation: Evaluation = Evaluation()
    checkpoint: Checkpoint = Checkpoint()
    runtime: Runtime = Runtime()
    sweep: dict[str, list[Any]] = {}
    matrix: Matrix = Matrix()

    @model_validator(mode="before")
    @classmethod
    def _name_defaults(cls, sections: Any) -> Any:
        """Let options alone mean the default plug-in: ``[defense]`` with a weighting alone is the mean."""
        named = {k: f.default for k, f in cls.model_fields.items() if isinstance(f.default, Plugin)}
        options = {k: v for k, v in sections.items() if k in named and isinstance(v, dict)}
        return {**sections, **{k: {"name": named[k].name, **v} for k, v in options.items()}}

    @field_validator("sweep")
    @classmethod
    def _something_to_cross(cls, sweep: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if empty := [key for key, values in sweep.items() if not values]:
            raise ValueError(f"'{empty[0]}' has no values to run")
        return sweep

    def run_spec(self) -> RunSpec:
        """Return what decides the results.

        Raises:
            PluginError: ``[training]`` has unknown keys or values out of range.
        """
        return RunSpec(
            seed=self.seed,
            rounds=self.rounds,
            num_clients=self.num_clients,
            data=self.data.spec(),
            partition=self.partition.spec(),
            model=self.model.spec(),
            training=configure(LocalTraining, "training", self.training),
            algorithm=self.algorithm.spec(),
            sampler=self.sampler.spec(),
            codec=self.codec.spec(),
            network=self.network.spec(),
            privacy=self.privacy.spec(),
            audit=self.audit.spec(),
            defense=self.defense.spec(),
            server_optimizer=self.server_optimizer.spec(),
            pre_aggregations=tuple(p.spec() for p in self.pre_aggregations),
            roles=tuple(a.role(self.num_clients) for a in self.attacks),
            evaluate_every=self.evaluation.every,
            vectorize=self.vectorize,
            device=self.device,
            compile=self.compile,
            rows=bool(self.probes),
            root_examples=self.root_examples,
            max_epsilon=self.max_epsilon,
        )

    def values(self) -> dict[str, Any]:
        """Return the scenario as plain values, as a manifest holds it."""
        return self.model_dump(mode="json")

    def fingerprint(self) -> str:
        """Return a hash of everything that decides the results: equal hashes, equal bits."""
        decides = {
            k: v for k, v in self.values().items() if k not in {"description", "runtime", "sweep", "matrix"}
        }
        return blake2b(json.dumps(decides, sort_keys=True).encode(), digest_size=8).hexdigest()


_SECTIONS: dict[str, type[BaseModel]] = {
    "evaluation": Evaluation,
    "checkpoint": Checkpoint,
    "runtime": Runtime,
    "matrix": Matrix,
}


def scenario_names() -> dict[str, Path]:
    """Return the scenarios that ship with the package, by name."""
    here = Path(__file__).parent
    return {p.stem: p for shelf in _SHELVES for p in sorted((here / shelf).glob("*.toml"))}


def load_scenario(
    name: str | Path, overrides: Iterable[str | tuple[str, Any]] | Mapping[str, Any] = ()
) -> Scenario:
    """Return a scenario by name, or from a TOML file.

    Args:
        name: A shipped scenario's name, or a path that ends in ``.toml``.
        overrides: ``key.path=value`` strings and (path, value) pairs, or a mapping from paths to values.

    Raises:
        ScenarioError: There is no such scenario, or something in it is wrong.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in scenario_names():
            raise ScenarioError(unknown("scenario", str(name), scenario_names()))
        path = scenario_names()[str(name)]
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path} is not TOML: {error}") from error
    raw.setdefault("name", path.stem)
    said = overrides.items() if isinstance(overrides, Mapping) else overrides
    for key, value in (parse(one) if isinstance(one, str) else one for one in said):
        raw = change(raw, key, value)
    return make_scenario(_absolute(raw, path.parent), path.name)


def _absolute(value: Any, folder: Path) -> Any:
    """Return plain values in which every plug-in file's path is absolute.

    A relative path counts from the working folder, or else from the scenario's own.
    """
    if isinstance(value, dict):
        return {k: _absolute(v, folder) for k, v in value.items()}
    if isinstance(value, list):
        return [_absolute(v, folder) for v in value]
    file, colon, name = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not (colon and file.endswith(".py")):
        return value
    places = (Path(file).expanduser(), folder / file)
    found = next((p for p in places if p.is_file()), places[0])
    return f"{found.resolve()}:{name}"


def make_scenario(raw: Mapping[str, Any], source: str = "scenario") -> Scenario:
    """Return a scenario from plain values.

    Raises:
        ScenarioError: The first thing that is wrong, in one line.
    """
    try:
        return Scenario.model_validate(dict(raw))
    except ValidationError as error:
        raise ScenarioError(f"{source}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    details = error.errors()
    # A misspelt key often leaves a required one missing: the misspelling says more.
    worst = next((d for d in details if d["type"] == "extra_forbidden"), details[0])
    where = ".".join(str(part) for part in worst["loc"])
    if worst["type"] == "extra_forbidden":
        section = _SECTIONS.get(str(worst["loc"][0]), Scenario) if len(worst["loc"]) > 1 else Scenario
        return unknown("key", where, [_prefixed(where, f) for f in section.model_fields])
    if worst["type"] == "missing":
        return f"key '{where}' is required"
    words = str(worst["msg"]).removeprefix("Value error, ")
    return f"'{where}' is {worst['input']!r}: {words[0].lower()}{words[1:]}"


def _prefixed(where: str, name: str) -> str:
    section, dot, _ = where.rpartition(".")
    return f"{section}{dot}{name}"
