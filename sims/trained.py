"""The model that a run trained, as a torch module again."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..core.disk import write_whole
from ..core.errors import ResultsError
from ..core.outside import only_our_own
from ..server.checkpoint import load_newest
from ..server.simulation import prepare
from .ownership import distrusted
from .provenance import refuse_changed_weights
from .results import read_manifest
from .run import check_state, stored_scenario

if TYPE_CHECKING:
    from torch import nn


def trained_model(folder: Path, allow_code: bool = False) -> "tuple[nn.Module, int]":
    """Return the global model of the newest checkpoint, in evaluation mode on the CPU, and its round.

    Where the algorithm scores another model than it broadcasts, it is the one that is scored. Inputs are as
    the data set has them (pixels from 0 to 1): normalising is the model's first layer.

    Args:
        folder: A run's.
        allow_code: Whether code from outside the package that a folder of others names may be loaded.

    Raises:
        ResultsError: The folder holds no run, or one without a checkpoint, or the file of its frozen weights
            has changed.
        ScenarioError: That file is not here any more.
        GauntletError: The model or the data cannot be built here.
    """
    from ..clients.models.weights import frozen
    from ..server.assembly.loading import make_model

    manifest = read_manifest(folder)
    with only_our_own(distrusted(folder, manifest, allow_code)):
        scenario = stored_scenario(folder, manifest)
        spec, begun = scenario.run_spec(), manifest.get("training")
        simulation = prepare(replace(spec, init=None), begun=begun)  # the checkpoint holds what was trained
        check = partial(check_state, simulation)
        found, _ = load_newest(folder / "checkpoints", manifest["fingerprint"], check)
        if found is None:
            raise ResultsError(
                f"{folder} has no checkpoint yet; 'gauntlet resume {folder}' goes on with the run"
            )
        model = make_model(simulation.spec, simulation.data)
        if spec.init is not None and frozen(model):  # and these the file alone
            refuse_changed_weights(folder, manifest, prepare(spec, begun=begun))
            model = make_model(spec, simulation.data)
    state, layout = found.state, simulation.plan.layout
    scored = simulation.plan.model(state.params, state.optimizer)
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in {**layout.views(scored), **layout.buffer_views(state.buffers)}.items():
            own[name].copy_(value)
    return model.eval(), state.round


def export(folder: Path, out: Path, allow_code: bool = False) -> str:
    """Write the weights of ``trained_model`` by the names of the user's own module, and say what was written.

    Raises:
        ResultsError: As there, or the file cannot be written.
    """
    from safetensors.torch import save

    from ..clients.models.weights import weights_of

    if out.suffix != ".safetensors":
        raise ResultsError(f"out must end in .safetensors, got {out}")
    model, round_ = trained_model(folder, allow_code)
    weights = weights_of(model)
    try:
        write_whole(out, save(weights, {"run": read_manifest(folder)["fingerprint"], "rounds": str(round_)}))
    except OSError as error:
        raise ResultsError(f"{out} cannot be written: {error.strerror}") from error
    count = sum(value.numel() for value in weights.values())
    return f"{out}: {len(weights)} tensors, {count} values, after {round_} rounds of {folder}"
