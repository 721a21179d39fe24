"""Where a transformer's configuration, weights and tokenizer are: a local folder, or a copy of the hub's.

Of either only JSON, texts and safetensors are taken; a folder that would have the library read anything else
is refused before the library sees it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import GauntletError, PluginError, ScenarioError, said
from .hub import offline
from .unpacking import read_bytes

FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
_LONGEST = 2**24  # bytes of a configuration, or of a list of weights
_LARGEST = 2**26  # bytes of what the library itself reads: the tokenizer of 256 000 words of Gemma has 33 MB
_WHOLE = ("*.json", "*.txt", "*.model", "*.jinja", "*.tokenizer")  # these it reads whole, weights it maps


def transformer_folder(target: str, weights: bool) -> Path:
    """Return the folder behind a name.

    Args:
        target: A folder, or a name on the hub.
        weights: Whether weights must be there.

    Raises:
        ScenarioError: Nothing of that name, or it holds no configuration, or what is not read: as a list of
            words or another text above 2**26 bytes.
    """
    place = Path(target).expanduser()
    folder = place if target and place.is_dir() else _fetched(target)
    config = _read(folder / "config.json")
    if (folder / "adapter_config.json").exists():
        raise ScenarioError(
            f"hf:{target} holds an adapter, which names another model: merge it into that one"
        )
    if "quantization_config" in config:
        raise ScenarioError(f"hf:{target} is quantised, and clients train float32: take the whole weights")
    _check_sizes(folder)
    if weights:
        _check_weights(folder, target)
    return folder


def _check_sizes(folder: Path) -> None:
    for file in sorted(found for pattern in _WHOLE for found in folder.glob(pattern)):
        if file.exists() and not file.is_file():
            raise ScenarioError(f"{file} is no plain file, and the library would read it")
        if file.exists() and (size := file.stat().st_size) > _LARGEST:
            raise ScenarioError(
                f"{file} holds {size} bytes, and of what a tokenizer is made of at most {_LARGEST} are read"
            )


def _check_weights(folder: Path, target: str) -> None:
    if not any(folder.glob("*.safetensors")):
        raise ScenarioError(
            f"hf:{target} holds no .safetensors, and no other weights are read (they are pickled)"
        )
    for found in sorted(folder.glob("*.safetensors")):
        if not found.is_file():
            raise ScenarioError(f"{found} is no plain file, and the library would read it")
    index = folder / "model.safetensors.index.json"
    files = _read(index).get("weight_map") if index.is_file() else {}
    for file in files.values() if isinstance(files, dict) else [files]:
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise ScenarioError(f"{index} names {str(file)[:80]!r}, which is no .safetensors of its folder")


def _read(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise ScenarioError(f"{path.parent} is no folder of a model: it holds no {path.name}")
    try:
        found = json.loads(read_bytes(path, _LONGEST))
        if not isinstance(found, dict):
            raise TypeError("it is no table")
    except (ValueError, TypeError, RecursionError) as error:
        raise ScenarioError(f"{path} is no configuration: {said(error, named=False)}") from error
    return found


def _fetched(target: str) -> Path:
    """Return a copy of what the hub has of a name; of the cache where the hub may not or cannot be asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    nothing = f"hf:{target}: there is no folder of that name (working folder {Path.cwd()}), and the hub"
    alone = offline()
    try:
        found = snapshot_download(target, allow_patterns=list(FILES), local_files_only=alone, etag_timeout=10)
    except HFValidationError as error:
        raise ScenarioError(
            f"hf:{target!r} is no folder (working folder {Path.cwd()}) and no name on the hub, which is NAME "
            "or USER/NAME in letters, digits, '-', '_' and '.'"
        ) from error
    except Exception as error:
        why = "is not asked: offline is set" if alone else f"does not have it: {said(error, most=120)}"
        raise ScenarioError(f"{nothing} {why}") from error
    return Path(found)


@contextmanager
def quiet(what: str) -> Iterator[None]:
    """Keep Hugging Face's library quiet, and make its errors one line.

    Args:
        what: What is made with it, for messages.

    Raises:
        PluginError: It is not installed.
        ScenarioError: It raised something but ``ValueError``.
    """
    try:
        from transformers.utils import logging
    except ImportError as error:
        raise PluginError(
            f"{what} needs transformers, which is not installed: pip install 'gauntlet-fl[text]'"
        ) from error
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (GauntletError, ValueError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise ScenarioError(f"{what} cannot be loaded: {said(error)}") from error
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
