"""Fashion-MNIST: articles of clothing, in MNIST's format.

Source: Xiao, Rasul, Vollgraf. Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms. 2017. arXiv:1708.07747. Without files, fetched as ``zalando-datasets/fashion_mnist``.
"""

from dataclasses import dataclass

from .base import Dataset
from .idx_images import IdxImages


@dataclass(frozen=True)
class FashionMnist:
    """The official training and test sets.

    Attributes:
        normalize: Whether the model maps pixels to [-1, 1] (mean 0.5, deviation 0.5), as MUD-HoG's authors
            do.
    """

    normalize: bool = True

    def load(self) -> Dataset:
        return IdxImages("fashion_mnist", "zalando-datasets/fashion_mnist", mean=0.5, std=0.5).load(
            self.normalize
        )
