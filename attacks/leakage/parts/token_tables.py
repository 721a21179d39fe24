"""The embeddings of a model of sequences of tokens: that of its tokens, and that of their positions.

Source: Vaswani et al. Attention Is All You Need. NeurIPS 2017, Section 3.4. arXiv:1706.03762; learned
positions as in GPT-2 and BERT. They are told by their sizes.
"""

from torch import nn

from ....core.errors import PluginError
from ....core.observation import Observation


def token_table(observation: Observation) -> str:
    """Return the name of the module that embeds the tokens, trained or not.

    Raises:
        PluginError: There is none with as many rows as there are tokens.
    """
    found = [(n, m) for n, m in observation.model.named_modules() if isinstance(m, nn.Embedding)]
    for name, module in found:
        if module.num_embeddings == observation.num_tokens:
            return str(name)
    sizes = ", ".join(f"{name} of {module.num_embeddings}" for name, module in found) or "none"
    raise PluginError(f"it needs an embedding of {observation.num_tokens} tokens; the model has {sizes}")


def position_table(observation: Observation) -> str | None:
    """Return the parameter that embeds positions, where it is trained: as wide as the tokens', and as long
    as a sequence or longer; None where there is none.
    """
    own, (length,) = token_table(observation), observation.input_shape
    width = observation.model.get_submodule(own).get_parameter("weight").shape[1]
    known = {slot.name for slot in observation.layout.parameters}
    found = [
        (m.num_embeddings, f"{n}.weight")
        for n, m in observation.model.named_modules()
        if isinstance(m, nn.Embedding)
        if n != own and m.num_embeddings >= length and m.embedding_dim == width and f"{n}.weight" in known
    ]
    return min(found)[1] if found else None
