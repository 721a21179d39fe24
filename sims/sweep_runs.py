"""The runs of a sweep, one after the other or several at a time on Ray."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import GauntletError
from ..core.live import Carried, carried
from ..core.locks import FolderLock
from ..core.outside import only_our_own
from .board import Board, Reporter
from .progress import Progress
from .provenance import NO_CONSENT, Consent
from .run import resume, simulate
from .sections import Runtime
from .signals import resumable
from .tracking import untracked

if TYPE_CHECKING:
    from .sweep import Variant

_MOMENT = 30.0  # seconds at most in which runs that are stopped keep their last rounds, on a busy machine
_PATIENCE = 30.0  # seconds that a killed driver's workers may take to end


def run_variants(
    todo: "Sequence[Variant]",
    folder: Path,
    runtime: Runtime,
    progress: Progress,
    consent: Consent = NO_CONSENT,
) -> dict[str, GauntletError]:
    """Run whatever of a sweep is not complete; return why variants failed, by their folder's name.

    A variant that fails does not stop the others.
    """
    with resumable(folder):
        if runtime.pool != "serial" and len(todo) > 1:
            return _run_on_ray(todo, folder, runtime, progress, consent)
        failures = {}
        for number, variant in enumerate(todo):
            try:
                _run_one(variant, folder / variant.folder, progress, number, runtime, consent)
            except GauntletError as error:
                failures[variant.folder] = error
        return failures


def _run_one(
    variant: "Variant", folder: Path, progress: Progress, number: int, runtime: Runtime, consent: Consent
) -> None:
    """Run a variant, or what is left of it, once no process of an earlier driver is at it."""
    if folder.is_dir():
        FolderLock(folder, _PATIENCE).release()
    if (folder / "manifest.json").is_file():
        resume(folder, progress, runtime=runtime, number=number, consent=consent)
        return
    scenario = variant.scenario.model_copy(update={"runtime": runtime})
    scenario = scenario if consent.distrust is None else untracked(scenario)
    with only_our_own(consent.distrust):
        simulate(scenario, folder, progress, label=variant.label, number=number)


def _task(
    variant: "Variant", folder: Path, board: Any, number: int, consent: Consent, _: Carried | None
) -> None:
    """Run a variant on Ray; the live objects that it names came along."""
    _run_one(variant, folder, Reporter(board), number, Runtime(pool="serial"), consent)


def _tell(progress: Progress, what: str, values: tuple[Any, ...]) -> None:
    """Pass on what a run told; of its rows a progress need not want to know."""
    if what != "row" or hasattr(progress, "row"):
        getattr(progress, what)(*values)


def _stop(flying: Sequence[Any]) -> None:
    """Interrupt runs on Ray, which keep their last finished rounds, and give them a moment to do so."""
    import ray

    with suppress(Exception):  # of a Ray that was stopped, too
        for task in flying:
            ray.cancel(task)
        ray.wait(list(flying), num_returns=len(flying), timeout=_MOMENT)


def _run_on_ray(
    todo: "Sequence[Variant]", folder: Path, runtime: Runtime, progress: Progress, consent: Consent
) -> dict[str, GauntletError]:
    """Run each variant as one Ray task on one core; the same bits as on any other pool."""
    from ..clients.pools.ray import cause_of, start_ray

    start_ray(runtime.ray_address, runtime.num_workers)
    import ray

    board = ray.remote(num_cpus=0)(Board).remote()
    task = ray.remote(num_cpus=1, max_retries=2)(_task)
    names = {
        task.remote(v, folder / v.folder, board, n, consent, carried(v.scenario.values())): v.folder
        for n, v in enumerate(todo)
    }
    flying, failures = list(names), dict[str, GauntletError]()
    try:
        while flying:
            done, flying = ray.wait(flying, timeout=0.2)
            for what, values in ray.get(board.take.remote()):
                _tell(progress, what, values)
            for finished in done:
                try:
                    ray.get(finished)
                except ray.exceptions.RayTaskError as error:
                    failures[names[finished]] = cause_of(error)
    except KeyboardInterrupt:
        _stop(flying)
        raise
    for what, values in ray.get(board.take.remote()):
        _tell(progress, what, values)
    ray.kill(board)
    return {v.folder: failures[v.folder] for v in todo if v.folder in failures}
