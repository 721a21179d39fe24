"""Run a leakage or inference attack on a recorded observation, beside the truth."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..attacks.leakage import INFERENCE_ATTACKS, LEAKAGE_ATTACKS
from ..attacks.leakage.metrics import score
from ..attacks.leakage.requirements import refuse_unmet
from ..clients.kernel import one_thread
from ..core.registry import Family, guard
from ..core.seeds import generator
from ..server.probe import load_observation, load_truth
from ..server.spec import PluginSpec
from .results import write_json


def reconstruct(place: Path, attack: PluginSpec, seed: int, results: Path) -> Path:
    """Attack the observation in ``place``; return the folder of its reconstruction under ``results``.

    Raises:
        PluginError: The attack does not exist, raises, or needs knowledge that it is not given.
        FrameError: The observed frame does not decode.
        DataError: The recording cannot be read.
    """
    from safetensors.torch import save_file

    plugin = guard(LEAKAGE_ATTACKS.build(attack.name, attack.options), f"leakage attack '{attack.name}'")
    observation = load_observation(place)
    refuse_unmet(plugin, observation)
    stream = generator(seed, "reconstruct", observation.round, observation.client_id)
    with one_thread():
        found = plugin.reconstruct(observation, stream)
    truth = load_truth(place)
    scores = score(found, truth, observation.value_range)
    folder = results / f"{place.name}-{_plain(attack.name)}"
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    tensors = {"x": found.x[scores.order], "y": found.y[scores.order], "truth": truth.x, "labels": truth.y}
    save_file({name: t.contiguous() for name, t in tensors.items()}, part / "tensors.safetensors")
    report = {
        "attack": attack.name,
        "options": attack.options,
        "round": observation.round,
        "client_id": observation.client_id,
        "psnr": scores.psnr.tolist(),
        "ssim": [None if np.isnan(s) else s for s in scores.ssim.tolist()],
        "mse": scores.mse.tolist(),
        "label_accuracy": scores.label_accuracy,
        "cost": found.cost if np.isfinite(found.cost) else None,
        "stopped": found.stopped,
        "details": dict(found.details),
    }
    (part / "reconstruction.json").write_text(json.dumps(report, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return folder


def infer(place: Path, attack: PluginSpec, results: Path) -> Path:
    """Let an inference attack score the observation in ``place``; return its JSON file under ``results``.

    Beside the scores stands how many examples of each class the client really trained on.

    Raises:
        PluginError: The attack does not exist, raises, or needs knowledge that it is not given.
        FrameError: The observed frame does not decode.
        DataError: The recording cannot be read.
        ResultsError: The disk is full or not writable.
    """
    plugin = guard(INFERENCE_ATTACKS.build(attack.name, attack.options), f"inference attack '{attack.name}'")
    observation = load_observation(place)
    refuse_unmet(plugin, observation)
    with one_thread():
        scores = plugin.infer([observation])[0]
    report = {
        "attack": attack.name,
        "options": attack.options,
        "round": observation.round,
        "client_id": observation.client_id,
        "scores": scores.double().tolist(),
        "label_counts": torch.bincount(load_truth(place).y, minlength=observation.num_classes).tolist(),
    }
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{place.name}-{_plain(attack.name)}.json"
    write_json(path, report)
    return path


def infers(name: str) -> bool:
    """Return whether a plug-in is an inference attack: by its name, or for ``place:Class`` by its verb.

    Raises:
        PluginError: There is no such class.
    """
    if ":" not in name:
        return name in INFERENCE_ATTACKS.names()
    found: Any = Family[Any]("any", "attack", (), {}).find(name)
    return callable(getattr(found, "infer", None))


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)
