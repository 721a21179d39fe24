"""A small vision transformer. 75 018 parameters on CIFAR-10.

Source: Dosovitskiy, Beyer, Kolesnikov, Weissenborn, Zhai, Unterthiner, Dehghani, Minderer, Heigold, Gelly,
Uszkoreit, Houlsby. An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale. ICLR 2021.
arXiv:2010.11929; where dropout stands: Appendix B.1. The sizes are ours.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .shapes import image_shape


@dataclass(frozen=True)
class TinyVit:
    """Patches and a class token with learned positions, blocks of attention and a feed-forward layer, a head.

    GELU, normalisation before each part, and no operation that cannot be differentiated twice. The class
    token is the first position's embedding. Clients can be stacked.

    Attributes:
        patch: Side of a square patch, in pixels; divides both sides of the image.
        width: d, the numbers of a token between layers, a multiple of ``heads``, at least 1.
        blocks: At least 1.
        heads: Of attention, at least 1.
        inner: Units of the feed-forward layer, at least 1.
        dropout: The share dropped of what embeddings, attention and feed-forward layers put out, at least 0
            and below 1.
    """

    patch: int = 4
    width: int = 64
    blocks: int = 2
    heads: int = 4
    inner: int = 128
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("patch", "width", "blocks", "heads", "inner"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads = {self.heads}, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        """Return the model for images [C, H, W]."""
        channels, height, width = image_shape(input_shape, least=self.patch)
        if height % self.patch or width % self.patch:
            raise ValueError(f"patch = {self.patch} must divide both sides of {height} x {width}")
        number = (height // self.patch) * (width // self.patch)
        return VisionTransformer(self, channels, number, num_classes)


class VisionTransformer(nn.Module):
    """From images [B, C, H, W] to logits [B, classes]."""

    def __init__(self, how: TinyVit, channels: int, patches: int, classes: int) -> None:
        super().__init__()
        self.side = how.patch
        self.embedding = nn.Linear(channels * how.patch**2, how.width)
        self.positions = nn.Embedding(patches + 1, how.width)
        self.dropout = nn.Dropout(how.dropout)
        self.blocks = nn.Sequential(*(Block(how) for _ in range(how.blocks)))
        self.norm = nn.LayerNorm(how.width)
        self.head = nn.Linear(how.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(self.patches(x))  # [B, S, d]
        h = nn.functional.pad(h, (0, 0, 1, 0))  # the class token: zeros, and a position of its own
        places = torch.arange(h.shape[1], device=x.device).expand(
            h.shape[:2]
        )  # each example's own: [B, S + 1]
        h = self.dropout(h + self.positions(places))
        logits: Tensor = self.head(self.norm(self.blocks(h))[:, 0])
        return logits

    def patches(self, x: Tensor) -> Tensor:
        """Return an image's patches, row by row, each flattened channel by channel.  # [B, S, C p p]"""
        p, (channels, height, width) = self.side, x.shape[1:]
        cut = x.reshape(len(x), channels, height // p, p, width // p, p)
        return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


class Block(nn.Module):
    """Attention, then a feed-forward layer; each normalised before, and added to what came in."""

    def __init__(self, how: TinyVit) -> None:
        super().__init__()
        self.heads = how.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(how.width), nn.LayerNorm(how.width)
        self.query, self.key, self.value = (nn.Linear(how.width, how.width) for _ in range(3))
        self.output = nn.Linear(how.width, how.width)
        self.up, self.down = nn.Linear(how.width, how.inner), nn.Linear(how.inner, how.width)
        self.drop_1, self.drop_2, self.drop_3 = (nn.Dropout(how.dropout) for _ in range(3))

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.drop_1(self.output(self._attention(self.norm_1(h))))
        inner = self.drop_2(nn.functional.gelu(self.up(self.norm_2(h))))
        out: Tensor = h + self.drop_3(self.down(inner))
        return out

    def _attention(self, h: Tensor) -> Tensor:
        """Return, for each token, the mean of values that its query weighs.  # [B, S, d]"""
        q, k, v = (
            layer(h).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )  # [B, heads, S, d / heads]
        weights = ((q @ k.transpose(2, 3)) / math.sqrt(q.shape[3])).softmax(dim=3)
        mean: Tensor = (weights @ v).transpose(1, 2).flatten(2)
        return mean
