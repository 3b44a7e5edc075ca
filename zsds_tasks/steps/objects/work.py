"""What is due: units whose light curves are others than those measured, pixels whose units have changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.settings import Settings
from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Pixel
from zsds_tasks.steps.lightcurves.work import UNITS, Key
from zsds_tasks.steps.objects import neighbours
from zsds_tasks.steps.objects.configuration import STAGE, ObjectsConfig, PixelsConfig
from zsds_tasks.steps.objects.offsets import newest_offsets
from zsds_tasks.steps.objects.pixels import name_of, named, touched

MEASURED, PIXELS, ALERT_OBJECTS = "measured_units", "object_pixels", "alert_objects"
KEY = ("field", "fid", "rcid")
Place = tuple[str, float, float]


@dataclass(frozen=True)
class CurvesWork:
    """One unit (field, filter, channel) whose light curves are to be measured.

    Parameters
    ----------
    key : tuple of int
        field, fid, rcid.
    state : str
        What they will have been measured from and how; empty where the unit is no more, and its rows go.
    night : str
        Newest among its images.
    """

    key: Key
    state: str
    night: str = ""


@dataclass(frozen=True)
class UnitPart:
    """What a pixel must know of a unit whose seeds it holds or has near it.

    Parameters
    ----------
    key : tuple of int
    state : str
        Of measured_units.
    night : str
    drift_arcsec : float
        How far its seeds move, at most, from their own epoch to the one at which they are compared.
    offset_mag : float
        Added to its magnitudes: the survey-wide calibration's.
    """

    key: Key
    state: str
    night: str
    drift_arcsec: float
    offset_mag: float


@dataclass(frozen=True)
class PixelWork:
    """One pixel whose objects are to be made.

    Parameters
    ----------
    pixel : Pixel
    units : tuple of UnitPart
        In order of their keys; none where no star is left, and the rows go.
    alerts : tuple of (str, float, float)
        Names of the objects that alerted there, ra, dec (degrees).
    state : str
    """

    pixel: Pixel
    units: tuple[UnitPart, ...]
    alerts: tuple[Place, ...]
    state: str


def curves_work(lakehouse: Lakehouse, config: ObjectsConfig) -> list[CurvesWork]:
    """Return the units that are due, in order of field, filter, channel."""
    pixels = config.pixels
    how = f"{pixels.healpix_order} {pixels.reach_arcsec!r} {pixels.grouping.epoch_mjd!r}"
    wanted: dict[Key, CurvesWork] = {}
    for row in lakehouse.table(UNITS).read([*KEY, "night", "state"]).to_pylist():
        key = _key(row)
        state = processing_version("measured", config.curves, [f"curves {row['state']}", f"pixels {how}"])
        wanted[key] = CurvesWork(key, state, row["night"])
    known = {_key(row): row["state"] for row in lakehouse.table(MEASURED).read([*KEY, "state"]).to_pylist()}
    due = [work for key, work in wanted.items() if known.get(key) != work.state]
    return sorted([*due, *(CurvesWork(key, "") for key in known.keys() - wanted.keys())], key=lambda w: w.key)


def pixel_work(lakehouse: Lakehouse, settings: Settings, config: PixelsConfig) -> list[PixelWork]:
    """Return the pixels that are due, in the order of the sky.

    A pixel is a function of the units with seeds in it or near it, of the survey's offsets of these units, of
    the catalogues and of the objects that alerted there.
    """
    units = units_by_pixel(lakehouse)
    alerts = _alerts_by_pixel(lakehouse, config)
    catalogs = [f"catalogue {edition}" for edition in neighbours.editions(settings)]
    known = {
        row["pixel"]: row["state"] for row in lakehouse.table(PIXELS).read(["pixel", "state"]).to_pylist()
    }
    due = []
    for name in {*units, *known}:
        parts, places = tuple(units.get(name, ())), tuple(alerts.get(name, ()))
        state = processing_version(STAGE, config, [*catalogs, *_identities(parts, places)]) if parts else ""
        if known.get(name) != state:
            due.append(PixelWork(named(name), parts, places, state))
    return sorted(due, key=lambda work: (work.pixel.first, work.pixel.order))


def _identities(units: Sequence[UnitPart], alerts: Sequence[Place]) -> list[str]:
    found = [f"unit {unit.key} {unit.state} {unit.offset_mag!r}" for unit in units]
    return found + [f"alert {name} {ra!r} {dec!r}" for name, ra, dec in alerts]


def units_by_pixel(lakehouse: Lakehouse) -> dict[int, list[UnitPart]]:
    """Return the units with seeds in or near each pixel, by name, in order of their keys."""
    offsets = newest_offsets(lakehouse)
    found: dict[int, list[UnitPart]] = defaultdict(list)
    columns = [*KEY, "state", "night", "drift_arcsec", "pixels"]
    for row in lakehouse.table(MEASURED).read(columns).to_pylist():
        key = _key(row)
        part = UnitPart(key, row["state"], row["night"], row["drift_arcsec"], offsets.get(key, 0.0))
        for name in row["pixels"]:
            found[name].append(part)
    return found


def _alerts_by_pixel(lakehouse: Lakehouse, config: PixelsConfig) -> dict[int, list[Place]]:
    """Return the objects that alerted in each pixel or so near it that one of its objects may be theirs."""
    rows = lakehouse.table(ALERT_OBJECTS).read(["objectid", "ra", "dec"])
    ra, dec = rows["ra"].to_numpy(), rows["dec"].to_numpy()
    reach = config.reach_arcsec + config.neighbours.alert_arcsec
    row, number = touched(healpix.index_of(ra, dec), reach, config.healpix_order)
    names, found = rows["objectid"].to_pylist(), defaultdict(list)
    for k, pixel in zip(row.tolist(), number.tolist(), strict=True):
        found[name_of(Pixel(config.healpix_order, pixel))].append((names[k], float(ra[k]), float(dec[k])))
    return found


def _key(row: dict[str, Any]) -> Key:
    return row["field"], row["fid"], row["rcid"]
