"""What a worker sends back for one channel: rows, no pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from zsds_tasks.steps.difference import DifferenceOutcome

Row = dict[str, Any]


@dataclass(frozen=True)
class QuadrantOutcome:
    """One channel of one exposure, whatever came of it.

    Parameters
    ----------
    image, quality : dict
        Rows of science_images and image_quality.
    sources : pyarrow.Table or None
        Rows of sources; None if there are none.
    ghost_stamps : tuple of dict
        Rows of ghost_stamps.
    core_seconds : float
        Processor time up to here; that of the difference stands in its row.
    difference : DifferenceOutcome or None
        What came of subtracting the reference; None if there was none, or no image.
    """

    image: Row
    quality: Row
    sources: pa.Table | None
    ghost_stamps: tuple[Row, ...]
    core_seconds: float
    difference: DifferenceOutcome | None = None
