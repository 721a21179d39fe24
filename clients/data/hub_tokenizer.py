"""Sentences as a transformer's own tokens, by Hugging Face's library: word pieces, mostly.

Source: Wolf et al. Transformers: State-of-the-Art Natural Language Processing. EMNLP 2020, demos.
arXiv:1910.03771
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.errors import ScenarioError, said
from .base import Array
from .transformer_folder import quiet, transformer_folder


def hub_tokens(
    target: str, texts: Sequence[Sequence[str]], length: int
) -> tuple[list[Array], int, tuple[int, ...]]:
    """Return sentences as tokens int64 [n, S] for each of several lists of them, the number of tokens,
    and those that are no words.

    They are cut, or filled up behind with the tokenizer's padding, or its end of text where it has none.

    Args:
        target: A folder with a tokenizer, or a name on the hub.
        texts: Lists of sentences.
        length: S.

    Raises:
        PluginError: The library is not installed.
        ScenarioError: No such tokenizer.
    """
    with quiet(f"tokenizer 'hf:{target}'"):
        import transformers

        folder = transformer_folder(target, weights=False)
        try:
            own: Any = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except ValueError as error:
            raise ScenarioError(f"hf:{target} holds no tokenizer: {said(error, named=False)}") from error
        if own.pad_token is None:
            own.pad_token = own.eos_token
        if own.pad_token is None:
            raise ScenarioError(f"hf:{target}: its tokenizer has no token to fill up with")
        own.padding_side = own.truncation_side = "right"
        how = {"padding": "max_length", "truncation": True, "max_length": length}
        found = [np.array(own(list(some), **how)["input_ids"], dtype=np.int64) for some in texts]
        frames = (own.pad_token_id, own.cls_token_id, own.sep_token_id, own.bos_token_id, own.eos_token_id)
    return found, len(own), tuple(sorted({token for token in frames if token is not None}))
