"""MNIST: handwritten digits, 60 000 and 10 000 grey images of 28 x 28 pixels, 10 classes.

Source: LeCun, Bottou, Bengio, Haffner. Gradient-Based Learning Applied to Document Recognition. Proceedings
of the IEEE 86(11), 1998, Section III-A. Without files, fetched as ``ylecun/mnist``.
"""

from dataclasses import dataclass

from .base import Dataset
from .idx_images import IdxImages


@dataclass(frozen=True)
class Mnist:
    """The official training and test sets.

    Attributes:
        normalize: Whether the model subtracts the training pixels' mean 0.1307 and divides by their
            deviation 0.3081.
    """

    normalize: bool = True

    def load(self) -> Dataset:
        return IdxImages("mnist", "ylecun/mnist", mean=0.1307, std=0.3081).load(self.normalize)
