"""Which LEDs to mix in each filter, from a night's LED flats and the star flats known by then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import yaml
from numpy.typing import NDArray

from zsds_tasks.errors import NothingToDoError, UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.science.calibration.lampcells import cell_areas, cell_centres
from zsds_tasks.science.calibration.ledweights import LampMix, mix_lamps
from zsds_tasks.settings import Settings
from zsds_tasks.steps.calibration.configuration import CalibrationConfig, load_calibration_config
from zsds_tasks.steps.calibration.lamprows import LED_FLAT
from zsds_tasks.steps.calibration.mapfiles import CELL, read_maps, read_smooth_map
from zsds_tasks.steps.calibration.selection import TABLE, Row, nights_around
from zsds_tasks.steps.calibration.starflats import STAR_FLAT
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import load_survey

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FilterMix:
    """The lamps of one filter.

    Parameters
    ----------
    filter : str
        Its name.
    channels : int
        That have both LED flats and a star flat.
    mix : LampMix
    """

    filter: str
    channels: int
    mix: LampMix


@dataclass(frozen=True)
class LedReport:
    """Which LED, or mixture, lights the screen most like stars do.

    Parameters
    ----------
    night : str
        Of the LED flats.
    filters : tuple of FilterMix
    skipped : tuple of str
        Filters left out, each with its reason.
    """

    night: str
    filters: tuple[FilterMix, ...]
    skipped: tuple[str, ...]

    def table(self) -> list[tuple[str, str, float]]:
        """Return rows of filter, lamps and RMS over the star flat (relative): each LED, equal, best."""
        rows = []
        for found in self.filters:
            mix = found.mix
            rows += [(found.filter, f"LED {led}", rms) for led, rms in zip(mix.leds, mix.alone, strict=True)]
            best = ", ".join(f"{led}: {w:.2f}" for led, w in zip(mix.leds, mix.weights, strict=True))
            rows += [(found.filter, "equal weights", mix.equal), (found.filter, f"best ({best})", mix.best)]
            rows.append((found.filter, "noise of the star flat", mix.noise))
        return rows

    def proposal(self) -> str:
        """Return lines for ``include/config/calibration.yaml``; LEDs of no use have a weight of 0.001."""
        weights = {
            led: round(max(weight, 1e-3), 3)
            for found in self.filters
            for led, weight in zip(found.mix.leds, found.mix.weights, strict=True)
        }
        return yaml.safe_dump({"flat": {"led_weights": weights}}, default_flow_style=None)


def propose_led_weights(
    lakehouse: Lakehouse, settings: Settings, night: str, *, config: CalibrationConfig | None = None
) -> LedReport:
    """Compare a night's LED flats with the newest star flats of that night or before.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    night : str
        YYYYMMDD, of the LED flats.
    config : CalibrationConfig, optional

    Returns
    -------
    LedReport

    Raises
    ------
    NothingToDoError
        If no filter has both LED flats and star flats.
    """
    config = config or load_calibration_config(settings.include)
    camera = load_camera(settings.camera, settings.include)
    survey = load_survey(camera.survey, settings.include)
    this = ObservingNight.parse(night)
    first, _ = nights_around(this, config.stars.validity_days)
    _, after = nights_around(this, 0)
    table = lakehouse.table(TABLE)
    lamps = table.read(where={"night": str(this), "kind": LED_FLAT.value, "accepted": True}).to_pylist()
    where = {"night": (first, after), "kind": STAR_FLAT.value, "accepted": True}
    stars: dict[tuple[int, int], Row] = {}
    for row in sorted(table.read(where=where).to_pylist(), key=lambda row: row["night"]):
        stars[row["rcid"], row["fid"]] = row
    shape = (camera.quadrant.ny, camera.quadrant.nx)
    found, skipped = [], []
    for fid in sorted({row["fid"] for row in lamps}):
        name = survey.filter_by_fid(fid).name
        pairs = [
            (row, stars[row["rcid"], fid])
            for row in lamps
            if row["fid"] == fid and (row["rcid"], fid) in stars
        ]
        try:
            mix = mix_lamps(*_cells(lakehouse, pairs, shape))
        except UnusableInputError as error:
            skipped.append(f"{name}: {error.reason}")
            continue
        found.append(FilterMix(name, len(pairs), mix))
    if not found:
        raise NothingToDoError(
            f"no filter has LED flats and star flats: {'; '.join(skipped) or 'no LED flats'}",
            subject=f"night {this}",
            remedy="build lamp maps of the night, and star flats of it or a night before",
        )
    return LedReport(str(this), tuple(found), tuple(skipped))


def _cells(
    lakehouse: Lakehouse, pairs: Iterable[tuple[Row, Row]], shape: tuple[int, int]
) -> tuple[dict[int, Floats], Floats, Floats]:
    """Return lamps, stars and the stars' errors in the cells of all channels, mean 1 in each."""
    lamps: dict[int, list[Floats]] = {}
    stars, errors = [], []
    read = [(*read_maps(lakehouse, row), star) for row, star in pairs]
    common = set.intersection(*(set(images) for images, _, _ in read)) if read else set()
    for images, header, star in read:
        area = cell_areas(shape, header[CELL]).ravel()
        x, y = cell_centres(shape, header[CELL])
        flat = read_smooth_map(lakehouse, star, shape)
        response = flat.values.at(x.ravel(), y.ravel()).astype(np.float64)
        stars.append(response / np.average(response, weights=area))
        errors.append(flat.error.at(x.ravel(), y.ravel()).astype(np.float64))
        for name in common:
            light = images[name].astype(np.float64).ravel()
            known = np.isfinite(light)
            mean = np.average(light[known], weights=area[known]) if known.any() else 1.0
            lamps.setdefault(int(name.removeprefix("LED")), []).append(light / mean)
    if not stars:
        raise UnusableInputError("no channel has LED flats and a star flat")
    return {k: np.concatenate(v) for k, v in lamps.items()}, np.concatenate(stars), np.concatenate(errors)
