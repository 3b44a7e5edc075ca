"""The bits of INFOBITS: conditions that do not by themselves make an image bad (reference section 4.7)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Self


class InfoBit(IntEnum):
    """Position of each bit in INFOBITS, with what it means. Bits without a member are free.

    Bits 25 and 26 are the original's; the others are ours to define.
    """

    sentence: str

    def __new__(cls, bit: int, sentence: str) -> Self:
        """Make a member that is its position and carries the rest."""
        member = int.__new__(cls, bit)
        member._value_ = bit
        member.sentence = sentence
        return member

    ASTROMETRY = 0, "astrometric residuals are large"
    BLIND_SOLVE = 1, "astrometry was not found where the telescope pointed"
    FEW_ASTROMETRIC = 2, "few stars in the astrometric fit"
    FEW_PHOTOMETRIC = 3, "few stars in the photometric fit"
    ZERO_POINT_RMS = 4, "photometric calibrators scatter"
    ELONGATED = 5, "the PSF is elongated"
    SKY_GRADIENT = 6, "the sky is uneven"
    SATURATED = 7, "many pixels are saturated"
    MASKED = 8, "many pixels are masked"
    OLD_CALIBRATION = 9, "calibration frames are old"
    TRACKING = 10, "the telescope did not follow: trails or double images"
    BAD_PHOTOMETRY = 25, "bad photometric quality"
    SUPERSEDED = 26, "superseded by another processing"

    @property
    def flag(self) -> int:
        """The number INFOBITS has where only this bit is set."""
        return 1 << self


N_BITS: Final = 31
"""INFOBITS is stored in a signed 32-bit integer."""


def combine(bits: set[InfoBit] | frozenset[InfoBit]) -> int:
    """Return INFOBITS with these bits set."""
    return sum(bit.flag for bit in bits)


def decode(value: int) -> tuple[InfoBit, ...]:
    """Return the bits that are set, in order.

    Raises
    ------
    ValueError
        If the value does not fit 31 bits or has a bit set that means nothing.
    """
    if not 0 <= value < 1 << N_BITS:
        raise ValueError(f"{value} does not fit {N_BITS} bits")
    found = tuple(bit for bit in InfoBit if value & bit.flag)
    rest = value - sum(bit.flag for bit in found)
    if rest:
        raise ValueError(f"{value} has bits set that mean nothing: {rest:#010x}")
    return found
