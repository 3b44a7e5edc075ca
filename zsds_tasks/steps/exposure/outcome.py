"""What a worker sends back for one channel: rows, no pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

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
        Processor time of all of it.
    """

    image: Row
    quality: Row
    sources: pa.Table | None
    ghost_stamps: tuple[Row, ...]
    core_seconds: float
