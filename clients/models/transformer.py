"""A transformer of Hugging Face's library as clients train it: from tokens to logits, and nothing beside."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import vmap

Mask = Literal["none", "pairs", "positions"]
_OFF = 1e-4  # of the largest logit, what rounding may make of filling up


class Transformer(nn.Module):
    """From tokens int64 [B, S] to a logit a class [B, C], or of the token after each [B, S, V].

    Attributes:
        mask: How the library is told which tokens fill up: not at all, where none does; for every position;
            or for every pair of positions.
        turned: The parameters that the library keeps the other way round, by their names within ``net``.
    """

    def __init__(self, net: nn.Module, outputs: int, padding: int) -> None:
        """Take the library's model, which is changed: its layers become torch's own where they can."""
        super().__init__()
        self.net, self.outputs, self.padding = net, outputs, padding
        self.mask: Mask = "none"
        self.turned = _plain(net)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(input_ids=x, attention_mask=self._seen(x)).logits
        return logits[..., : self.outputs]

    def _seen(self, x: Tensor) -> Tensor | None:
        """Return the mask as the library takes it; the first position is always seen."""
        if self.mask == "none":
            return None
        first = torch.arange(x.shape[1], device=x.device) == 0
        seen = (x != self.padding) | first  # [B, S]
        if self.mask == "positions":
            return seen.long()
        dtype = next(self.net.parameters()).dtype
        hidden = torch.zeros_like(x, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
        return hidden[:, None, None].expand(-1, 1, x.shape[1], -1)  # [B, 1, S, S]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write configuration and weights as the library reads them: ``hf:folder`` begins with them.

        Args:
            folder: Where to; made if need be.
        """
        values = self.net.state_dict()
        whole = {n: v.t().contiguous() if n in self.turned else v for n, v in values.items()}
        net: Any = self.net
        net.save_pretrained(str(folder), state_dict=whole)


def _plain(net: nn.Module) -> tuple[str, ...]:
    """Make plain linear layers of turned ones, and train every row of embeddings; returns what was turned."""
    turned = []
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.Embedding):
            module.padding_idx = None
        if type(module).__name__ != "Conv1D" or not type(module).__module__.startswith("transformers."):
            continue
        weight: Any = module.weight
        with torch.device("meta"):
            layer = nn.Linear(*weight.shape)
        layer.weight, layer.bias = nn.Parameter(weight.detach().t().contiguous()), module.bias
        parent, _, own = name.rpartition(".")
        setattr(net.get_submodule(parent), own, layer)
        turned.append(f"{name}.weight")
    return tuple(turned)


def mask_of(model: Transformer, length: int, num_tokens: int) -> Mask:
    """Return how a model is told what fills up: for every position, or for pairs where only these stack.

    What the library makes of a mask for every position may look at what a value is, which a stack of clients
    forbids. One for pairs is taken where the model answers the same.

    Raises:
        ValueError: A sequence alone has other logits than filled up.
    """
    if length < 2:
        return "positions"
    whole, size = _words(length, num_tokens, model.padding), length // 2 + 1
    whole[:, size:] = model.padding
    model.mask = "positions"
    alone, filled = (_logits(model, x) for x in (whole[:, :size], whole))
    if not _alike(alone, filled):
        raise ValueError(f"what fills up (token {model.padding}) changes its answer")
    for mask in ("positions", "pairs"):
        model.mask = mask
        if _is_batched(model, whole, filled):
            return mask
    return "positions"


def _is_batched(model: Transformer, x: Tensor, wanted: Tensor) -> bool:
    """Return whether a model of its own for every sequence can be asked at once, and answers as wanted."""
    try:
        return _alike(vmap(lambda some: _logits(model, some[None])[0])(x), wanted)
    except (RuntimeError, ValueError, TypeError, IndexError):
        return False


def sees_later(model: Transformer, length: int, num_tokens: int) -> bool:
    """Return whether what it says at the first position depends on the last token."""
    if length < 2:
        return False
    x = _words(length, num_tokens, -1)
    other = x.clone()
    other[:, -1] = (x[:, -1] + 1) % num_tokens
    return not _alike(*(_logits(model, some)[:, 0] for some in (x, other)))


def _alike(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) <= _OFF * float(one.abs().max())


def _words(length: int, num_tokens: int, padding: int) -> Tensor:
    """Return two sequences of tokens none of which fills up.  # [2, S]"""
    allowed = torch.tensor([t for t in range(min(num_tokens, 64)) if t != padding])
    return allowed[torch.arange(2 * length) % len(allowed)].reshape(2, length)


def _logits(model: Transformer, x: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(x).double()
    return found
