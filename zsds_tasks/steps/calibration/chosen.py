"""What the hot path asks: curve and smooth response of a channel for one exposure, and which files they are.

room = MapRoom(lakehouse, settings, night)            # once per process and night
maps = room.maps(rcid, fid, exptime)                  # per image; repeated questions cost nothing
maps.linearity, maps.smooth, maps.used                # into `reduce_quadrant` and science_images.masters
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.science.calibration.shutter import smooth_response
from zsds_tasks.settings import Settings
from zsds_tasks.steps.calibration.configuration import CalibrationConfig, load_calibration_config
from zsds_tasks.steps.calibration.lamprows import LINEARITY, SHUTTER
from zsds_tasks.steps.calibration.mapfiles import read_smooth_map
from zsds_tasks.steps.calibration.selection import TABLE, MasterChoice, Row, nearest_accepted
from zsds_tasks.steps.calibration.starflats import STAR_FLAT
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import ObservingNight


@dataclass(frozen=True)
class ChannelMaps:
    """What one image of a channel is to be reduced with, besides bias, flat and mask.

    Parameters
    ----------
    linearity : (a, b)
        DN_true = x / (a x^2 + b x + 1).
    smooth : Mesh or None
        The image is divided by it: star flat times (t + dt) / t. None: by 1.
    used : tuple of str
        Each file as kind, night and SHA-256, for `science_images.masters`.
    reasons : tuple of str
        Why these and no others, in words.
    """

    linearity: tuple[float, float]
    smooth: Mesh | None
    used: tuple[str, ...]
    reasons: tuple[str, ...]


class MapRoom:
    """Finds the maps of a night and keeps what it has read.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    night : str
        YYYYMMDD, of the images.
    config : CalibrationConfig, optional
    """

    def __init__(
        self, lakehouse: Lakehouse, settings: Settings, night: str, config: CalibrationConfig | None = None
    ) -> None:
        self.lakehouse = lakehouse
        self.config = config or load_calibration_config(settings.include)
        self.night = ObservingNight.parse(night)
        self.camera = load_camera(settings.camera, settings.include)
        self.shape = (self.camera.quadrant.ny, self.camera.quadrant.nx)
        self._rows = _rows(lakehouse, self.night, self.config)
        self._read: dict[str, Mesh] = {}
        self._made: dict[tuple[int, int, float], ChannelMaps] = {}

    def maps(self, rcid: int, fid: int, exptime: float) -> ChannelMaps:
        """Return the maps for an image.

        Parameters
        ----------
        rcid, fid : int
        exptime : float
            As commanded, s.

        Returns
        -------
        ChannelMaps
            What there is no accepted map for is left out, and a reason says so.

        Raises
        ------
        UnusableInputError
            If a file is gone or is not the one of its row.
        """
        key = (rcid, fid, exptime)
        if key not in self._made:
            self._made[key] = self._maps(*key)
        return self._made[key]

    def _maps(self, rcid: int, fid: int, exptime: float) -> ChannelMaps:
        used, reasons = [], []
        curve = self.camera.quadrants[rcid].detector.linearity
        linearity = (curve.a, curve.b)
        days = self.config.validity_days
        row = nearest_accepted(self._of(LINEARITY.value, rcid, 0), self.night, days)
        if row is None:
            reasons.append(f"linearity: as the camera declares; no row within {days} days")
        else:
            linearity = (row["lin_a"], row["lin_b"])
            used.append(row)
            reasons.append(f"linearity: {row['reason']}")
        shutter = nearest_accepted(self._of(SHUTTER.value, rcid, 0), self.night, days)
        star = star_flat_row(self._of(STAR_FLAT.value, rcid, fid), self.night, self.config)
        for name, found in (("shutter", shutter), ("star flat", star)):
            reasons.append(f"{name}: " + (f"of night {found['night']}" if found else "none accepted"))
            used += [found] if found else []
        smooth = smooth_response(
            self.shape,
            exptime,
            self._mesh(shutter) if shutter else None,
            self._mesh(star) if star else None,
        )
        words = tuple(f"{r['kind']} {r['night']} {r['sha256']}" for r in used)
        return ChannelMaps(linearity, smooth, words, tuple(reasons))

    def _of(self, kind: str, rcid: int, fid: int) -> list[Row]:
        return self._rows.get((kind, rcid, fid), [])

    def _mesh(self, row: Row) -> Mesh:
        if row["sha256"] not in self._read:
            self._read[row["sha256"]] = read_smooth_map(self.lakehouse, row, self.shape).values
        return self._read[row["sha256"]]


def star_flat_for(
    lakehouse: Lakehouse, rcid: int, fid: int, night: str, *, config: CalibrationConfig | None = None
) -> MasterChoice | None:
    """Choose the star flat for a channel, filter and night: the last accepted one of an earlier night.

    Never one of the same night or a later one: it is made of images that are reduced with it, and a night
    reduced again must come out the same.

    Parameters
    ----------
    lakehouse : Lakehouse
    rcid, fid : int
    night : str
        YYYYMMDD.
    config : CalibrationConfig, optional
        `stars.validity_days` bounds the search.

    Returns
    -------
    MasterChoice or None
        None without one: then the image is not corrected.
    """
    config = config or load_calibration_config(lakehouse.include)
    this = ObservingNight.parse(night)
    where = {
        "rcid": rcid, "kind": STAR_FLAT.value, "fid": fid,
        "night": (_back(this, config.stars.validity_days), str(this)),
    }  # fmt: skip
    row = star_flat_row(lakehouse.table(TABLE).read(where=where).to_pylist(), this, config)
    if row is None:
        return None
    days = (this.date - ObservingNight.parse(row["night"]).date).days
    return MasterChoice(row, f"{days} night{'s' if days > 1 else ''} before")


def star_flat_row(rows: Iterable[Row], night: ObservingNight, config: CalibrationConfig) -> Row | None:
    """Return the last accepted row before a night and within the validity of star flats; None without one."""
    first = _back(night, config.stars.validity_days)
    good = [row for row in rows if row["accepted"] and first <= row["night"] < str(night)]
    return max(good, key=lambda row: row["night"], default=None)


def _back(night: ObservingNight, days: int) -> str:
    return str(ObservingNight(night.date - dt.timedelta(days=days)))


def _rows(
    lakehouse: Lakehouse, night: ObservingNight, config: CalibrationConfig
) -> dict[tuple[str, int, int], list[Row]]:
    """Return the rows of maps that can matter, by kind, channel and filter: read once."""
    days = max(config.validity_days, config.stars.validity_days)
    last = ObservingNight(night.date + dt.timedelta(days=config.validity_days + 1))
    where = {
        "night": (_back(night, days), str(last)),
        "kind": [LINEARITY.value, SHUTTER.value, STAR_FLAT.value],
    }
    found: dict[tuple[str, int, int], list[Row]] = {}
    for row in lakehouse.table(TABLE).read(where=where).to_pylist():
        found.setdefault((row["kind"], row["rcid"], row["fid"]), []).append(row)
    return found
