"""Bytes of a whole body against the entropy of what it says, beside another library's entropy coder.

A million values of each of three laws; entropies of the codes themselves, and 32 bits a scale or norm.
"""

import codec_trips
import numpy as np
import pytest

from gauntlet.clients.codecs.parts.packing import entropy
from gauntlet.clients.codecs.qsgd import QSGD
from gauntlet.clients.codecs.terngrad import TernGrad
from gauntlet.clients.codecs.topk import TopK
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.frames import payload_bytes

STREAMS = CodecStreams(seed=0, round=0)
N = 1_000_000


def drawn(law):
    """Return a million values, float32 [1, N]."""
    draws = np.random.default_rng(0)
    values = {
        "gauss": lambda: draws.standard_normal(N),
        "laplace": lambda: draws.laplace(size=N),
        "uniform": lambda: draws.uniform(-1, 1, N),
    }
    return values[law]()[None].astype(np.float32)


def ratio(codec, row):
    """Return the bits of a frame's bodies over the codec's ideal bits."""
    _, (frame,), _ = codec_trips.sent(codec, row, STREAMS)
    return 8 * payload_bytes(frame) / codec_trips.ideal(codec, row, STREAMS)


@pytest.mark.parametrize("law", ["gauss", "laplace", "uniform"])
@pytest.mark.parametrize(("pack", "most"), [("huffman", 1.01), ("auto", 1.01), ("base3", 1.45)])
def test_clipped_ternary_codes_take_a_percent_more_than_their_entropy(law, pack, most):
    """Base 3 spends 1.6 bits whatever comes: 1.31 times Gauss's 1.219, 1.42 times Laplace's 1.123."""
    assert 0.999 <= ratio(TernGrad(pack=pack), drawn(law)) <= most


@pytest.mark.parametrize("law", ["gauss", "laplace", "uniform"])
def test_ternary_codes_without_a_clip_take_two_percent_more_than_their_entropy(law):
    """Behind whichever form is smallest: where few are not 0, Huffman's bytes cost 1.08 times, Rice 1.01."""
    assert 0.999 <= ratio(TernGrad(clip=0, pack="auto"), drawn(law)) <= 1.02
    assert 0.999 <= ratio(TernGrad(clip=0, pack="huffman"), drawn(law)) <= 1.10


@pytest.mark.parametrize("law", ["gauss", "laplace", "uniform"])
def test_levels_of_qsgd_are_close_to_their_entropy(law):
    """A Huffman code of single levels takes 1.93 bits of the uniform law's 1.69, of pairs of them 1.72."""
    assert 0.999 <= ratio(QSGD(pack="huffman"), drawn(law)) <= 1.02
    assert 0.999 <= ratio(QSGD(pack="rans"), drawn(law)) <= 1.02
    assert 0.999 <= ratio(QSGD(pack="auto"), drawn(law)) <= 1.02


@pytest.mark.parametrize("density", [0.1, 0.01, 0.001])
def test_positions_take_two_percent_more_than_the_number_of_supports(density):
    """log2 C(n, k), and 32 bits a value on either side."""
    row, codec = drawn("gauss"), TopK(density=density, pack="rice")
    k = round(density * N)
    _, (frame,), _ = codec_trips.sent(codec, row, STREAMS)
    support = codec_trips.ideal(codec, row, STREAMS) - 32 * k
    assert 0.999 <= (8 * payload_bytes(frame) - 32 * k) / support <= 1.02


@pytest.mark.parametrize(("codec", "levels"), [(TernGrad(), 1), (TernGrad(clip=0), 1), (QSGD(), 15)], ids=str)
def test_the_entropies_are_those_that_another_librarys_coder_reaches(codec, levels):
    """constriction's ANS coder with the codes' own frequencies: within 0.1 % of n H0."""
    constriction = pytest.importorskip("constriction")
    decoded, _, _ = codec_trips.sent(codec, drawn("gauss"), STREAMS)
    codes = whole(decoded[0].numpy(), codec, levels)
    shares = np.bincount(codes + levels, minlength=2 * levels + 1) / N
    model = constriction.stream.model.Categorical(shares.astype(np.float32), perfect=False)
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse((codes + levels).astype(np.int32), model)
    assert 8 * coder.get_compressed().nbytes == pytest.approx(entropy(codes), rel=1e-3)


def whole(values, codec, levels):
    """Return codes from decoded values: signs, or multiples of the bucket's norm over s."""
    if levels == 1:
        return np.sign(values).astype(np.int64)
    x = np.zeros(-(-N // 512) * 512, np.float32)
    x[:N] = drawn("gauss")[0]
    norms = np.sqrt(np.square(x.reshape(-1, 512), dtype=np.float64).sum(axis=1))
    return np.rint(values / np.repeat(norms, 512)[:N] * levels).astype(np.int64)
