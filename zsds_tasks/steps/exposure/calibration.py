"""The masters of every channel of a night, chosen from one reading of the table; their pixels from a cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.settings import Settings
from zsds_tasks.steps.calibration.configuration import load_calibration_config
from zsds_tasks.steps.calibration.selection import TABLE, nearest_accepted, nights_around, read_master
from zsds_tasks.steps.exposure.cache import store_array
from zsds_tasks.survey.filenames import CalibrationKind
from zsds_tasks.survey.nights import ObservingNight

Row = dict[str, Any]
NEEDED = (CalibrationKind.BIAS, CalibrationKind.HIGH_FREQUENCY_FLAT, CalibrationKind.BAD_PIXELS)


@dataclass(frozen=True)
class ChannelCalibration:
    """Which masters a channel uses in a night.

    Parameters
    ----------
    rows : dict
        Row of master_frames by kind.
    missing : tuple of str
        What is needed and not there, in words.
    oldest_days : int
        Days between the night and the farthest master.
    """

    rows: dict[CalibrationKind, Row]
    missing: tuple[str, ...]
    oldest_days: int

    @property
    def ids(self) -> list[str]:
        """Kind, night and SHA-256 of every file used, in order."""
        return [f"{kind} {row['night']} {row['sha256']}" for kind, row in sorted(self.rows.items())]


@dataclass
class CalibrationShelf:
    """The masters around one night.

    Parameters
    ----------
    lakehouse : Lakehouse
    night : str
        YYYYMMDD.
    """

    lakehouse: Lakehouse
    night: str
    _rows: dict[tuple[int, str, int], list[Row]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.days = load_calibration_config(self.lakehouse.include).validity_days
        self.date = ObservingNight.parse(self.night)
        where = {"night": nights_around(self.date, self.days), "accepted": True}
        self._rows = {}
        for row in self.lakehouse.table(TABLE).read(where=where).to_pylist():
            self._rows.setdefault((row["rcid"], row["kind"], row["fid"]), []).append(row)

    def of_channel(self, rcid: int, fid: int) -> ChannelCalibration:
        """Choose tonight's masters, else the nearest accepted; see `nearest_accepted`."""
        chosen: dict[CalibrationKind, Row] = {}
        missing = []
        for kind in NEEDED:
            of_filter = fid if kind == CalibrationKind.HIGH_FREQUENCY_FLAT else 0
            row = nearest_accepted(self._rows.get((rcid, kind.value, of_filter), []), self.date, self.days)
            if row is None:
                missing.append(f"no accepted {kind} within {self.days} days")
            else:
                chosen[kind] = row
        dates = [ObservingNight.parse(row["night"]).date for row in chosen.values()]
        oldest = max((abs((date - self.date.date).days) for date in dates), default=0)
        return ChannelCalibration(chosen, tuple(missing), oldest)


def pixels_of(lakehouse: Lakehouse, settings: Settings, row: Row) -> NDArray[Any]:
    """Return the pixels of a master, memory-mapped from a cache of decoded ones.

    Decoding costs more than reducing an image with it, and every exposure of a night needs the same masters: the
    first that needs one decodes it (its checksum verified) and leaves the plain pixels in ``<var>/cache/masters``
    under the checksum, shared through the page cache by all workers of a machine.

    Raises
    ------
    UnusableInputError
        If the file of the row is gone or another one.
    TransientError
        If the cache cannot be written.
    """
    path = settings.var / "cache" / "masters" / f"{row['sha256']}.npy"
    try:
        return _mapped(path)
    except (OSError, ValueError):
        pixels = read_master(lakehouse, row)
        store_array(path, pixels)
        return _mapped(path)


def _mapped(path: Path) -> NDArray[Any]:
    pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(pixels)


def require(calibration: ChannelCalibration, subject: str) -> None:
    """Refuse a channel that lacks a master.

    Raises
    ------
    UnusableInputError
    """
    if calibration.missing:
        raise UnusableInputError(
            "; ".join(calibration.missing),
            subject=subject,
            remedy="take calibration frames and run `zsds masters`, or widen validity_days",
        )


