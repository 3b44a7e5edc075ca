"""Which master to use: tonight's, or the nearest accepted one within some days."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.compressed import decode_image
from zsds_tasks.steps.calibration.configuration import CalibrationConfig, load_calibration_config
from zsds_tasks.survey.filenames import CalibrationKind
from zsds_tasks.survey.nights import ObservingNight

TABLE = "master_frames"
Row = dict[str, Any]


@dataclass(frozen=True)
class MasterChoice:
    """A master and why it is this one.

    Parameters
    ----------
    row : dict
        Its row of master_frames.
    reason : str
        In words.
    """

    row: Row
    reason: str


def master_for(
    lakehouse: Lakehouse,
    kind: CalibrationKind,
    rcid: int,
    fid: int,
    when: str,
    *,
    config: CalibrationConfig | None = None,
) -> MasterChoice:
    """Choose the master for a channel and night.

    Parameters
    ----------
    lakehouse : Lakehouse
    kind : CalibrationKind
    rcid : int
        Readout channel.
    fid : int
        Filter; 0 for bias and bad pixels.
    when : str
        Observing night, YYYYMMDD.
    config : CalibrationConfig, optional
        By default that of ``include/config/calibration.yaml``; its `validity_days` bound the search.

    Returns
    -------
    MasterChoice
        Tonight's if accepted, else the nearest; of two equally near the earlier.

    Raises
    ------
    UnusableInputError
        If there is none.
    """
    config = config or load_calibration_config(lakehouse.include)
    night = ObservingNight.parse(when)
    where = {
        "rcid": rcid,
        "kind": kind.value,
        "fid": fid,
        "night": nights_around(night, config.validity_days),
    }
    rows = lakehouse.table(TABLE).read(where=where).to_pylist()
    chosen = nearest_accepted(rows, night, config.validity_days)
    tonight = next((row for row in rows if row["night"] == str(night)), None)
    why = f"refused: {tonight['reason']}" if tonight else "not built"
    if chosen is None:
        raise UnusableInputError(
            f"no accepted {kind} within {config.validity_days} days; tonight's is {why}",
            subject=f"channel {rcid}, filter {fid}, night {night}",
            remedy="take calibration frames and run `zsds masters`, or widen validity_days",
        )
    days = abs((ObservingNight.parse(chosen["night"]).date - night.date).days)
    if days == 0:
        return MasterChoice(chosen, "tonight's")
    side = "before" if chosen["night"] < str(night) else "after"
    return MasterChoice(chosen, f"{days} night{'s' if days > 1 else ''} {side}; tonight's is {why}")


def nights_around(night: ObservingNight, days: int) -> tuple[str, str]:
    """Return the half-open range of nights no more than some days away."""
    step = dt.timedelta(days=days)
    return str(ObservingNight(night.date - step)), str(
        ObservingNight(night.date + step + dt.timedelta(days=1))
    )


def nearest_accepted(rows: Iterable[Row], night: ObservingNight, days: int) -> Row | None:
    """Return the accepted row nearest to a night within some days; None without one."""

    def distance(row: Row) -> tuple[int, str]:
        return abs((ObservingNight.parse(row["night"]).date - night.date).days), row["night"]

    accepted = [row for row in rows if row["accepted"] and distance(row)[0] <= days]
    return min(accepted, key=distance, default=None)


def read_master(lakehouse: Lakehouse, row: Row, *, uncertainty: bool = False) -> NDArray[Any]:
    """Return the pixels of a master (ny, nx): float32, or uint16 for bad pixels.

    Parameters
    ----------
    lakehouse : Lakehouse
    row : dict
        Of master_frames.
    uncertainty : bool
        Read the file of its uncertainty instead.

    Raises
    ------
    UnusableInputError
        If the file is gone, is not the one of the row, or cannot be read.
    """
    prefix = "unc_" if uncertainty else ""
    path, digest = row[f"{prefix}path"], row[f"{prefix}sha256"]
    subject = str(path or f"{row['kind']} of channel {row['rcid']}, night {row['night']}")
    remedy = "build the masters of its night again"
    try:
        data = lakehouse.storage.read_bytes(path) if path else None
    except FileNotFoundError:
        data = None
    if data is None:
        raise UnusableInputError("has no file", subject=subject, remedy=remedy)
    if hashlib.sha256(data).hexdigest() != digest:
        raise UnusableInputError("is not the file that its row describes", subject=subject, remedy=remedy)
    return decode_image(data, subject=subject)
