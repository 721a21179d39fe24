"""Run a leakage or inference attack on a recorded observation, beside the truth."""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..attacks.leakage import INFERENCE_ATTACKS, LEAKAGE_ATTACKS
from ..attacks.leakage import infers as infers
from ..attacks.leakage.parts.outputs import checked_reconstruction, checked_scores
from ..attacks.leakage.parts.requirements import (
    knows_codec,
    letter_of,
    oracles_of,
    refuse_number,
    refuse_unmet,
    told,
)
from ..clients.placement.device import one_thread
from ..core.disk import make_folder, write_folder
from ..core.errors import ResultsError
from ..core.guards import guard
from ..core.observation import Observation
from ..core.outside import only_our_own
from ..core.registry import Family, require
from ..core.seeds import generator
from ..server.recording.format import probe_of
from ..server.recording.replays import load_observation, truth_of
from ..server.spec import PluginSpec
from .attack_report import scored, timed
from .inference_report import judged
from .outside_code import code_of
from .rebuilt import SCHEMA, TIMINGS, timings_of
from .results import write_json
from .sections import digest_of, plain

NAME = re.compile(r"round-(\d{6,})-client-(\d{6,})(?:-(.+))?")
"""Of a recording: round, client, the probe's identity; without the last it was shared, in schema 1."""


@dataclass(frozen=True)
class AttackJob:
    """An attack on recorded messages, as a task takes it along.

    Attributes:
        places: The recordings: one, or several rounds of one client in their order.
        attack: The attack and its options.
        seed: The run's.
        results: The folder under which the result is kept.
        name: What it is called there; by default as the recording of the attack's own probe, or after both.
        distrust: Why nothing from outside may be loaded that a recording names; None where it may.
    """

    places: tuple[Path, ...]
    attack: PluginSpec
    seed: int
    results: Path
    name: str = ""
    distrust: str | None = None

    @property
    def called(self) -> str:
        """The name of the result."""
        return self.name or _result_name(self.places, self.attack)


def carry_out(job: AttackJob) -> Path:
    """Let a leakage or inference attack look at what was recorded; return where the result is.

    Raises:
        GauntletError: See ``reconstruct`` and ``infer``.
    """
    return (infer if infers(job.attack.name) else reconstruct)(job)


def make_attack(attack: PluginSpec) -> tuple[Any, str]:
    """Return a leakage or inference attack, and what messages call it.

    Raises:
        PluginError: There is none of that name, or it does not take the options.
    """
    family: Family[Any] = INFERENCE_ATTACKS if infers(attack.name) else LEAKAGE_ATTACKS
    who = f"{family.noun} '{attack.name}'"
    return guard(family.build(attack.name, attack.options), who), who


def reconstruct(job: AttackJob) -> Path:
    """Let a leakage attack rebuild what a client trained on; return the result's folder.

    Several messages are of one client, and what is rebuilt is measured by what the client trained on in the
    last of them; where its file is gone, no score is known.

    Raises:
        PluginError: The attack does not exist, raises, needs knowledge that it is not given, or returns what
            is no reconstruction of the observed batch.
        FrameError: The observed frame does not decode.
        DataError: The recording cannot be read.
        ResultsError: The disk is full or not writable.
    """
    plugin, who = make_attack(job.attack)
    observations = observed(plugin, job.places, job.distrust)
    last = observations[-1]
    handed = [told(plugin, observation) for observation in observations]
    stream = generator(job.seed, "reconstruct", last.round, last.client_id)
    with one_thread():
        begun = time.thread_time()
        made = plugin.reconstruct(handed, stream)
        spent = time.thread_time() - begun
        found = checked_reconstruction(made, observations, who)
    truth = truth_of(job.places[-1])
    if truth is not None:
        require(
            len(found.x) == len(truth.x),
            f"{who} rebuilt {len(found.x)} examples, and the client trained on {len(truth.x)}",
        )
    apart = generator(job.seed, "baselines", last.round, last.client_id)
    tensors, said = scored(found, truth, last.value_range, apart)
    report = {**_head(job, plugin, observations), **said}
    return _write(job.results / job.called, tensors, report, timed(spent, found.progress))


def observed(plugin: object, places: Sequence[Path], distrust: str | None = None) -> list[Observation]:
    """Return recorded observations, each of which an attack accepts.

    Raises:
        PluginError: It does not.
        DataError: One cannot be read.
        FrameError: A frame does not decode.
    """
    refuse_number(plugin, len(places))
    with only_our_own(distrust):
        observations = [load_observation(place) for place in places]
    for observation in observations:
        refuse_unmet(plugin, observation)
    return observations


def _write(folder: Path, tensors: dict[str, Tensor], report: dict[str, Any], times: dict[str, Any]) -> Path:
    """Write a reconstruction whole or not at all, and return its folder."""
    from safetensors.torch import save

    content = {
        "tensors.safetensors": save({name: t.contiguous() for name, t in tensors.items()}),
        "reconstruction.json": json.dumps(report, indent=1).encode(),
        TIMINGS: json.dumps(times, indent=1).encode(),
    }
    try:
        write_folder(folder, content)
    except OSError as error:
        raise ResultsError(f"{folder} cannot be written: {error.strerror}") from error
    return folder


def infer(job: AttackJob) -> Path:
    """Let an inference attack score what was observed; return the JSON file.

    Scores of several rounds of one client are added up. Beside them stands what is true, and how well they
    tell it; None where that file is gone.

    Raises:
        PluginError: The attack does not exist, raises, needs knowledge that it is not given, or returns what
            are no scores.
        FrameError: The observed frame does not decode.
        DataError: The recording cannot be read.
        ResultsError: The disk is full or not writable.
    """
    plugin, who = make_attack(job.attack)
    observations = observed(plugin, job.places, job.distrust)
    handed = [told(plugin, observation) for observation in observations]
    with one_thread():
        begun = time.thread_time()
        made = plugin.infer(handed)
        spent = time.thread_time() - begun
        scores = checked_scores(made, len(handed), who).double().sum(dim=0)  # [H]
    truths = [truth_of(place) for place in job.places]
    report = {
        **_head(job, plugin, observations),
        "scores": scores.tolist(),
        **judged(plugin, scores, truths, observations[-1], who),
    }
    path = job.results / f"{job.called}.json"
    try:
        make_folder(job.results)
    except OSError as error:
        raise ResultsError(f"{job.results} cannot be made: {error.strerror}") from error
    write_json(timings_of(path), timed(spent))
    write_json(path, report)
    return path


def _head(job: AttackJob, plugin: object, observations: Sequence[Observation]) -> dict[str, Any]:
    """Return what every result says of itself first."""
    last, attack = told(plugin, observations[-1]), job.attack
    code = code_of({"name": attack.name, "options": attack.options})
    return {
        "schema": SCHEMA,
        "observation": job.places[-1].name,
        "observations": [place.name for place in job.places],
        "attack": attack.name,
        "options": attack.options,
        **({"code": code} if code else {}),
        "labels_known": last.knowledge.labels is not None,
        "sok": letter_of(plugin, observations),
        "oracle": oracles_of(plugin, observations),
        **({} if (aware := knows_codec(plugin, observations)) is None else {"codec_aware": aware}),
        "round": last.round,
        "client_id": last.client_id,
        **({"contributors": last.contributors} if last.kind == "aggregate" else {}),
    }


def _result_name(places: Sequence[Path], attack: PluginSpec) -> str:
    """Return what the result is called: as the last recording of the attack's own probe, or after both."""
    probe = probe_of(places[-1])
    if (probe.get("attack"), probe.get("options")) == (attack.name, attack.options):
        return places[-1].name
    return other_name(places, attack)


def other_name(places: Sequence[Path], attack: PluginSpec) -> str:
    """Return a name of the result of these recordings and this attack, with its options and code, alone."""
    said: dict[str, Any] = {"attack": attack.name, "options": attack.options}
    if code := code_of({"name": attack.name, "options": attack.options}):
        said["code"] = code
    if len(places) > 1:
        said["observations"] = [place.name for place in places]
    return f"{places[-1].name}-{plain(attack.name)}-{digest_of(said)}"


def shared_result(recording: str, attack: str) -> str:
    """Return what the result of a recording of schema 1 was called."""
    return f"{recording}-{''.join(c if c.isalnum() else '-' for c in attack)}"
