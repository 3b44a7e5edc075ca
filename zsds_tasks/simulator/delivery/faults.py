"""What goes wrong between camera and archive: files spoilt, doubled, changed, late or lost."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Annotated

from astropy.io import fits
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.instrument.ccd_frame import CcdFrame
from zsds_tasks.simulator.products import Exposure
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.survey.nights import ObservingNight

Number = Annotated[int, Field(ge=0)]
DROPPED_KEYWORDS = ("FIELDID", "OBSMJD", "EXPTIME")
DROPPED_ROWS = 7
RESENT_OBSERVER = "ZSDS simulator, sent again"


class Fault(StrEnum):
    """One way a delivery fails."""

    NONE = "none"
    TRUNCATED = "truncated"
    WRONG_SHAPE = "wrong_shape"
    MISSING_KEYWORDS = "missing_keywords"
    CORRUPT = "corrupt"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    LATE = "late"
    LOST = "lost"


class Outcome(StrEnum):
    """What ingest ought to make of one delivered file."""

    INGESTED = "ingested"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicate"
    REPLACED = "replaced"  # by another file of its name before anyone read it
    MISSING = "missing"


SPOILT = frozenset({Fault.TRUNCATED, Fault.WRONG_SHAPE, Fault.MISSING_KEYWORDS, Fault.CORRUPT})


class FaultsConfig(Declaration):
    """How many files of a night suffer each fault."""

    truncated: Number = Field(1, description="cut off in the middle")
    wrong_shape: Number = Field(1, description="one quadrant lacks rows")
    missing_keywords: Number = Field(1, description=f"{', '.join(DROPPED_KEYWORDS)} left out")
    corrupt: Number = Field(1, description="one byte of pixel data changed: the checksum no longer fits")
    duplicate: Number = Field(1, description="sent twice, same bytes")
    conflict: Number = Field(1, description="sent again under the same name with other bytes")
    late: Number = Field(1, description="arrives after everything else of the night")
    lost: Number = Field(1, description="never arrives")


def plan_faults(
    config: FaultsConfig, seed: int, night: ObservingNight, files: list[tuple[Exposure, int]]
) -> dict[tuple[int, int], Fault]:
    """Choose which files suffer.

    Parameters
    ----------
    config : FaultsConfig
        How many of each.
    seed : int
        Of the simulation.
    night : ObservingNight
        The night.
    files : list of (Exposure, ccdid)
        Every file of the night.

    Returns
    -------
    dict
        (expid, ccdid) -> fault, of different exposures; only science frames suffer, unless there are too few.
    """
    science = sorted({e.expid for e, _ in files if e.imgtypecode == "o"})
    everything = sorted({e.expid for e, _ in files})
    wanted = [Fault(name) for name, n in config.model_dump().items() for _ in range(n)]
    candidates = science if len(science) >= len(wanted) else everything
    rng = generator(seed, "faults", night)
    n = min(len(wanted), len(candidates))
    chosen = rng.choice(len(candidates), size=n, replace=False)
    ccds: dict[int, list[int]] = {}
    for exposure, ccdid in files:
        ccds.setdefault(exposure.expid, []).append(ccdid)
    plan = {}
    for fault, k in zip(wanted[:n], chosen, strict=True):
        expid = candidates[int(k)]
        plan[expid, int(rng.choice(sorted(ccds[expid])))] = fault
    return plan


def spoil_frame(frame: CcdFrame, fault: Fault) -> CcdFrame:
    """Return the counts as this fault leaves them."""
    if fault != Fault.WRONG_SHAPE:
        return frame
    first, second, *others = frame.images
    return dataclasses.replace(frame, images=(first, second[:-DROPPED_ROWS].copy(), *others))


def spoil_header(header: fits.Header, fault: Fault) -> fits.Header:
    """Return the primary header as this fault leaves it."""
    spoilt = header.copy()
    if fault == Fault.MISSING_KEYWORDS:
        for keyword in DROPPED_KEYWORDS:
            del spoilt[keyword]
    return spoilt


def spoil_bytes(content: bytes, fault: Fault) -> bytes:
    """Return the file as this fault leaves it."""
    if fault == Fault.TRUNCATED:
        return content[: int(len(content) * 0.55)]
    if fault == Fault.CORRUPT:
        # The middle of the file lies in the pixel data of an image: images are nearly all of it.
        middle = len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 0x55]) + content[middle + 1 :]
    return content


def resent_header(header: fits.Header) -> fits.Header:
    """Return the header of a file that is sent again with other bytes."""
    changed = header.copy()
    changed["OBSERVER"] = RESENT_OBSERVER
    return changed


def first_outcome(fault: Fault) -> Outcome:
    """Return what ought to become of a file sent for the first time."""
    if fault in SPOILT:
        return Outcome.QUARANTINED
    return Outcome.MISSING if fault == Fault.LOST else Outcome.INGESTED
