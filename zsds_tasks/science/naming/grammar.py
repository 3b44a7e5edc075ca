"""The grammar of object names: ZTF, year in two digits, seven letters in base 26 (reference section 7.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from zsds_tasks.errors import UnusableInputError

PREFIX: Final = "ZTF"
LETTERS: Final = 7
BASE: Final = 26
PER_YEAR: Final = BASE**LETTERS
"""8.03e9 names: forty times the alerts of a year."""
CENTURY: Final = 2000
_GRAMMAR = re.compile(rf"{PREFIX}([0-9]{{2}})([a-z]{{{LETTERS}}})")


@dataclass(frozen=True, order=True)
class ObjectName:
    """The name of an object: year of its first detection, and a number within the year.

    Parameters
    ----------
    year : int
        2000 to 2099.
    ordinal : int
        From 0, which is ``aaaaaaa``.
    """

    year: int
    ordinal: int

    def __post_init__(self) -> None:
        if not CENTURY <= self.year < CENTURY + 100:
            raise UnusableInputError("names have two digits for years 2000 to 2099", subject=str(self.year))
        if not 0 <= self.ordinal < PER_YEAR:
            raise UnusableInputError(f"a year has names 0 to {PER_YEAR - 1}", subject=str(self.ordinal))

    @classmethod
    def parse(cls, text: str) -> ObjectName:
        """Read a name such as ``ZTF17aadcvhq``."""
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise UnusableInputError("not the name of an object", subject=repr(text), remedy="ZTF17aadcvhq")
        ordinal = 0
        for letter in match[2]:
            ordinal = ordinal * BASE + ord(letter) - ord("a")
        return cls(CENTURY + int(match[1]), ordinal)

    def after(self, count: int = 1) -> ObjectName:
        """Return the name so many further on in the same year."""
        return ObjectName(self.year, self.ordinal + count)

    def __str__(self) -> str:
        letters, rest = [], self.ordinal
        for _ in range(LETTERS):
            rest, letter = divmod(rest, BASE)
            letters.append(chr(ord("a") + letter))
        return f"{PREFIX}{self.year % 100:02}{''.join(reversed(letters))}"
