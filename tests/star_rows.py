"""Rows of science_images and sources as they come out of images with a known smooth response."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
from science_rows import FWHM_OF_SIGMA, Shot, _whole_rows, image_rows, noise_of, star_field, zero_point_of

from zsds_tasks.lakehouse.catalogs import write_catalog
from zsds_tasks.survey.camera import Camera, Quadrant
from zsds_tasks.survey.identifiers import ExposureId
from zsds_tasks.survey.nights import ObservingNight, jd

FID = 2


def invented_shot(night: str, number: int, start: dt.datetime) -> Shot:
    """An r exposure of field 5 in a night, with a dither of its own."""
    when = start + dt.timedelta(minutes=number)
    rng = np.random.default_rng(number)
    east, north = rng.normal(0, 0.004, 2)
    return Shot(
        int(ExposureId.of(when, dt.date(2017, 1, 1))), str(ObservingNight.parse(night)), jd(when), 30.0, 5,
        FID, 1, 345.0 + east, 32.0 + north, 1.1, 26.1, 2.0, 20.9,
    )  # fmt: skip


def sky_of(camera: Camera, quadrant: Quadrant, shot: Shot, count: int) -> dict[str, np.ndarray]:
    """The invented sky of field 5, the same for every dither, where it falls in a shot."""
    fixed = Shot(**{**shot.__dict__, "ra": 345.0, "dec": 32.0})
    stars = star_field(camera, fixed, quadrant, count)
    scale, (sx, sy) = camera.mosaic.pixel_scale_arcsec, camera.axis_signs
    x = stars["x"] - sx * 3600 * (shot.ra - 345.0) * np.cos(np.radians(32.0)) / scale
    y = stars["y"] - sy * 3600 * (shot.dec - 32.0) / scale
    inside = (x > 1) & (x < camera.quadrant.nx) & (y > 1) & (y < camera.quadrant.ny)
    return {k: v[inside] for k, v in (stars | {"x": x, "y": y}).items()}


def write_sky(camera: Camera, quadrants, shot: Shot, count: int, folder: Path, settings) -> None:
    """Write the Pan-STARRS-like catalogue of the invented sky."""
    fixed = Shot(**{**shot.__dict__, "ra": 345.0, "dec": 32.0})
    parts = [star_field(camera, fixed, quadrant, count) for quadrant in quadrants]
    columns = {k: np.concatenate([p[k] for p in parts]) for k in ("ra", "dec", "mag", "colour", "is_star")}
    rng = np.random.default_rng(1)
    r, colour = columns["mag"], columns["colour"]
    table = {"objid": np.arange(len(r)), "ra": columns["ra"], "dec": columns["dec"]}
    for band, mag in (("g", r + colour), ("r", r), ("i", r - 0.4 * colour)):
        error = np.hypot(0.004, 0.08 * 10 ** (0.4 * (mag - 21.8)))
        table |= {f"{band}mag": mag + error * rng.normal(size=len(r)), f"{band}mag_error": error}
    table["sgscore"] = np.where(columns["is_star"], 0.98, 0.05)
    created = dt.datetime(2025, 10, 12, tzinfo=dt.UTC)
    write_catalog(
        "ps1", pa.table(table), str(folder / "ps1"), margin_arcsec=10.0, description="invented",
        created=created, settings=settings,
    )  # fmt: skip


def measure(camera: Camera, quadrant: Quadrant, shot: Shot, stars, response, *, masters=(), had=None, seed=0):
    """Return the row of science_images and the table of sources of one image.

    `response` and `had` take 0-based x, y: what the light went through, and what the image was divided by.
    """
    rng = np.random.default_rng([seed, shot.expid, quadrant.rcid])
    image, _ = image_rows(camera, shot, quadrant, rng)
    x, y = stars["x"], stars["y"]
    factor = response(x - 1, y - 1) / (had(x - 1, y - 1) if had else 1.0)
    _, noise = noise_of(shot, quadrant, camera.mosaic.pixel_scale_arcsec)
    n_eff = 4 * np.pi * (shot.seeing / camera.mosaic.pixel_scale_arcsec / FWHM_OF_SIGMA) ** 2
    true = stars["flux_dn"] * factor
    sigma = np.sqrt(n_eff * noise**2 + true / quadrant.detector.gain)
    flux = true + sigma * rng.normal(size=len(x)) + 0.006 * true * rng.normal(size=len(x))
    image |= {
        "magzp": zero_point_of(shot, quadrant) + rng.normal(0, 0.02),
        "masters": ["bias 20251012 0", "hifreqflat 20251012 1", *masters],
    }
    keep = flux > 5 * sigma
    n = int(keep.sum())
    place = rng.normal(0, 0.03, (2, n)) / 3600
    columns = {
        "xpos": x[keep], "ypos": y[keep],
        "ra": stars["ra"][keep] + place[0], "dec": stars["dec"][keep] + place[1],
        "sigpos": np.full(n, 0.05), "flux": flux[keep], "sigflux": sigma[keep],
        "flags": np.where(0.66 * flux[keep] / 4 > quadrant.detector.saturation, 256, 0),
        "class_star": np.full(n, 0.9),
    }  # fmt: skip
    rows = _whole_rows(columns, shot, quadrant, image, n)
    zpcorr = 0.05 * (columns["xpos"] / camera.quadrant.nx - 0.5)  # a spatial term that must be undone
    mag = rows["mag"].to_numpy() + zpcorr
    for name, values in (("zpcorr", zpcorr), ("mag", mag)):
        place_of = rows.schema.get_field_index(name)
        rows = rows.set_column(place_of, rows.schema.field(name), pa.array(values, pa.float32()))
    return image, rows
