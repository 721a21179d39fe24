"""A scenario: a TOML file, checked to the last key."""

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from secrets import randbits
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from ..core.contracts import LocalTraining
from ..core.errors import ScenarioError, said, unknown, wrong_value
from ..core.registry import configure
from ..server.spec import RunSpec
from .handed import pairs_of, path_of
from .live_values import plain_values
from .outside_code import code_of
from .overrides import change, parse
from .plain import check_plain, plugin_table, read_text, read_toml
from .sections import Attack, Checkpoint, Evaluation, Matrix, Model, Plugin, Probe, Runtime, Section
from .shelves import scenario_names

_SECRET_BITS = 128  # as many as a stream's key has


class Scenario(BaseModel):
    """Everything that decides a run, and how to run it. See ``docs/run-a-scenario.md`` for each key.

    Keywords take what a TOML file has, sections as classes of ``sections`` too, and live objects in the place
    of a plug-in's table: an instance, a class, for a model a function or a module. See ``docs/python.md``.

    Raises:
        ScenarioError: The first thing that is wrong, in one line.
    """

    model_config = Section.model_config

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seed: int = Field(default=0, ge=0)
    noise_seed: Literal["run", "system"] = "run"
    rounds: int = Field(ge=1)
    num_clients: int | Literal["natural"]
    data: Plugin
    partition: Plugin = Plugin(name="iid")
    model: Model
    training: dict[str, Any] = {}
    task: Plugin | None = None
    algorithm: Plugin = Plugin(name="fedavg")
    sampler: Plugin = Plugin(name="full")
    attacks: list[Attack] = []
    probes: list[Probe] = []
    codec: Plugin = Plugin(name="identity")
    codec_down: Plugin = Plugin(name="identity")
    network: Plugin = Plugin(name="ideal")
    link: dict[str, Any] | None = None
    schedule: Plugin = Plugin(name="synchronous")
    server: Plugin = Plugin(name="honest")
    privacy: Plugin = Plugin(name="none")
    max_epsilon: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_delta: float = Field(default=0.1, gt=0, lt=1)
    client_defense: Plugin = Plugin(name="none")
    audit: Plugin = Plugin(name="none")
    pre_aggregations: list[Plugin] = []
    defense: Plugin = Plugin(name="mean")
    server_optimizer: Plugin = Plugin(name="sgd")
    vectorize: Literal["auto", "on", "off"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    root_examples: int = Field(default=0, ge=0)
    held_out: float = Field(default=0.0, ge=0, lt=1, allow_inf_nan=False)
    evaluation: Evaluation = Evaluation()
    checkpoint: Checkpoint = Checkpoint()
    track: Plugin = Plugin(name="none")
    runtime: Runtime = Runtime()
    sweep: dict[str, list[Any]] = {}
    matrix: Matrix = Matrix()

    def __init__(self, **values: Any) -> None:
        plain = {"name": "unnamed"} | {key: plain_values(value, key) for key, value in values.items()}
        check_plain({key: value for key, value in plain.items() if not isinstance(value, BaseModel)})
        try:
            super().__init__(**plain)
        except ValidationError as error:
            raise ScenarioError(_first(error)) from error

    @model_validator(mode="before")
    @classmethod
    def _name_defaults(cls, sections: Any) -> Any:
        """Let options alone mean the default plug-in: ``[defense]`` with a weighting alone is the mean."""
        named = {k: f.default for k, f in cls.model_fields.items() if isinstance(f.default, Plugin)}
        options = {k: v for k, v in sections.items() if k in named and isinstance(v, dict)}
        partition = plugin_table(sections.get("partition"))
        if isinstance(partition, Mapping) and partition.get("name") == "natural":
            sections = {"num_clients": "natural", **sections}
        return {**sections, **{k: {"name": named[k].name, **v} for k, v in options.items()}}

    @field_validator("num_clients", mode="before")
    @classmethod
    def _some_clients(cls, value: Any) -> Any:
        if value != "natural" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError("it must be a whole number, at least 1, or 'natural'")
        return value

    @field_validator("sweep")
    @classmethod
    def _something_to_cross(cls, sweep: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if empty := [key for key, values in sweep.items() if not values]:
            raise ValueError(f"'{empty[0]}' has no values to run")
        for key, values in sweep.items():
            # A name alone is the plug-in of that name with no option.
            plain = [v["name"] if isinstance(v, dict) and list(v) == ["name"] else v for v in values]
            for number, value in enumerate(plain):
                if value in plain[:number]:
                    raise ValueError(f"'{key}' has {values[number]!r} twice, which would run the same twice")
        return sweep

    def settled(self) -> "Scenario":
        """Return the scenario with its number of clients as a number: natural ones are counted in the data.

        Raises:
            GauntletError: There are none to be counted.
        """
        if isinstance(self.num_clients, int):
            return self
        from ..server.assembly.ingredients import count_natural_clients

        counted = count_natural_clients(self.model_copy(update={"num_clients": 1, "attacks": []}).run_spec())
        return self.model_copy(update={"num_clients": counted})

    def run_spec(self) -> RunSpec:
        """Return what decides the results; with noise from the system, no two calls return the same.

        Raises:
            GauntletError: ``[training]`` has unknown keys or values out of range, or there are no natural
                clients to be counted.
        """
        if not isinstance(self.num_clients, int):
            return self.settled().run_spec()
        clients = self.num_clients
        return RunSpec(
            seed=self.seed,
            rounds=self.rounds,
            num_clients=clients,
            data=self.data.spec(),
            partition=self.partition.spec(),
            model=self.model.spec(),
            init=self.model.init,
            training=configure(LocalTraining, "training", self.training),
            task=None if self.task is None else self.task.spec(),
            algorithm=self.algorithm.spec(),
            sampler=self.sampler.spec(),
            codec=self.codec.spec(),
            codec_down=self.codec_down.spec(),
            network=self.network.spec(),
            link=self.link,
            schedule=self.schedule.spec(),
            server=self.server.spec(),
            privacy=self.privacy.spec(),
            client_defense=self.client_defense.spec(),
            audit=self.audit.spec(),
            defense=self.defense.spec(),
            server_optimizer=self.server_optimizer.spec(),
            pre_aggregations=tuple(p.spec() for p in self.pre_aggregations),
            roles=tuple(a.role(clients) for a in self.attacks),
            evaluate_every=self.evaluation.every,
            vectorize=self.vectorize,
            device=self.device,
            compile=self.compile,
            rows=bool(self.probes),
            root_examples=self.root_examples,
            held_out=self.held_out,
            max_epsilon=self.max_epsilon,
            max_delta=self.max_delta,
            noise_seed=randbits(_SECRET_BITS) if self.noise_seed == "system" else None,
        )

    def values(self) -> dict[str, Any]:
        """Return the scenario as plain values, as a manifest holds it."""
        return self.model_dump(mode="json")

    def fingerprint(self, code: Mapping[str, str] | None = None) -> str:
        """Return a hash of everything that decides the results: equal hashes, equal bits.

        Args:
            code: The hashes of the sources from outside the package; by default of those that are there now.
        """
        values = self.values()
        return fingerprint(values, code_of(values) if code is None else code)


_LATER = {
    "noise_seed": "run",
    "codec_down": {"name": "identity"},
    "task": None,
    "link": None,
    "schedule": {"name": "synchronous"},
    "server": {"name": "honest"},
    "held_out": 0.0,
    "client_defense": {"name": "none"},
}
"""Keys that earlier versions did not have, and what these did."""


def fingerprint(values: Mapping[str, Any], code: Mapping[str, str]) -> str:
    """Return the fingerprint of a scenario's plain values, also of those that another version wrote.

    Args:
        values: As ``Scenario.values`` returns them.
        code: The hashes of the sources from outside the package.
    """
    apart = {"description", "runtime", "sweep", "matrix", "max_delta", "track"}
    decides = {k: v for k, v in values.items() if k not in apart}
    decides |= {"code": dict(code)} if code else {}
    decides = {k: v for k, v in decides.items() if k not in _LATER or v != _LATER[k]}
    return blake2b(json.dumps(decides, sort_keys=True).encode(), digest_size=8).hexdigest()


_SECTIONS: dict[str, type[BaseModel]] = {
    "evaluation": Evaluation,
    "checkpoint": Checkpoint,
    "runtime": Runtime,
    "matrix": Matrix,
}


def load_scenario(
    name: str | Path, overrides: Iterable[str | tuple[str, Any]] | Mapping[str, Any] = ()
) -> Scenario:
    """Return a scenario by name, or from a TOML file.

    Args:
        name: A shipped scenario's name, or a path that ends in ``.toml``.
        overrides: ``key.path=value`` strings and (path, value) pairs, or a mapping from paths to values;
            values may be live objects.

    Raises:
        ScenarioError: There is no such scenario, or something in it is wrong.
    """
    path = path_of(name, "scenario", "a gauntlet.Scenario, a name or a path")
    if path.suffix != ".toml":
        if str(name) not in scenario_names():
            raise ScenarioError(unknown("scenario", str(name), scenario_names()))
        path = scenario_names()[str(name)]
    try:
        raw = read_toml(read_text(path))
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ScenarioError(f"{path} is not TOML: {said(error, named=False)}") from error
    raw.setdefault("name", path.stem)
    check_plain(raw)
    for key, value in pairs_of(overrides, parse):
        value = plain_values(value, key)
        check_plain(value, key)
        raw = change(raw, key, value)
    return make_scenario(absolute(raw, path.parent), path.name)


def absolute(value: Any, folder: Path) -> Any:
    """Return plain values in which every plug-in file's path is absolute.

    A relative path counts from the working folder, or else from the scenario's own.
    """
    if isinstance(value, dict):
        return {k: absolute(v, folder) for k, v in value.items()}
    if isinstance(value, list):
        return [absolute(v, folder) for v in value]
    file, colon, name = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not (colon and file.endswith(".py")):
        return value
    if file.startswith("torch:"):
        return f"torch:{absolute(value.removeprefix('torch:'), folder)}"
    places = (Path(file).expanduser(), folder / file)
    found = next((p for p in places if p.is_file()), places[0])
    return f"{found.resolve()}:{name}"


def make_scenario(raw: Mapping[str, Any], source: str = "scenario") -> Scenario:
    """Return a scenario from plain values.

    Raises:
        ScenarioError: The first thing that is wrong, in one line.
    """
    check_plain(raw)
    if "name" not in raw:
        raise ScenarioError(f"{source}: key 'name' is required")
    try:
        return Scenario(**raw)
    except ScenarioError as error:
        raise ScenarioError(f"{source}: {error}") from error


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
    return f"'{where}' {wrong_value(worst)}"


def _prefixed(where: str, name: str) -> str:
    section, dot, _ = where.rpartition(".")
    return f"{section}{dot}{name}"
