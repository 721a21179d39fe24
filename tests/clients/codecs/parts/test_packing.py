"""Packings against golden bytes, and that each byte string is the only one for its codes."""

import numpy as np
import pytest

from gauntlet.clients.codecs.parts import packing
from gauntlet.core.errors import FrameError

CODES = np.array([[1, 0, -1, 0, 0, 1, -1]], dtype=np.int8)
PAIRS = [(packing.pack_base3, packing.unpack_base3, 5), (packing.pack_two_bit, packing.unpack_two_bit, 4)]


@pytest.mark.parametrize(
    ("pack", "golden"),
    [(packing.pack_two_bit, "4609"), (packing.pack_base3, "7102")],
    ids=["two_bit", "base3"],
)
def test_codes_have_the_golden_bytes(pack, golden):
    """Golden bytes of the format's specification."""
    assert pack(CODES).tobytes().hex() == golden


@pytest.mark.parametrize(("pack", "unpack", "group"), PAIRS, ids=["base3", "two_bit"])
@pytest.mark.parametrize("numel", range(13))
def test_codes_come_back_for_every_length(pack, unpack, group, numel):
    codes = np.random.default_rng(numel).integers(-1, 2, (6, numel)).astype(np.int8)
    packed = pack(codes)
    assert packed.shape == (6, -(-numel // group))
    for row, body in zip(codes, packed, strict=True):
        np.testing.assert_array_equal(unpack(body.tobytes(), numel), row)


@pytest.mark.parametrize(("pack", "unpack", "group"), PAIRS, ids=["base3", "two_bit"])
def test_every_two_byte_body_is_refused_or_the_only_one_for_its_codes(pack, unpack, group):
    """All 65536 bodies for one element beyond a whole byte: 3^n of them are legal."""
    numel = group + 1
    legal = 0
    for value in range(65536):
        body = value.to_bytes(2, "little")
        try:
            codes = unpack(body, numel)
        except FrameError:
            continue
        legal += 1
        assert pack(codes[None]).tobytes() == body
    assert legal == 3**numel


@pytest.mark.parametrize("unpack", [packing.unpack_base3, packing.unpack_two_bit, packing.unpack_floats])
@pytest.mark.parametrize("length", [0, 1, 3, 27, 29])
def test_a_body_of_another_length_is_refused(unpack, length):
    with pytest.raises(FrameError, match=f"body: {length} bytes, expected"):
        unpack(bytes(length), 7)


def test_floats_are_little_endian_ieee():
    """1, -2 and 0.5 in IEEE 754, written out."""
    block = np.array([[1.0, -2.0, 0.5], [0.0, -0.0, np.inf]], dtype=np.float32)
    packed = packing.pack_floats(block)
    assert [row.tobytes().hex() for row in packed] == ["0000803f000000c00000003f", "00000000000000800000807f"]
    np.testing.assert_array_equal(packing.unpack_floats(packed[1].tobytes(), 3), block[1])
