"""A local folder of Hugging Face's ``datasets``, read without leaving it.

A folder's own README may name data files anywhere, on the net, too, and so may a saved table's list of files
or a row that is the path of a picture. What is somebody else's folder must not read this machine's files, nor
ask the net where that is forbidden.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ...core.errors import DataError, said
from .pictures import LARGEST_FILE
from .unpacking import read_bytes

CARDS = ("README.md", ".huggingface.yaml")
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow", ".txt")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
PACKED = (".gz", ".xz", ".bz2", ".zst")
_LONGEST = 2**22  # bytes of a card, or of a saved table's list of files
_NAMING = ("data_files", "data_dir")  # keys of a card's configurations that name files


def folder_splits(folder: Path, config: str) -> Any:
    """Return the splits of a folder by their names; only files inside the folder are read.

    Raises:
        DataError: It names a file outside of it, or files of kinds that are not read.
        Exception: Whatever the library raises.
    """
    from datasets import DatasetDict, load_dataset_builder, load_from_disk

    if (folder / "state.json").is_file():
        _check_saved(folder)
        return DatasetDict({"train": load_from_disk(str(folder))})
    if (folder / "dataset_dict.json").is_file():
        for split in _listed(folder / "dataset_dict.json", "splits"):
            _check_saved(_inside(folder, split))
        return load_from_disk(str(folder))
    for card in CARDS:
        _check_card(folder, card)
    builder = load_dataset_builder(str(folder), **({"name": config} if config else {}))
    for files in (builder.config.data_files or {}).values():
        for file in files:
            _check_kind(folder, _inside(folder, file))
    builder.download_and_prepare()
    return builder.as_dataset()


def picture_of(value: Mapping[str, Any], folder: Path) -> bytes:
    """Return the bytes of a picture as the library's tables have it undecoded: these, or a file's path.

    Raises:
        DataError: The path leads out of the folder.
    """
    if value.get("bytes") is not None:
        return bytes(value["bytes"])
    return read_bytes(_inside(folder, str(value.get("path"))), LARGEST_FILE)


def _check_card(folder: Path, card: str) -> None:
    """Refuse a card whose configurations name files outside its folder, before anything looks for them."""
    if not (folder / card).is_file():
        return
    import yaml
    from huggingface_hub import DatasetCard

    text = read_bytes(folder / card, _LONGEST).decode()
    told = vars(DatasetCard(text).data) if card.endswith(".md") else yaml.safe_load(text)
    configs = told.get("configs") if isinstance(told, dict) else None
    for entry in configs if isinstance(configs, list) else []:
        for key in _NAMING:
            for pattern in _words(entry.get(key) if isinstance(entry, dict) else None):
                if _leaves(pattern):
                    raise DataError(
                        f"{folder / card}: {key} '{pattern}' is outside the folder; only files inside are "
                        "read"
                    )


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _words(part)


def _leaves(pattern: str) -> bool:
    """Return whether a pattern of files may match one outside of the folder that it counts from."""
    path = PurePosixPath(pattern.replace("\\", "/"))
    elsewhere = ":" in pattern or pattern.startswith("~")  # a protocol, a drive, somebody's home
    return elsewhere or path.is_absolute() or any(part.startswith("..") for part in path.parts)


def _check_saved(folder: Path) -> None:
    """Refuse a saved table that lists files outside its folder."""
    for file in _listed(folder / "state.json", "_data_files"):
        _inside(folder, file["filename"] if isinstance(file, dict) else "")


def _listed(path: Path, key: str) -> list[Any]:
    try:
        found = json.loads(read_bytes(path, _LONGEST))[key]
        if not isinstance(found, list):
            raise TypeError(f"'{key}' is no list")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is no list of a saved table: {said(error)}") from error
    return found


def _inside(folder: Path, name: Any) -> Path:
    """Return a file's path, links followed; refuse one outside of the folder."""
    root = folder.resolve()
    try:
        path: Path = (root / name).resolve()
        inside = path.is_relative_to(root)
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{folder} names no file of its own: {said(error)}") from error
    if not inside:
        raise DataError(f"{folder} names '{name}', which is outside the folder; only files inside are read")
    return path


def _check_kind(folder: Path, path: Path) -> None:
    kinds = [end.lower() for end in path.suffixes]
    if kinds and kinds[-1] in PACKED:
        kinds.pop()
    if not kinds or kinds[-1] not in (*TABLES, *PICTURES):
        known = ", ".join((*TABLES, *PICTURES))
        raise DataError(f"{folder}: {path.name} is of a kind that is not read from a folder; known: {known}")
