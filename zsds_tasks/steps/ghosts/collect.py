"""Cut-outs as rows of `ghost_stamps`, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zsds_tasks.science.masking.ghost_stamps import GhostStamp, Reflection

STAMPS = "ghost_stamps"
Row = dict[str, Any]


def collect_rows(
    stamps: Sequence[GhostStamp], *, expid: int, rcid: int, night: str, fid: int, processing_version: str
) -> list[Row]:
    """Return the rows of what `zsds_tasks.science.masking.ghost_stamps.collect_stamps` found on a quadrant.

    Rows of many quadrants can be merged into the table in one commit.

    Parameters
    ----------
    stamps : sequence of GhostStamp
    expid, rcid : int
        Exposure and readout channel.
    night : str
        YYYYMMDD.
    fid : int
        Filter.
    processing_version : str
        Of what made the image.
    """
    return [
        {
            "expid": expid,
            "rcid": rcid,
            "kind": str(stamp.kind),
            "star_id": stamp.star_id,
            "night": night,
            "fid": fid,
            "flux": stamp.flux,
            "star_east": stamp.star.real,
            "star_north": stamp.star.imag,
            "east": stamp.middle.real,
            "north": stamp.middle.imag,
            "axes": stamp.axes.ravel().tolist(),
            "noise": stamp.noise,
            "bin_px": stamp.bin_px,
            "ny": stamp.values.shape[0],
            "nx": stamp.values.shape[1],
            "bin_values": stamp.values.ravel(),
            "processing_version": processing_version,
        }
        for stamp in stamps
    ]


def stamp_of(row: Row) -> GhostStamp:
    """Return the cut-out of a row."""
    return GhostStamp(
        kind=Reflection(row["kind"]),
        star_id=row["star_id"],
        flux=row["flux"],
        star=complex(row["star_east"], row["star_north"]),
        middle=complex(row["east"], row["north"]),
        axes=np.array(row["axes"], np.float64).reshape(2, 2),
        noise=row["noise"],
        bin_px=row["bin_px"],
        values=np.array(row["bin_values"], np.float32).reshape(row["ny"], row["nx"]),
    )
