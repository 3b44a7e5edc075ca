"""Our photometric calibration beside the one that a file's header already has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NAMES: Mapping[str, tuple[str, ...]] = {
    "MAGZP": ("MAGZP", "MAGZERO", "PHOTZP", "ZPMAG", "MAGZPT", "L1ZP"),
    "MAGZPRMS": ("MAGZPRMS", "L1ZPERR"),
    "CLRCOEFF": ("CLRCOEFF", "L1COLOR"),
    "NMATCHES": ("NMATCHES",),
    "ZPMED": ("ZPMED",),
    "MAGLIM": ("MAGLIM", "LIMITMAG"),
    "SEEING": ("SEEING",),
    "SATURATE": ("SATURATE",),
    "GAIN": ("GAIN",),
}
"""What ours is called, and the names it has in other observatories' headers, the likeliest first."""


@dataclass(frozen=True)
class Compared:
    """One value that both have.

    Parameters
    ----------
    keyword, their_keyword : str
    ours, theirs : float
    """

    keyword: str
    their_keyword: str
    ours: float
    theirs: float

    @property
    def difference(self) -> float:
        """Ours minus theirs."""
        return self.ours - self.theirs


def compare(ours: Mapping[str, Any], header: Mapping[str, Any]) -> tuple[Compared, ...]:
    """Pair our values with a header's.

    Parameters
    ----------
    ours : Mapping
        From `ZeroPoint.header`, `Depth.header` and the like.
    header : Mapping
        Keywords and values of a file.

    Returns
    -------
    tuple of Compared
        In the order of `NAMES`; what either lacks, or has as no number, is left out.
    """
    found = []
    for keyword, names in NAMES.items():
        mine = _number(ours.get(keyword))
        theirs = next(((name, n) for name in names if (n := _number(header.get(name))) is not None), None)
        if mine is not None and theirs is not None:
            found.append(Compared(keyword, theirs[0], mine, theirs[1]))
    return tuple(found)


def table(rows: Iterable[Compared]) -> str:
    """Return comparisons as a Markdown table."""
    lines = ["| keyword | theirs as | ours | theirs | difference |", "|---|---|---|---|---|"]
    lines += [
        f"| {r.keyword} | {r.their_keyword} | {r.ours:.4g} | {r.theirs:.4g} | {r.difference:+.4f} |"
        for r in rows
    ]
    return "\n".join(lines)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
