"""INFOBITS: the original's two bits are where clients look for them, and every value says what it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsds_tasks.products.infobits import N_BITS, InfoBit, combine, decode


def test_the_originals_bits_have_the_originals_values():
    assert InfoBit.BAD_PHOTOMETRY.flag == 33_554_432
    assert InfoBit.SUPERSEDED == 26
    assert [int(bit) for bit in InfoBit] == [*range(11), 25, 26]
    # Clients drop images by this comparison (reference section 12): no other condition may reach it.
    assert combine(set(InfoBit) - {InfoBit.BAD_PHOTOMETRY, InfoBit.SUPERSEDED}) < 33_554_432


@given(st.sets(st.sampled_from(list(InfoBit))))
def test_a_value_decodes_to_the_bits_it_was_made_of(bits):
    value = combine(bits)
    assert set(decode(value)) == bits
    assert 0 <= value < 2**31


@pytest.mark.parametrize(
    ("value", "words"), [(-1, "31 bits"), (1 << N_BITS, "31 bits"), (1 << 11, "0x00000800")]
)
def test_what_is_no_value_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        decode(value)


def test_every_bit_has_its_own_sentence():
    sentences = [bit.sentence for bit in InfoBit]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence and not sentence.endswith(".") for sentence in sentences)
