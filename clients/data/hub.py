"""Fetch image data sets from the Hugging Face hub, with the library under flwr-datasets.

It is tried only where no files are found; ``GAUNTLET_OFFLINE=1`` or ``HF_HUB_OFFLINE=1`` forbid it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    from huggingface_hub import HfApi

    HfApi().dataset_info(
        hub_id, timeout=10
    )  # one quick question, where load_dataset would retry for half a minute
    disable_progress_bars()
    return load_dataset(hub_id, split=split)


def decode(table: Any, image: str, label: str = "label") -> tuple[Array, Array]:
    """Return pixels and labels of a ``datasets.Dataset``, as ``HubImages.fetch`` does."""
    pixels = np.stack([np.asarray(picture, dtype=np.uint8) for picture in table[image]])
    channels_first = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(channels_first), np.asarray(table[label], dtype=np.uint8)
