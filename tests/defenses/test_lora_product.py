"""Oracles: products by numpy, the truncated SVD, and the mean where there is nothing to multiply."""

import numpy as np
import pytest
import torch

from gauntlet.core.layout import Layout
from gauntlet.core.updates import Context, Updates
from gauntlet.defenses.lora_product import LoraProduct, factors
from gauntlet.defenses.mean import Mean

M, N, R = 6, 5, 2
LAYOUT = Layout(()).followed_by(
    **{"q.lora_down.weight": (R, N), "q.lora_up.weight": (M, R), "head.bias": (3,)}
)


def cohort(clients=3, spread=1.0, examples=(1, 2, 5), zero=False):
    """Return updates of clients whose adapters differ, the parameters below them, and all factors."""
    draw = np.random.default_rng(0)
    params = draw.standard_normal(LAYOUT.num_parameters)
    if zero:
        params[R * N : R * N + M * R] = 0
    vectors = spread * draw.standard_normal((clients, LAYOUT.num_parameters))
    params, vectors = (torch.from_numpy(v).float() for v in (params, vectors))
    ids, counts = torch.arange(clients), torch.tensor(examples[:clients])
    context = Context(0, params, LAYOUT, 0)
    return Updates(vectors, ids, counts, context=context)


def product_of(vector):
    views = LAYOUT.views(vector.double())
    return (views["q.lora_up.weight"] @ views["q.lora_down.weight"]).numpy()


def test_the_new_product_is_the_mean_product_cut_to_the_rank():
    """Against numpy: weights 1/8, 2/8, 5/8, and the two largest singular values."""
    updates = cohort()
    verdict, _ = LoraProduct().aggregate(updates, None)
    each = [product_of(updates.context.params + row) for row in updates.vectors]
    mean = sum(w * p for w, p in zip((1 / 8, 2 / 8, 5 / 8), each, strict=True))
    u, s, v = np.linalg.svd(mean)
    best = (u[:, :R] * s[:R]) @ v[:R]

    assert np.allclose(product_of(updates.context.params + verdict.aggregate), best, atol=1e-5)
    assert verdict.aggregate[-3:].tolist() == pytest.approx(
        Mean().aggregate(updates, None)[0].aggregate[-3:].tolist()
    )


def test_the_gap_is_that_of_the_product_of_means():
    updates = cohort()
    verdict, _ = LoraProduct("uniform").aggregate(updates, None)
    each = [product_of(updates.context.params + row) for row in updates.vectors]
    mean = sum(each) / 3
    of_means = product_of(updates.context.params + updates.vectors.double().mean(dim=0))
    gap = np.linalg.norm(of_means - mean) / np.linalg.norm(mean)

    assert verdict.details[1]["factor_gap"] == pytest.approx(gap, rel=1e-5)
    assert gap > 0.1


def test_one_client_is_given_back_as_it_is():
    updates = cohort(clients=1)
    verdict, _ = LoraProduct().aggregate(updates, None)

    assert torch.allclose(verdict.aggregate, updates.vectors[0], atol=1e-5)


def test_an_adapter_that_adds_nothing_keeps_its_a():
    """At B = 0 for all, no direction of A is needed, and A is the mean."""
    updates = cohort(zero=True)
    updates.vectors[:, R * N : R * N + M * R] = 0
    verdict, _ = LoraProduct("uniform").aggregate(updates, None)
    found = LAYOUT.views(verdict.aggregate)

    assert torch.allclose(
        found["q.lora_down.weight"],
        LAYOUT.views(updates.vectors)["q.lora_down.weight"].mean(dim=0),
        atol=1e-5,
    )
    assert not found["q.lora_up.weight"].any()


def test_factors_of_a_product_of_lower_rank_have_its_product():
    draw = torch.Generator().manual_seed(0)
    near = torch.randn(3, N, generator=draw, dtype=torch.float64)
    product = torch.randn(M, 1, generator=draw, dtype=torch.float64) @ torch.randn(
        1, N, generator=draw, dtype=torch.float64
    )
    a, b = factors(product, near)

    assert torch.allclose(b @ a, product)
    assert torch.linalg.matrix_rank(a) == 3


def test_without_adapters_it_is_the_mean():
    rows = torch.tensor([[1.0, 2.0], [3.0, 8.0]])
    plain = Updates(rows, torch.arange(2), torch.tensor([1, 3]))

    assert LoraProduct().aggregate(plain, None)[0].aggregate.tolist() == [2.5, 6.5]
