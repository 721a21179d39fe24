"""Transformers of Hugging Face's library by name or folder: ``hf:user/name``, ``hf:folder``, ``hf:gpt2``.

Source: Wolf et al. Transformers: State-of-the-Art Natural Language Processing. EMNLP 2020, demos.
arXiv:1910.03771
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import nn

from ...core.errors import ScenarioError, unknown
from ..data.transformer_folder import quiet, transformer_folder
from .transformer import Transformer, mask_of, sees_later

if TYPE_CHECKING:
    from pathlib import Path

Size = int | float | bool | str


@dataclass(frozen=True)
class HubModel:
    """A transformer that classifies sequences of tokens, or forecasts the token after each.

    It forecasts where data have as many classes as tokens. Encoders, and decoders, whose class is read at the
    last token that does not fill up; it is tried that filling up says nothing. Nothing is dropped in
    training, whatever the configuration says, and weights are float32. Layers that the library keeps turned
    round (GPT-2's) are plain linear ones here, and no row of an embedding is left out of training.

    Only safetensors are read: no pickled weights, and no code of a folder's own.

    Attributes:
        weights: Those of the folder or the hub, a new last layer apart; or new ones, drawn by the library
            from its configuration, or by the name of an architecture alone (``hf:gpt2``).
        sizes: Of new weights: what of the configuration is another (``n_embd``, ``n_layer``).
        padding: The token that fills up; -1: what the configuration says, or else its end of text, and 0 of
            an architecture's name alone.
    """

    weights: Literal["pretrained", "random"] = "pretrained"
    sizes: Mapping[str, Size] = field(default_factory=dict)
    padding: int = -1

    target = ""  # what stands behind "hf:"

    def __post_init__(self) -> None:
        if self.weights not in ("pretrained", "random"):
            raise ValueError(f"weights must be pretrained or random, got '{self.weights}'")
        if self.sizes and self.weights == "pretrained":
            raise ValueError(f"sizes need weights = 'random', got {', '.join(self.sizes)}")
        if self.padding < -1:
            raise ValueError(f"padding must be at least -1, got {self.padding}")

    def build(self, input_shape: tuple[int, ...], num_classes: int, num_tokens: int) -> nn.Module:
        """Return the model for sequences [S] of tokens below ``num_tokens``.

        Raises:
            PluginError: The library is not installed.
            ScenarioError: No such folder, name or architecture, or one of a kind that is not read.
            ValueError: It does not fit the data.
        """
        if len(input_shape) != 1 or not num_tokens:
            kind = "tokens" if num_tokens else "floats"
            raise ValueError(f"it takes sequences of tokens [S], got inputs {list(input_shape)} of {kind}")
        with quiet(f"model 'hf:{self.target}'"):
            return self._built(input_shape[0], num_classes, num_tokens)

    def _built(self, length: int, num_classes: int, num_tokens: int) -> nn.Module:
        import transformers as library

        forecasts = num_classes == num_tokens
        config, folder, padding = self._config(library)
        if config.is_encoder_decoder:
            raise ValueError(f"{config.model_type} reads one sequence and writes another, which no task does")
        if folder is None:
            config.vocab_size = num_tokens
        if config.vocab_size < num_tokens:
            raise ValueError(f"it knows {config.vocab_size} tokens, and the data have {num_tokens}")
        places = getattr(config, "max_position_embeddings", None)
        if isinstance(places, int) and 0 < places < length:
            raise ValueError(f"it has {places} positions, and a sequence has {length}")
        config.pad_token_id = None if forecasts else padding
        config.num_labels = num_classes
        _drop_nothing(config)
        kind = library.AutoModelForCausalLM if forecasts else library.AutoModelForSequenceClassification
        model = Transformer(self._net(kind, config, folder), num_classes, padding)
        if forecasts and sees_later(model, length, num_tokens):
            raise ValueError(f"{config.model_type} sees later tokens, and cannot forecast them")
        model.mask = "none" if forecasts else mask_of(model, length, num_tokens)
        return model

    def _config(self, library: Any) -> tuple[Any, "Path | None", int]:
        """Return the configuration, the folder that it stands in (None: it is a name's) and the padding."""
        if self.weights == "random" and self.target in library.CONFIG_MAPPING:
            config, folder, own = library.AutoConfig.for_model(self.target), None, 0
            config.bos_token_id = config.eos_token_id = None
        else:
            folder = transformer_folder(self.target, self.weights == "pretrained")
            config = library.AutoConfig.from_pretrained(folder, trust_remote_code=False)
            own = padding_of(config)
        for name, value in self.sizes.items():
            if name not in config.to_dict() and name not in config.attribute_map:
                raise ScenarioError(f"hf:{self.target}: {unknown('size', name, config.to_dict())}")
            setattr(config, name, value)
        return config, folder, own if self.padding < 0 else self.padding

    def _net(self, kind: Any, config: Any, folder: "Path | None") -> nn.Module:
        if self.weights == "random":
            return cast(nn.Module, kind.from_config(config, attn_implementation="eager"))
        found = kind.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation="eager",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
        return cast(nn.Module, found)


def hub_model(target: str) -> type[HubModel]:
    """Return the model behind ``hf:TARGET``; nothing is fetched yet."""
    made = make_dataclass("HubModel", [], bases=(HubModel,), namespace={"target": target}, frozen=True)
    made.__module__, made.__doc__ = __name__, HubModel.__doc__
    return cast(type[HubModel], made)


def padding_of(config: Any) -> int:
    """Return what a configuration says fills up, or else its first end of text; 0 where it says neither."""
    last = config.eos_token_id
    ids = [config.pad_token_id, *(last if isinstance(last, list | tuple) else [last])]
    return next((i for i in ids if isinstance(i, int) and i >= 0), 0)


def _drop_nothing(config: Any) -> None:
    """Set all rates of dropout to 0: attention draws outside of layers, where clients have no own stream."""
    for name, value in config.to_dict().items():
        if "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)
