"""A small encoder-only transformer that classifies sequences. 929 922 parameters on 32 of 4000 words.

Source: Devlin, Chang, Lee, Toutanova. BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding. NAACL 2019, Section 3 and Appendix A.2 (the layers, GELU, the pooled [CLS]). arXiv:1810.04805.
The sizes are ours; it is not pre-trained.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

STD = 0.02  # of the initial weights, as in BERT
EPSILON = 1e-12  # of every normalisation, as in BERT
PADDING = 0  # the token that fills up


@dataclass(frozen=True)
class TinyBert:
    """Embeddings of tokens, positions and the sentence, blocks of attention, a class from the first position.

    Nobody attends to token 0, which fills up, but the first position to itself. Clients can be stacked, and
    every layer's gradients are known example by example.

    Attributes:
        width: d, the numbers of a position between layers, a multiple of ``heads``, at least 1.
        blocks: At least 1.
        heads: Of attention, at least 1.
        inner: The numbers of a position within a feed-forward layer, at least 1.
        dropout: The share dropped of what embeddings, attention, feed-forward layers and the pooler put out,
            at least 0 and below 1.
        frozen_embeddings: Whether the three tables of embeddings are not trained, so that no client sends
            which words it has.
    """

    width: int = 128
    blocks: int = 2
    heads: int = 4
    inner: int = 512
    dropout: float = 0.0
    frozen_embeddings: bool = False

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "heads", "inner"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads = {self.heads}, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def build(self, input_shape: tuple[int, ...], num_classes: int, num_tokens: int) -> nn.Module:
        """Return the model for sequences [S] of tokens below ``num_tokens``."""
        if len(input_shape) != 1 or not num_tokens:
            kind = "tokens" if num_tokens else "floats"
            raise ValueError(f"it takes sequences of tokens [S], got inputs {list(input_shape)} of {kind}")
        return Encoder(self, input_shape[0], num_tokens, num_classes)


class Encoder(nn.Module):
    """From tokens int64 [B, S] to a logit a class [B, C]."""

    def __init__(self, how: TinyBert, length: int, tokens: int, classes: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(tokens, how.width), nn.Embedding(length, how.width)
        self.types = nn.Embedding(2, how.width)  # of a first and a second sentence, of which there is one
        self.norm, self.dropout = nn.LayerNorm(how.width, EPSILON), nn.Dropout(how.dropout)
        self.blocks = nn.ModuleList(Block(how) for _ in range(how.blocks))
        self.pooler, self.drop_pooled = nn.Linear(how.width, how.width), nn.Dropout(how.dropout)
        self.head = nn.Linear(how.width, classes)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
            if isinstance(module, nn.Embedding):
                module.requires_grad_(not how.frozen_embeddings)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device).expand_as(x)  # each example's own: [B, S]
        unseen = (x == PADDING) & (places > 0)  # [B, S]
        h = self.tokens(x) + self.positions(places) + self.types(torch.zeros_like(x))
        h = self.dropout(self.norm(h))
        for block in self.blocks:
            h = block(h, unseen[:, None, None])
        logits: Tensor = self.head(self.drop_pooled(self.pooler(h[:, 0]).tanh()))
        return logits


class Block(nn.Module):
    """Attention, then a feed-forward layer; each added to what came in, and the sum normalised."""

    def __init__(self, how: TinyBert) -> None:
        super().__init__()
        width = how.width
        self.heads = how.heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, how.inner), nn.Linear(how.inner, width)
        self.norm_1, self.norm_2 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)
        self.drop_1, self.drop_2 = nn.Dropout(how.dropout), nn.Dropout(how.dropout)

    def forward(self, h: Tensor, unseen: Tensor) -> Tensor:
        h = self.norm_1(h + self.drop_1(self.output(self._attention(h, unseen))))
        inner = nn.functional.gelu(self.up(h))
        out: Tensor = self.norm_2(h + self.drop_2(self.down(inner)))
        return out

    def _attention(self, h: Tensor, unseen: Tensor) -> Tensor:
        """Return, for each position, the mean of values that its query weighs.  # [B, S, d]"""
        q, k, v = (
            layer(h).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )  # [B, heads, S, d / heads]
        scores = (q @ k.transpose(2, 3)) / math.sqrt(q.shape[3])  # [B, heads, S, S]
        weights = scores.masked_fill(unseen, -math.inf).softmax(dim=3)
        mean: Tensor = (weights @ v).transpose(1, 2).flatten(2)
        return mean
