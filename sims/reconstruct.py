"""Run a leakage or inference attack on a recorded observation, beside the truth."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..attacks.leakage import INFERENCE_ATTACKS, LEAKAGE_ATTACKS
from ..attacks.leakage import infers as infers
from ..attacks.leakage.metrics import score
from ..attacks.leakage.outputs import checked_reconstruction, checked_scores
from ..attacks.leakage.requirements import refuse_unmet
from ..clients.device import one_thread
from ..core.disk import write_folder
from ..core.errors import ResultsError
from ..core.guards import guard
from ..core.observation import Observation
from ..core.seeds import generator
from ..server.probe import load_observation, load_truth, probe_of
from ..server.spec import PluginSpec
from .rebuilt import SCHEMA
from .results import write_json
from .sections import digest_of, plain


def reconstruct(place: Path, attack: PluginSpec, seed: int, results: Path) -> Path:
    """Attack the observation in ``place``; return the folder of its reconstruction under ``results``.

    Raises:
        PluginError: The attack does not exist, raises, needs knowledge that it is not given, or returns what
            is no reconstruction of the observed batch.
        FrameError: The observed frame does not decode.
        DataError: The recording cannot be read.
        ResultsError: The disk is full or not writable.
    """
    who = f"leakage attack '{attack.name}'"
    plugin = guard(LEAKAGE_ATTACKS.build(attack.name, attack.options), who)
    observation = load_observation(place)
    refuse_unmet(plugin, observation)
    stream = generator(seed, "reconstruct", observation.round, observation.client_id)
    with one_thread():
        found = checked_reconstruction(plugin.reconstruct(observation, stream), observation, who)
    truth = load_truth(place)
    scores = score(found, truth, observation.value_range)
    tensors = {"x": found.x[scores.order], "y": found.y[scores.order], "truth": truth.x, "labels": truth.y}
    report = {
        **_head(place, attack, observation),
        "psnr": scores.psnr.tolist(),
        "ssim": [None if np.isnan(s) else s for s in scores.ssim.tolist()],
        "mse": scores.mse.tolist(),
        "label_accuracy": scores.label_accuracy,
        "cost": _finite(found.cost),
        "stopped": found.stopped,
        "details": {name: _finite(value) for name, value in found.details.items()},
    }
    return _write(results / _result_name(place, attack), tensors, report)


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
    observation = load_observation(place)
    refuse_unmet(plugin, observation)
    with one_thread():
        scores = checked_scores(plugin.infer([observation]), 1, who)[0]
    report = {
        **_head(place, attack, observation),
        "scores": scores.double().tolist(),
        "label_counts": torch.bincount(load_truth(place).y, minlength=observation.num_classes).tolist(),
    }
    path = results / f"{_result_name(place, attack)}.json"
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"{results} cannot be made: {error.strerror}") from error
    write_json(path, report)
    return path


def _head(place: Path, attack: PluginSpec, observation: Observation) -> dict[str, Any]:
    """Return what every result says of itself first."""
    return {
        "schema": SCHEMA,
        "observation": place.name,
        "attack": attack.name,
        "options": attack.options,
        "labels_known": observation.knowledge.labels is not None,
        "round": observation.round,
        "client_id": observation.client_id,
    }


def _result_name(place: Path, attack: PluginSpec) -> str:
    """Return what the result is called: as the recording of the attack's own probe, or after both."""
    probe = probe_of(place)
    if (probe.get("attack"), probe.get("options")) == (attack.name, attack.options):
        return place.name
    other = digest_of({"attack": attack.name, "options": attack.options})
    return f"{place.name}-{plain(attack.name)}-{other}"


def shared_result(recording: str, attack: str) -> str:
    """Return what the result of a recording of schema 1 was called."""
    return f"{recording}-{''.join(c if c.isalnum() else '-' for c in attack)}"


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
