"""``gauntlet doctor``: what this machine has for Gauntlet, what is missing, and what that would give."""

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version

from ..core.version import VERSION
from .names import installed

_EXTRAS: Mapping[str, tuple[str, str]] = {
    "flwr": ("flower", "Flower's strategies as defenses, and Gauntlet's defenses in Flower"),
    "tensorboard": ("tensorboard", "runs shown in a browser ([track])"),
    "mlflow": ("mlflow", "runs kept in a store of experiments ([track])"),
    "wandb": ("wandb", "runs kept for its site ([track])"),
    "ipykernel": ("notebook", "notebooks"),
}
"""From an optional package to the extra that installs it and what it gives."""


def diagnosis() -> list[str]:
    """Return one line a finding: ``ok``, ``none`` for what is absent and needed by nothing that runs, or
    ``MISSING`` for what Gauntlet cannot do without.
    """
    return [*software(), *_machine(), *_cuda(), *_ray(), *_data()]


def software() -> list[str]:
    """Return the versions of what takes part in runs, and of what may."""
    return [*_needed(), *_extras()]


def _line(state: str, what: str, told: str) -> str:
    return f"{state:<8}{what:<20}{told}"


def _needed() -> Iterator[str]:
    from .provenance import PACKAGES

    yield _line("ok", "gauntlet", VERSION)
    yield _line("ok", "python", f"{platform.python_version()} ({sys.executable})")
    for package in PACKAGES:
        if package in _EXTRAS:
            continue
        try:
            yield _line("ok", package, version(package))
        except PackageNotFoundError:
            yield _line("MISSING", package, "pip install gauntlet-fl installs it")


def _extras() -> Iterator[str]:
    for package, (extra, gives) in _EXTRAS.items():
        if installed(package):
            yield _line("ok", package, f"{_version(package)}: {gives}")
        else:
            yield _line("none", package, f"pip install 'gauntlet-fl[{extra}]' gives {gives}")


def _version(package: str) -> str:
    """Return a package's version, by the name of whatever distribution brought it."""
    brought = packages_distributions().get(package, [package])
    return version(brought[0])


def _machine() -> Iterator[str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield _line("ok", "system", platform.platform())
    yield _line("ok", "cores", f"{cores} for this process, of {os.cpu_count()}")
    yield _line("ok", "memory", _memory())


def _memory() -> str:
    """Return how much memory is free, where the system says it."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return "this system does not say"
    page = os.sysconf("SC_PAGE_SIZE") / 2**30
    free = (
        f", {os.sysconf('SC_AVPHYS_PAGES') * page:.1f} free" if "SC_AVPHYS_PAGES" in os.sysconf_names else ""
    )
    return f"{os.sysconf('SC_PHYS_PAGES') * page:.1f} GiB{free}"


def _cuda() -> Iterator[str]:
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(number)
            told = f"{found.name}, {found.total_memory / 2**30:.1f} GiB: device = 'auto' takes it"
            yield _line("ok", f"cuda:{number}", told)
    elif torch.version.cuda is None:
        yield _line("none", "cuda", "this torch is built for CPUs; one with CUDA trains on a GPU")
    else:
        yield _line("none", "cuda", f"torch is built for CUDA {torch.version.cuda}, and finds no GPU")


def _ray() -> Iterator[str]:
    address = os.environ.get("RAY_ADDRESS")
    told = f"RAY_ADDRESS is {address}" if address else "this machine's cores; --ray-address joins a cluster"
    yield _line("ok", "pool ray", told)


def _data() -> Iterator[str]:
    """Say of every data set that needs nothing but files whether it can be loaded, fetching nothing."""
    from ..clients.data import DATASETS
    from ..clients.data.files import data_roots
    from ..core.declarations import Datasets, declared
    from ..core.errors import GauntletError
    from .examples import required

    yield _line("ok", "data folders", ", ".join(f"{root}{_there(root)}" for root in data_roots()))
    before = os.environ.get("GAUNTLET_OFFLINE")
    os.environ["GAUNTLET_OFFLINE"] = "1"
    try:
        for name in DATASETS.names():
            factory = DATASETS.find(name)
            if required(factory) or declared(factory, Datasets.load) is None:
                continue
            try:
                loaded = DATASETS.build(name).load()
                yield _line("ok", name, f"{len(loaded.x)} training examples")
            except GauntletError as error:
                yield _line("none", name, f"scenarios with this data set cannot run here: {error}")
    finally:
        if before is None:
            del os.environ["GAUNTLET_OFFLINE"]
        else:
            os.environ["GAUNTLET_OFFLINE"] = before


def _there(root: object) -> str:
    return "" if os.path.isdir(str(root)) else " (not there)"
