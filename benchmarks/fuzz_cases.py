"""What ``fuzz.py`` throws: of each kind how many cases, what they start from, and how a case is made."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gauntlet.core.errors import shown
from gauntlet.server.simulation import prepare
from gauntlet.sims.families import family
from gauntlet.sims.overrides import PLUGIN_SECTIONS
from gauntlet.sims.scenario import Scenario, load_scenario, make_scenario, scenario_names
from gauntlet.sims.summary import summary_rows
from gauntlet.sims.sweep import load_runs

Case = tuple[Callable[[], object], str]
Stream = np.random.Generator

SMALL: Mapping[str, Any] = {
    "name": "small",
    "rounds": 2,
    "num_clients": 6,
    "data": {
        "name": "synthetic",
        "num_features": 4,
        "num_classes": 3,
        "examples_per_client": 4,
        "num_test": 6,
    },
    "model": "logistic_regression",
    "training": {"local_steps": 1, "batch_size": 2, "lr": 0.5},
    "runtime": {"pool": "serial"},
    "vectorize": "off",
}
RICH: tuple[Mapping[str, Any], ...] = (
    {},
    {"attacks": [{"name": "sign_flip", "count": 2}], "defense": {"name": "trimmed_mean", "num_byzantine": 2}},
    {"privacy": {"name": "gaussian", "clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3},
     "defense": {"name": "mean", "weighting": "fixed"}, "sampler": {"name": "poisson", "sample_rate": 0.5}},
    {"codec": "terngrad", "network": {"name": "links", "dropout": 0.1}, "server_optimizer": {"name": "adam"}},
    {"attacks": [{"name": "label_flip", "share": 0.5}], "pre_aggregations": ["nnm"],
     "defense": {"name": "krum", "num_byzantine": 1}, "evaluation": {"every": 2}, "max_epsilon": 8.0},
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 2**31, 2**63 - 1, 2**63, -(2**70), 10**400, 0.0, -0.0, 0.5, 1.0,
    -1.5, 1e-320, 1e-30, 1e30, 1e300, float("inf"), float("-inf"), float("nan"), "", "x", "auto", "on",
    "none", "\0", "x" * 5000, "../..", "/etc/passwd", "os:system", "a.py:B", "gone.py", "a:b:c", ":",
    "é\ud800", "[red]", "%s{}", [], [1], [[]], ["x"], [None], [1, 2, 3], [{}], {}, {"name": None},
    {"name": ""}, {"name": "mean"}, {"x": 1}, {"": 1}, {"name": {"name": "x"}}, (1, 2), b"bytes", {1: 2},
    object,
)  # fmt: skip


PATHS = ("training.lr", "attacks.0.count", "a..b", "", ".", "attacks.-1.x", "sweep.seed", "matrix.shares.0")
PATHS += ("probes.0.rounds",)
WORDS = ("[" * 2500, "9" * 5000, "1979-05-27", "nan", "'a", "1\nseed = 2", "{a=1", '{name="x"}')


def nothing(scratch: Path) -> Path:
    return scratch


def pick(stream: Stream, among: Any) -> Any:
    return among[int(stream.integers(len(among)))]


def value(stream: Stream) -> Any:
    """Return something from outside: mostly a plain value, now and then one that is nested very deeply."""
    if stream.random() < 0.02:
        deep: Any = 1
        for _ in range(int(pick(stream, (10, 40, 500, 3000)))):
            deep = [deep] if stream.random() < 0.5 else {"x": deep}
        return deep
    return copied(pick(stream, VALUES))  # else one case would change what the next ones are made of


def copied(tree: Any, depth: int = 0) -> Any:
    """Return a copy of a tree; what lies very deep stays as it is."""
    if depth > 8 or not isinstance(tree, dict | list):
        return tree
    if isinstance(tree, list):
        return [copied(part, depth + 1) for part in tree]
    return {key: copied(part, depth + 1) for key, part in tree.items()}


def as_json(tree: Any) -> str:
    try:
        return json.dumps(tree, default=str)
    except (RecursionError, TypeError, ValueError):
        return "[" * 5000 + "]" * 5000


def told(value: Any) -> str:
    return shown(value, 500)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every part of a tree that is not very deep."""
    if len(path) > 7:
        return
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, part in parts:
        yield (*path, key)
        yield from places(part, (*path, key))


def changed(stream: Stream, tree: Any) -> Any:
    """Return a tree of plain values with one to three of its parts replaced, removed, or added."""
    tree = copied(tree)
    for _ in range(int(stream.integers(1, 4))):
        path = pick(stream, list(places(tree)) or [("x",)])
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        what = stream.random()
        if what < 0.15:
            del parent[path[-1]]
        elif what < 0.25 and isinstance(parent, dict):
            parent[pick(stream, ("x", "name", "lr", "seed", "", "a.b"))] = value(stream)
        else:
            parent[path[-1]] = value(stream)
        if not tree:
            return tree
    return tree


def plugin(stream: Stream, kind: str) -> dict[str, Any]:
    """Return a random built-in of a family with up to two options of any value."""
    name = pick(stream, list(family(kind).table))
    found: Any = family(kind).find(name)
    known = [f.name for f in fields(found) if f.init] if is_dataclass(found) else []
    told = [pick(stream, known) for _ in range(int(stream.integers(0, 3))) if known]
    return {"name": name, **{option: value(stream) for option in told}}


def scenario(stream: Stream, scratch: Path) -> Case:
    raw: Any = copied({**SMALL, **pick(stream, RICH)})
    if stream.random() < 0.2:
        return _text(stream, scratch)
    if stream.random() < 0.5:
        section = pick(stream, [s for s in PLUGIN_SECTIONS if s not in ("data", "model")])
        raw[section] = plugin(stream, PLUGIN_SECTIONS[section])
    if stream.random() < 0.3:
        raw[pick(stream, list(Scenario.model_fields))] = value(stream)
    raw = changed(stream, raw) if stream.random() < 0.8 else raw
    return partial(first_round, lambda: make_scenario(raw)), told(raw)


def first_round(load: Callable[[], Scenario]) -> None:
    """Load a scenario, and run as much of it as one round."""
    loaded = load()
    ready = prepare(loaded.run_spec())
    pool = ready.serial_pool()
    for _ in ready.steps(pool):
        break


def _text(stream: Stream, scratch: Path) -> Case:
    """A shipped scenario's text, damaged; only read and checked, since some would run for minutes."""
    text = pick(stream, list(scenario_names().values())).read_text(encoding="utf-8")
    content = damaged(stream, text.encode())
    if stream.random() < 0.1:
        content += b"\nx = " + pick(
            stream, (b"[" * 3000 + b"]" * 3000, b"9" * 5000, b"0x" + b"f" * 9000, b"1e999")
        )
    path = scratch / "damaged.toml"
    path.write_bytes(content)
    return lambda: load_scenario(path).run_spec(), f"{content!r:.500}"


def damaged(stream: Stream, content: bytes) -> bytes:
    """Return bytes with some flipped, cut out, doubled, or replaced, or cut short."""
    data = bytearray(content)
    for _ in range(int(stream.integers(1, 5))):
        if not data:
            break
        at, length = int(stream.integers(len(data))), int(stream.integers(1, 17))
        what = int(stream.integers(6))
        if what == 0:
            data[at] ^= 1 << int(stream.integers(8))
        elif what == 1:
            del data[at : at + length]
        elif what == 2:
            data[at:at] = data[at : at + length]
        elif what == 3:
            data[at : at + length] = stream.bytes(length)
        elif what == 4:
            data[at] = int(pick(stream, (0, 255, 127, 128)))
        elif stream.random() < 0.3:
            del data[at:]
    return bytes(data)


def override(stream: Stream, _: Path) -> Case:
    keys = [*Scenario.model_fields, *(f"{s}.name" for s in PLUGIN_SECTIONS), *PATHS]
    words = []
    for _ in range(int(stream.integers(1, 4))):
        said = pick(stream, (repr(pick(stream, VALUES)), as_json(pick(stream, VALUES)), *WORDS))
        words.append(f"{pick(stream, keys)}{pick(stream, ('=', '=', '=', '', ' = '))}{said}")
    return lambda: load_scenario("quickstart", words).run_spec(), told(words)


def folder_base(scratch: Path) -> tuple[Path, dict[str, bytes]]:
    from gauntlet.sims.sweep import sweep

    told = {
        "data": "digits",
        "probes": [{"name": "idlg"}],
        "rounds": 1,
        "sweep": {"seed": [0, 1]},
        "num_clients": 20,
    }
    sweep(make_scenario({**SMALL, **told, "training": {"local_steps": 1, "batch_size": 1}}), scratch / "runs")
    files = {
        str(p.relative_to(scratch)): p.read_bytes()
        for p in sorted((scratch / "runs").rglob("*"))
        if p.is_file()
    }
    return scratch, {name: content for name, content in files.items() if "observations" not in name}


def folder(stream: Stream, base: tuple[Path, dict[str, bytes]]) -> Case:
    scratch, files = base
    for name, content in files.items():
        (scratch / name).write_bytes(content)
    name = pick(stream, list(files))
    content = files[name]
    if name.endswith(".json") and stream.random() < 0.7:
        new = as_json(changed(stream, json.loads(content))).encode("utf-8", "replace")
        new = pick(stream, (new, new, new, b"[" * 9000, b"9" * 9000))
    else:
        new = damaged(stream, content)
    (scratch / name).write_bytes(new)

    def read() -> None:
        runs = load_runs([scratch / "runs"])
        summary_rows(runs)
        for run in runs:
            _ = run.rounds, run.clients, run.scores, run.classes, run.attacks, run.gallery(), run.audit

    return read, f"{name}: {new!r:.400}"
