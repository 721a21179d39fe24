"""Run a leakage or inference attack on a recorded observation, beside the truth."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..attacks.leakage import INFERENCE_ATTACKS, LEAKAGE_ATTACKS
from ..attacks.leakage import infers as infers
from ..attacks.leakage.metrics import artefact_of, score
from ..attacks.leakage.outputs import checked_reconstruction, checked_scores
from ..attacks.leakage.requirements import letter_of, oracles_of, refuse_number, refuse_unmet, told
from ..clients.device import one_thread
from ..core.disk import write_folder
from ..core.errors import ResultsError
from ..core.guards import guard
from ..core.observation import Observation
from ..core.registry import require
from ..core.seeds import generator
from ..server.recordings import load_observation, load_truth, probe_of
from ..server.spec import PluginSpec
from .rebuilt import SCHEMA
from .results import write_json
from .sections import digest_of, plain


def reconstruct(places: Sequence[Path], attack: PluginSpec, seed: int, results: Path) -> Path:
    """Attack the observations in ``places``; return the folder of the reconstruction under ``results``.

    Several are messages of one client, in the order of their rounds, and what is rebuilt is measured by what
    the client trained on in the last of them.

    Raises:
        PluginError: The attack does not exist, raises, needs knowledge that it is not given, or returns what
            is no reconstruction of the observed batch.
        FrameError: The observed frame does not decode.
        DataError: The recording cannot be read.
        ResultsError: The disk is full or not writable.
    """
    who = f"leakage attack '{attack.name}'"
    plugin = guard(LEAKAGE_ATTACKS.build(attack.name, attack.options), who)
    observations = _load(plugin, places)
    last = observations[-1]
    handed = [told(plugin, observation) for observation in observations]
    stream = generator(seed, "reconstruct", last.round, last.client_id)
    with one_thread():
        found = checked_reconstruction(plugin.reconstruct(handed, stream), observations, who)
    truth = load_truth(places[-1])
    require(
        len(found.x) == len(truth.x),
        f"{who} rebuilt {len(found.x)} examples, and the client trained on {len(truth.x)}",
    )
    scores = score(found, truth, last.value_range)
    tensors = {"x": found.x[scores.order], "y": found.y[scores.order], "truth": truth.x, "labels": truth.y}
    report = {
        **_head(places, attack, plugin, observations),
        "artefact": artefact_of(found),
        "psnr": scores.psnr.tolist(),
        "ssim": [None if np.isnan(s) else s for s in scores.ssim.tolist()],
        "mse": scores.mse.tolist(),
        "within_tolerance": [None if np.isnan(s) else s for s in scores.within_tolerance.tolist()],
        "label_accuracy": scores.label_accuracy,
        "cost": _finite(found.cost),
        "stopped": found.stopped,
        "details": {name: _finite(value) for name, value in found.details.items()},
    }
    return _write(results / _result_name(places, attack), tensors, report)


def _load(plugin: object, places: Sequence[Path]) -> list[Observation]:
    """Return recorded observations, each of which the attack accepts."""
    refuse_number(plugin, len(places))
    observations = [load_observation(place) for place in places]
    for observation in observations:
        refuse_unmet(plugin, observation)
    return observations


def _write(folder: Path, tensors: dict[str, Tensor], report: dict[str, Any]) -> Path:
    """Write a reconstruction whole or not at all, and return its folder."""
    from safetensors.torch import save

    content = {
        "tensors.safetensors": save({name: t.contiguous() for name, t in tensors.items()}),
        "reconstruction.json": json.dumps(report, indent=1).encode(),
    }
    try:
        write_folder(folder, content)
    except OSError as error:
        raise ResultsError(f"{folder} cannot be written: {error.strerror}") from error
    return folder


def infer(place: Path, attack: PluginSpec, results: Path) -> Path:
    """Let an inference attack score the observation in ``place``; return its JSON file under ``results``.

    Beside the scores stands how many examples of each class the client really trained on.

    Raises:
        PluginError: The attack does not exist, raises, needs knowledge that it is not given, or returns what
            are no scores.
        FrameError: The observed frame does not decode.
        DataError: The recording cannot be read.
        ResultsError: The disk is full or not writable.
    """
    who = f"inference attack '{attack.name}'"
    plugin = guard(INFERENCE_ATTACKS.build(attack.name, attack.options), who)
    (observation,) = _load(plugin, [place])
    with one_thread():
        scores = checked_scores(plugin.infer([told(plugin, observation)]), 1, who)[0]
    report = {
        **_head([place], attack, plugin, [observation]),
        "scores": scores.double().tolist(),
        "label_counts": torch.bincount(load_truth(place).y, minlength=observation.num_classes).tolist(),
    }
    path = results / f"{_result_name([place], attack)}.json"
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"{results} cannot be made: {error.strerror}") from error
    write_json(path, report)
    return path


def _head(
    places: Sequence[Path], attack: PluginSpec, plugin: object, observations: Sequence[Observation]
) -> dict[str, Any]:
    """Return what every result says of itself first."""
    last = told(plugin, observations[-1])
    return {
        "schema": SCHEMA,
        "observation": places[-1].name,
        "observations": [place.name for place in places],
        "attack": attack.name,
        "options": attack.options,
        "labels_known": last.knowledge.labels is not None,
        "sok": letter_of(plugin, observations),
        "oracle": oracles_of(plugin, observations),
        "round": last.round,
        "client_id": last.client_id,
    }


def _result_name(places: Sequence[Path], attack: PluginSpec) -> str:
    """Return what the result is called: as the last recording of the attack's own probe, or after both."""
    probe = probe_of(places[-1])
    if (probe.get("attack"), probe.get("options")) == (attack.name, attack.options):
        return places[-1].name
    other = digest_of({"attack": attack.name, "options": attack.options})
    return f"{places[-1].name}-{plain(attack.name)}-{other}"


def shared_result(recording: str, attack: str) -> str:
    """Return what the result of a recording of schema 1 was called."""
    return f"{recording}-{''.join(c if c.isalnum() else '-' for c in attack)}"


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
