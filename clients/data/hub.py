"""Fetch data sets from the Hugging Face hub, with the library under flwr-datasets.

It is tried only where no files are found; ``GAUNTLET_OFFLINE=1`` or ``HF_HUB_OFFLINE=1`` forbid it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError, said
from .base import Array
from .files import missing

TRUE = {"1", "true", "yes", "on"}


def offline() -> bool:
    """Return whether the hub may not be asked."""
    names = ("GAUNTLET_OFFLINE", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
    return any(os.environ.get(name, "").lower() in TRUE for name in names)


@dataclass(frozen=True)
class HubImages:
    """One image data set on the hub.

    Attributes:
        name: As scenarios call it.
        hub_id: Its name on the hub.
        image: The column of images.
        files: The files that would make asking the hub unnecessary, for messages.
        label: The column of labels.
    """

    name: str
    hub_id: str
    image: str
    files: Sequence[str]
    label: str = "label"

    def fetch(self, split: str) -> tuple[Array, Array]:
        """Return pixels uint8 [n, channels, height, width] and labels uint8 [n] of ``"train"`` or ``"test"``.

        Raises:
            DataError: Offline, or the hub did not deliver: which files were looked for, where, how to get
                them.
        """
        how = f"put them into one of these, or let '{self.hub_id}' be fetched from the Hugging Face hub"
        if offline():
            raise missing(self.name, self.files, f"{how} (not tried: offline is set)")
        try:
            return decode(_download(self.hub_id, split), self.image, self.label)
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise missing(self.name, self.files, f"{how} (failed: {reason})") from error


def _download(hub_id: str, split: str) -> Any:
    from datasets import disable_progress_bars, load_dataset

    _ask(hub_id)
    disable_progress_bars()
    return load_dataset(hub_id, split=split)


def _ask(name: str) -> None:
    """Ask one quick question, where load_dataset would retry for half a minute."""
    from huggingface_hub import HfApi

    HfApi().dataset_info(name, timeout=10)


def hub_splits(name: str, config: str) -> Any:
    """Return the splits of a data set of the hub; from the library's cache where the hub is out of reach.

    Raises:
        DataError: It is no name on the hub, or the hub may not be asked, or is out of reach, nothing cached.
        Exception: Whatever the library raises.
    """
    from datasets import load_dataset

    check_name(name)
    no_folder = f"hf:{name}: there is no folder of that name (working folder {Path.cwd()}), and the hub"
    if offline():
        raise DataError(f"{no_folder} is not asked: offline is set")
    options = {"name": config} if config else {}
    reason = _out_of_reach(name)
    if reason is None:
        return load_dataset(name, **options)
    with _cache_alone():
        try:
            return load_dataset(name, **options)
        except (ConnectionError, FileNotFoundError) as error:
            raise DataError(
                f"{no_folder} cannot be reached ({reason}): name a folder, or try again"
            ) from error


def check_name(name: str) -> None:
    """Refuse what the hub calls no name, and the library's readers of files, which take the working folder's.

    Raises:
        DataError: It is such a name.
    """
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise DataError(
            f"hf:{name!r} is no folder (working folder {Path.cwd()}) and no name on the hub, which is NAME "
            "or USER/NAME in letters, digits, '-', '_' and '.', without a revision"
        ) from error
    if name in _PACKAGED_DATASETS_MODULES or name.endswith(".py"):
        raise DataError(f"hf:{name} is no data set but how one is read: name a folder, or a name on the hub")


def _out_of_reach(name: str) -> str | None:
    """Return why the hub does not answer; None: it does, if only by saying no."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        _ask(name)
    except HfHubHTTPError:
        return None  # load_dataset says it in its own words
    except Exception as error:
        return said(error, most=100)
    return None


@contextmanager
def _cache_alone() -> Iterator[None]:
    """Let the library look into its cache and ask nobody."""
    from datasets import config

    before, config.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def decode(table: Any, image: str, label: str = "label") -> tuple[Array, Array]:
    """Return pixels and labels of a ``datasets.Dataset``, as ``HubImages.fetch`` does."""
    pixels = np.stack([np.asarray(picture, dtype=np.uint8) for picture in table[image]])
    channels_first = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(channels_first), np.asarray(table[label], dtype=np.uint8)
