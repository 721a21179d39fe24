"""Victims for the leakage attacks: one SGD step on real digits, observed as a server would."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation
from gauntlet.core.seeds import generator, seeded_torch


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """The 1797 8 x 8 digits of scikit-learn, [n, 1, 8, 8] in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.tensor(data.images / 16, dtype=torch.float32)[:, None], torch.tensor(data.target)


@pytest.fixture(scope="session")
def mlp() -> Callable[..., nn.Module]:
    """Make a multi-layer perceptron 64-hidden-10 with torch's default initialisation."""

    def make(activation: type[nn.Module] = nn.Sigmoid, seed: int = 0, hidden: int = 64) -> nn.Module:
        with seeded_torch(generator(seed, "weights")):
            return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), activation(), nn.Linear(hidden, 10))

    return make


@pytest.fixture(scope="session")
def observe() -> Callable[..., Observation]:
    """Let a client take one real SGD step on (x, y) and record what it sends: local minus global."""

    def step(model: nn.Module, x: Tensor, y: Tensor, lr: float = 0.1, noise_std: float = 0.0) -> Observation:
        """``noise_std`` is in units of the gradient."""
        layout = Layout.of(model)
        named = dict(model.named_parameters())
        loss = functional.cross_entropy(model(x), y)
        gradients = torch.autograd.grad(loss, [named[s.name] for s in layout.parameters])
        before = layout.flatten(named)
        after = before - lr * torch.cat([g.reshape(-1) for g in gradients])
        update = after - before
        if noise_std:
            noise = generator(0, "noise").normal(0, noise_std * lr, len(update))
            update = update + torch.from_numpy(noise.astype(np.float32))
        knowledge = LeakageKnowledge(batch_size=len(x), local_steps=1, lr=lr, client_defense="none")
        shape = tuple(x.shape[1:])
        return Observation(0, 0, model, layout, b"", update, shape, 10, (0.0, 1.0), knowledge)

    return step


@pytest.fixture(scope="session")
def labels_found(digits, observe) -> Callable[..., float]:
    """Return the share of labels that an inference attack finds, over steps on random batches of digits.

    ``make(t)`` gives the model of trial t; batches are drawn without replacement.
    """
    from gauntlet.attacks.leakage.parts.labels import round_counts

    def share(attack, make, size: int, trials: int = 50) -> float:
        x, y = digits
        found = []
        for t in range(trials):
            rows = torch.from_numpy(generator(t, "batch").permutation(len(x))[:size])
            counts = round_counts(attack.infer([observe(make(t), x[rows], y[rows])])[0], size)
            both = torch.minimum(counts, y[rows].bincount(minlength=10))
            found.append(float(both.sum()) / size)
        return sum(found) / trials

    return share


@pytest.fixture(scope="session")
def observe_planted(observe, mlp) -> Callable[..., Observation]:
    """Let a malicious server plant its model, and a client take one step on (x, y) from it."""
    from dataclasses import replace

    from gauntlet.attacks.leakage.contract.specimens import planted_model
    from gauntlet.attacks.servers import SERVERS

    def step(
        server: str, x: Tensor, y: Tensor, lr: float = 0.1, model: nn.Module | None = None, **options: object
    ) -> Observation:
        plain = mlp(nn.ReLU, hidden=200) if model is None else model
        made, secret = planted_model(plain, SERVERS.build(server, options))
        seen = observe(made, x, y, lr)
        knowledge = replace(seen.knowledge, server=server)
        return replace(seen, knowledge=knowledge, planted={"server": server, **secret})

    return step
