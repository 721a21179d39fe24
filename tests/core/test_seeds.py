"""Streams: equal keys, equal numbers; other keys, other numbers; nothing global."""

import traceback
from hashlib import blake2b

import numpy as np
import pytest
import torch

from gauntlet.core.seeds import generator, normal, seeded_torch


def test_equal_keys_give_equal_numbers_in_any_order_of_asking():
    first = [generator(1, "noise", r).random(3) for r in (0, 1, 2)]
    second = [generator(1, "noise", r).random(3) for r in (2, 1, 0)]

    assert np.array_equal(first, second[::-1])


@pytest.mark.parametrize(
    "other", [(2, "noise", 0, 5), (1, "codec", 0, 5), (1, "noise", 1, 5), (1, "noise", 0, 6), (1, "noise", 0)]
)
def test_any_other_key_gives_other_numbers(other):
    assert generator(1, "noise", 0, 5).random() != generator(*other).random()


def test_numbers_that_only_look_alike_in_a_key_are_told_apart():
    assert generator(1, "a", 1, 23).random() != generator(1, "a", 12, 3).random()


def test_a_key_gives_these_numbers_for_ever():
    """Frozen on purpose: a change of the stream changes every published result."""
    assert generator(0, "noise", 1, 2).bit_generator.random_raw(2).tolist() == [
        3888316009685919243,
        13245464930064318134,
    ]


def test_a_stream_is_that_of_numpys_philox_with_the_same_key():
    digest = blake2b(b"7/noise/3/5", digest_size=16).digest()
    expected = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))

    assert np.array_equal(generator(7, "noise", 3, 5).standard_normal(100), expected.standard_normal(100))


def test_streams_of_two_clients_are_uncorrelated():
    """Correlation of 1e5 pairs has standard deviation 1/sqrt(1e5) = 0.0032; the band is 5 of them."""
    a, b = (generator(0, "noise", 0, c).standard_normal(100_000) for c in (0, 1))

    assert abs(np.corrcoef(a, b)[0, 1]) < 5 * 100_000**-0.5


def test_the_global_states_are_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state().clone()
    with seeded_torch(generator(0, "model")):
        torch.rand(10)
    normal(generator(0, "noise"), 10, 1.0)

    assert torch.equal(torch.get_rng_state(), before)


def test_torch_draws_from_the_given_stream():
    def draw(seed: int) -> torch.Tensor:
        with seeded_torch(generator(seed, "model")):
            return torch.rand(4)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_normal_has_the_asked_standard_deviation():
    """Chi-square at alpha = 1e-9 for n = 1e5: the variance ratio stays within [0.9729, 1.0276]."""
    ratio = float(normal(generator(0, "noise"), 100_000, 2.5).double().var()) / 2.5**2

    assert 0.9729 < ratio < 1.0276


def test_what_torch_draws_is_what_it_draws_after_its_own_manual_seed(monkeypatch):
    """To the last bit; and no call notes down where it came from, which takes a millisecond."""
    drawn = int(generator(4, "dropout", 1, 2).integers(2**63))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(drawn)
        expected = torch.rand(7), torch.randn(5), torch.randperm(9)
    monkeypatch.setattr(traceback, "format_stack", None)
    with seeded_torch(generator(4, "dropout", 1, 2)):
        found = torch.rand(7), torch.randn(5), torch.randperm(9)

    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
