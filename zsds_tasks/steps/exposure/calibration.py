"""The masters of every channel of a night, chosen from one reading of the table; pixels from a cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.science.masking.ghost_model import GhostModel
from zsds_tasks.settings import Settings
from zsds_tasks.steps.calibration.chosen import MapRoom
from zsds_tasks.steps.calibration.configuration import load_calibration_config
from zsds_tasks.steps.calibration.selection import TABLE, nearest_accepted, nights_around, read_master
from zsds_tasks.steps.exposure.cache import store_array
from zsds_tasks.steps.ghosts import GhostChoice, GhostsConfig, ghost_model_for
from zsds_tasks.survey.filenames import CalibrationKind
from zsds_tasks.survey.nights import ObservingNight

Row = dict[str, Any]
NEEDED = (CalibrationKind.BIAS, CalibrationKind.HIGH_FREQUENCY_FLAT, CalibrationKind.BAD_PIXELS)


@dataclass(frozen=True)
class ChannelCalibration:
    """What a channel is calibrated with in an exposure.

    Parameters
    ----------
    rows : dict
        Row of master_frames of bias, flat and bad pixels, by kind.
    linearity : (a, b)
        Of the signal over the overscan.
    smooth : Mesh or None
        Response that is divided out beside the flat: star flat and shutter.
    ghost_model : GhostModel
    ids : tuple of str
        Kind, night and SHA-256 of every file used; where a model came from.
    missing : tuple of str
        What is needed and not there, in words.
    oldest_days : int
        Days between the night and the farthest master.
    """

    rows: dict[CalibrationKind, Row]
    linearity: tuple[float, float]
    smooth: Mesh | None
    ghost_model: GhostModel
    ids: tuple[str, ...]
    missing: tuple[str, ...]
    oldest_days: int


class CalibrationShelf:
    """Everything that calibrates one night, chosen from one reading of each table.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    night : str
        YYYYMMDD.
    ghosts : GhostsConfig
    """

    def __init__(self, lakehouse: Lakehouse, settings: Settings, night: str, ghosts: GhostsConfig) -> None:
        self.lakehouse, self.ghosts = lakehouse, ghosts
        self.days = load_calibration_config(lakehouse.include).validity_days
        self.night = ObservingNight.parse(night)
        self.maps = MapRoom(lakehouse, settings, night)
        self._models: dict[int, GhostChoice] = {}
        self._rows: dict[tuple[int, str, int], list[Row]] = {}
        where = {"night": nights_around(self.night, self.days), "accepted": True}
        for row in lakehouse.table(TABLE).read(where=where).to_pylist():
            self._rows.setdefault((row["rcid"], row["kind"], row["fid"]), []).append(row)

    def of_channel(self, rcid: int, fid: int, exptime_s: float) -> ChannelCalibration:
        """Choose tonight's masters, else the nearest accepted; see `nearest_accepted`, `MapRoom`."""
        chosen: dict[CalibrationKind, Row] = {}
        missing = []
        for kind in NEEDED:
            of_filter = fid if kind == CalibrationKind.HIGH_FREQUENCY_FLAT else 0
            row = nearest_accepted(self._rows.get((rcid, kind.value, of_filter), []), self.night, self.days)
            if row is None:
                missing.append(f"no accepted {kind} within {self.days} days")
            else:
                chosen[kind] = row
        dates = [ObservingNight.parse(row["night"]).date for row in chosen.values()]
        maps, ghosts = self.maps.maps(rcid, fid, exptime_s), self._ghosts(fid)
        return ChannelCalibration(
            rows=chosen,
            linearity=maps.linearity,
            smooth=maps.smooth,
            ghost_model=ghosts.model,
            ids=(
                *(f"{kind} {row['night']} {row['sha256']}" for kind, row in sorted(chosen.items())),
                *maps.used,
                f"ghosts {ghosts.model.source}",
            ),
            missing=tuple(missing),
            oldest_days=max((abs((date - self.night.date).days) for date in dates), default=0),
        )

    def _ghosts(self, fid: int) -> GhostChoice:
        if fid not in self._models:
            choice = ghost_model_for(self.lakehouse, fid, str(self.night), config=self.ghosts)
            self._models[fid] = choice
        return self._models[fid]


def pixels_of(lakehouse: Lakehouse, settings: Settings, row: Row) -> NDArray[Any]:
    """Return the pixels of a master, memory-mapped from a cache of decoded ones.

    Decoding costs more than reducing an image with it, and every exposure of a night needs the same masters:
    the first that needs one decodes it (its checksum verified) and leaves the plain pixels in
    ``<var>/cache/masters`` under the checksum, shared through the page cache by all workers of a machine.

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
    # Copy on write: nobody writes, but compiled code takes no read-only arrays.
    return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))


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
