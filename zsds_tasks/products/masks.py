"""The bits of mask images: declared once, in ZTF's order (reference section 1.10)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Self


class MaskBit(IntEnum):
    """Position of each bit in a 16-bit mask, with what it means and whether such a pixel is unusable.

    Reserved bits have no member: nothing of ours sets them.
    """

    sentence: str
    is_unusable: bool

    def __new__(cls, bit: int, sentence: str, is_unusable: bool) -> Self:
        """Make a member that is its position and carries the rest."""
        member = int.__new__(cls, bit)
        member._value_ = bit
        member.sentence = sentence
        member.is_unusable = is_unusable
        return member

    TRACK = 0, "aircraft or satellite track", True
    DETECTION = 1, "belongs to a detected source", False
    LOW_RESPONSE = 2, "low responsivity", True
    HIGH_RESPONSE = 3, "high responsivity", True
    NOISY = 4, "noisy", True
    GHOST = 5, "ghost of a bright source", True
    SPILLAGE_GHOST = 6, "ghost from charge spillage", True
    SPIKE = 7, "pixel spike, possibly a radiation hit", True
    SATURATED = 8, "saturated", True
    DEAD = 9, "dead, unresponsive", True
    NAN = 10, "no number", True
    PSF_SOURCE = 11, "holds the position of a PSF-fitted source", False
    HALO = 12, "halo of a bright source", True

    @property
    def flag(self) -> int:
        """The number a pixel has where only this bit is set."""
        return 1 << self


N_BITS: Final = 16
UNUSABLE: Final = sum(bit.flag for bit in MaskBit if bit.is_unusable)
"""A pixel with any of these bits cannot be used: 6141. `mask != 0` would throw real sources away."""


def decode(value: int) -> tuple[MaskBit, ...]:
    """Return the bits that are set in a pixel of a mask, in order.

    Raises
    ------
    ValueError
        If the value does not fit 16 bits or has a reserved bit set.
    """
    if not 0 <= value < 1 << N_BITS:
        raise ValueError(f"{value} does not fit {N_BITS} bits")
    found = tuple(bit for bit in MaskBit if value & bit.flag)
    rest = value - sum(bit.flag for bit in found)
    if rest:
        raise ValueError(f"{value} has reserved bits set: {rest:#06x}")
    return found


def legend() -> list[tuple[str, str]]:
    """Return (keyword, sentence) of every bit, reserved ones included, for the header of a mask: BIT00 ..."""
    named = {int(bit): bit.sentence for bit in MaskBit}
    return [(f"BIT{bit:02d}", named.get(bit, "reserved")) for bit in range(N_BITS)]
