"""The bits of masks are ZTF's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.products.masks import N_BITS, UNUSABLE, MaskBit, decode, legend


def test_the_unusable_template_is_ztfs():
    assert UNUSABLE == 6141
    assert [int(bit) for bit in MaskBit if not bit.is_unusable] == [1, 11]
    assert [int(bit) for bit in MaskBit] == list(range(13))


@given(st.sets(st.sampled_from(list(MaskBit))))
def test_a_pixel_decodes_to_the_bits_it_was_made_of(bits):
    assert set(decode(sum(bit.flag for bit in bits))) == bits


@pytest.mark.parametrize(("value", "words"), [(-1, "16 bits"), (1 << 16, "16 bits"), (1 << 13, "0x2000")])
def test_what_is_no_mask_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        decode(value)


def test_the_legend_names_every_bit():
    words = dict(legend())
    assert list(words) == [f"BIT{bit:02d}" for bit in range(N_BITS)]
    assert words["BIT08"] == "saturated"
    assert words["BIT15"] == "reserved"
