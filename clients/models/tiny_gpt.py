"""A small decoder-only transformer for sequences of tokens. 110 464 parameters on 32 of 65 characters.

Source: Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin. Attention Is All You Need.
NeurIPS 2017. arXiv:1706.03762. As a language model with normalisation before each part, learned positions and
GELU (its tanh form): Radford, Wu, Child, Luan, Amodei, Sutskever. Language Models are Unsupervised Multitask
Learners (GPT-2). 2019. The sizes are ours.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

STD = 0.02  # of the initial weights, as in GPT-2


@dataclass(frozen=True)
class TinyGpt:
    """Embeddings of tokens and positions, blocks of causal attention and a feed-forward layer, a linear head.

    A position sees itself and those before it. Clients can be stacked, and every layer's gradients are known
    example by example.

    Attributes:
        width: d, the numbers of a position between layers, a multiple of ``heads``, at least 1.
        blocks: At least 1.
        heads: Of attention, at least 1.
        dropout: The share dropped of what embeddings, attention and feed-forward layers put out, at least 0
            and below 1.
    """

    width: int = 64
    blocks: int = 2
    heads: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads = {self.heads}, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return the model for sequences [S] of tokens below ``num_classes``."""
        if len(input_shape) != 1:
            raise ValueError(f"it takes sequences of tokens [S], got inputs {list(input_shape)}")
        return Decoder(self, input_shape[0], num_classes)


class Decoder(nn.Module):
    """From tokens int64 [B, S] to the logits of the tokens that follow [B, S, V]."""

    def __init__(self, how: TinyGpt, length: int, tokens: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, how.width)
        self.positions = nn.Embedding(length, how.width)
        self.dropout = nn.Dropout(how.dropout)
        self.blocks = nn.Sequential(*(Block(how) for _ in range(how.blocks)))
        self.norm = nn.LayerNorm(how.width)
        self.head = nn.Linear(how.width, tokens, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device).expand_as(x)  # each example's own: [B, S]
        h = self.dropout(self.tokens(x) + self.positions(places))
        logits: Tensor = self.head(self.norm(self.blocks(h)))
        return logits


class Block(nn.Module):
    """Causal attention, then a feed-forward layer; each normalised before, and added to what came in."""

    def __init__(self, how: TinyGpt) -> None:
        super().__init__()
        width = how.width
        self.heads = how.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop_1, self.drop_2 = nn.Dropout(how.dropout), nn.Dropout(how.dropout)

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.drop_1(self.output(self._attention(self.norm_1(h))))
        inner = nn.functional.gelu(self.up(self.norm_2(h)), approximate="tanh")
        out: Tensor = h + self.drop_2(self.down(inner))
        return out

    def _attention(self, h: Tensor) -> Tensor:
        """Return, for each position, the mean of values that its query weighs.  # [B, S, d]"""
        size = h.shape[1]
        q, k, v = (
            layer(h).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )  # [B, heads, S, d / heads]
        later = torch.ones(size, size, dtype=torch.bool, device=h.device).triu(1)  # [S, S]
        scores = (q @ k.transpose(2, 3)) / math.sqrt(q.shape[3])  # [B, heads, S, S]
        weights = scores.masked_fill(later, -math.inf).softmax(dim=3)
        mean: Tensor = (weights @ v).transpose(1, 2).flatten(2)
        return mean
