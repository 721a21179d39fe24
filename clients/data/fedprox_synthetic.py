"""Synthetic(alpha, beta): users whose labels come from models, and whose inputs from means, of their own.

Source: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith. Federated Optimization in Heterogeneous Networks.
MLSys 2020, and the authors' code. arXiv:1812.06127
"""

from dataclasses import dataclass

import numpy as np

from ...core.seeds import generator
from .base import Array, Dataset
from .held_out import held_out

_FEATURES, _CLASSES = 60, 10


@dataclass(frozen=True)
class FedProxSynthetic:
    """60 features, 10 classes; label argmax(x W_k + b_k) of user k (a natural client).

    u_k is normal of std alpha, and W_k and b_k have entries of mean u_k and variance 1; B_k is normal of std
    beta, v_k has entries of mean B_k and variance 1, and feature j of x is normal of mean v_kj and variance
    j^-1.2. Alpha and beta are standard deviations, as in the authors' code. User k has int(lognormal(4, 2)) +
    50 examples, of which a tenth is the test set's. The authors' code draws anew in every run; here all is
    the same in every run.

    u_k adds the same number to every class's output, so that no label depends on alpha: users' models differ
    by their own draws of W_k and b_k, whatever alpha is. It stands here since the data are named by it.

    Attributes:
        alpha: The standard deviation of u_k, at least 0.
        beta: How far their inputs differ, at least 0.
        num_users: At least 1.
        iid: Whether all users have one model and inputs of mean 0 (the authors' ``synthetic_iid``): alpha and
            beta then count for nothing.
        max_examples: No user has more, at least 50: the law has a heavy tail.
    """

    alpha: float = 1.0
    beta: float = 1.0
    num_users: int = 30
    iid: bool = False
    max_examples: int = 10_000

    def __post_init__(self) -> None:
        for name, least in (("alpha", 0), ("beta", 0), ("num_users", 1), ("max_examples", 50)):
            if not least <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be at least {least} and finite, got {getattr(self, name)}")

    def load(self) -> Dataset:
        parts = [self._user(k) for k in range(self.num_users)]
        x, y = (np.concatenate(part) for part in zip(*parts, strict=True))
        users = np.repeat(np.arange(self.num_users), [len(part) for _, part in parts])
        out = held_out(users, 0.1)
        return Dataset(
            name="fedprox_synthetic",
            x=x[~out],
            y=y[~out],
            test_x=x[out],
            test_y=y[out],
            num_classes=_CLASSES,
            value_range=(float(x.min()), float(x.max())),
            groups=users[~out],
        )

    def _user(self, number: int) -> tuple[Array, Array]:
        """Return one user's inputs, float32 [n, 60], and labels, int64 [n]."""
        size = min(int(generator(0, "fedprox sizes", number).lognormal(4, 2)) + 50, self.max_examples)
        draw = generator(0, "fedprox model", 0 if self.iid else number)
        centre = 0.0 if self.iid else draw.normal(0, self.alpha)
        weights, bias = draw.normal(centre, 1, (_FEATURES, _CLASSES)), draw.normal(centre, 1, _CLASSES)
        inputs = generator(0, "fedprox inputs", number)
        mean = np.zeros(_FEATURES) if self.iid else inputs.normal(inputs.normal(0, self.beta), 1, _FEATURES)
        x = inputs.normal(mean, np.arange(1, _FEATURES + 1) ** -0.6, (size, _FEATURES)).astype(np.float32)
        return x, (x @ weights + bias).argmax(axis=1).astype(np.int64)
