"""Rows of science_images, sources and image_quality as a good pipeline would leave them: truth plus noise."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from zsds_tasks.pixels.compressed import encode_image
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.products.tables import arrow_schema, load_table
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.production import Recipe, set_stage
from zsds_tasks.simulator.score_science import COLOURS
from zsds_tasks.simulator.truth.artefacts import ARTEFACT_SCHEMA
from zsds_tasks.simulator.truth.objects import OBJECT_SCHEMA, night_objects
from zsds_tasks.simulator.truth.recipe import recipe_table
from zsds_tasks.simulator.truth.tables import (
    DETECTION_SCHEMA,
    EXPOSURE_SCHEMA,
    detection_table,
    exposure_table,
    write_truth,
)
from zsds_tasks.survey.camera import Camera, Quadrant, load_camera
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO, ObservingNight, mjd

VERSION = "0123456789ab"
APERTURES = 6
COEFFICIENTS = {1: -0.06, 2: 0.11, 3: -0.02}  # as simulator.yaml has them
NAMES = {1: "g", 2: "r", 3: "i"}
CLEAR = {1: 26.3, 2: 26.2, 3: 25.6}
SKY_MAG = {1: 21.8, 2: 20.9, 3: 20.1}
FWHM_OF_SIGMA = 2.3548


@dataclass(frozen=True)
class Errors:
    """What the imagined pipeline does badly."""

    position_mas: float = 8.0
    zero_point: float = 0.003
    sigma_factor: float = 1.0
    lost: float = 0.0
    bogus: int = 2
    bright_bias: float = 0.0
    seeing: float = 1.0
    limit: float = 0.0
    class_scatter: float = 0.15


@dataclass(frozen=True)
class Shot:
    """One exposure as it was."""

    expid: int
    night: str
    obsjd: float
    exptime: float
    field: int
    fid: int
    programid: int
    ra: float
    dec: float
    airmass: float
    zero_point: float
    seeing: float
    sky_mag: float
    nominal_gain: float = 6.2

    @classmethod
    def of_exposure(cls, night: ObservingNight, e: Any) -> Shot:
        seeing = 1.03 * 1.012 * np.hypot(e.seeing_fwhm_arcsec / 1.012, FWHM_OF_SIGMA * np.sqrt(1 / 12 + 0.09))
        return cls(
            e.expid, str(night), mjd(e.start) + JD_OF_MJD_ZERO, e.exptime_s, e.field, e.fid, e.programid,
            e.boresight_ra, e.boresight_dec, e.airmass, e.zero_point, float(seeing), e.sky_mag_per_arcsec2,
            e.nominal_gain,
        )  # fmt: skip

    @classmethod
    def of_row(cls, row: dict, clouds: float = 0.0, seeing: float = 2.0) -> Shot:
        """Of a row of raw_exposures."""
        fid = row["fid"]
        return cls(
            row["expid"], row["night"], row["obsjd"], row["exptime"], row["field"], fid, row["programid"],
            row["ra"], row["dec"], row["airmass"],
            CLEAR[fid] - 0.1 * (row["airmass"] - 1) - clouds, seeing, SKY_MAG[fid],
        )  # fmt: skip


def simulated_truth(
    settings: Settings, night: ObservingNight, *, fields=(4,), seed=3, visits=3, camera="mini", exposures=130
):
    """Write the truth of some exposures as the simulator would, without drawing a pixel.

    Returns the shots, and per exposure the detections with columns colour, is_star and is_galaxy.
    """
    stage = set_stage(Recipe(settings.include, camera, seed, night, exposures))
    chosen, counts = [], {}
    for e in stage.night.exposures:
        key = (e.field, e.fid)
        if e.imgtypecode == "o" and e.field in fields and counts.get(key, 0) < visits:
            counts[key] = counts.get(key, 0) + 1
            chosen.append(e)
    optics, parts = stage.instrument.optics, {}
    for e in chosen:
        found = []
        for ccdid in stage.instrument.camera.ccdids:
            rows = detection_table(stage.instrument.camera, optics, stage.night.scene(e, ccdid))
            mine = [q.rcid for q in stage.instrument.camera.quadrants_of(ccdid)]
            found.append(rows.filter(pa.array(np.isin(rows["rcid"].to_numpy(), mine))))
        parts[e.expid] = pa.concat_tables(found)
    objects = night_objects(stage.night)
    tables = {
        "objects": objects,
        "exposures": exposure_table(chosen, [True] * len(chosen)),
        "detections": pa.concat_tables(parts.values()),
        "artefacts": pa.Table.from_pylist([], schema=ARTEFACT_SCHEMA),
        "recipe": recipe_table(camera, seed, ()),
    }
    write_truth(settings.truth_folder, night, tables)
    shots = [Shot.of_exposure(night, e) for e in chosen]
    return shots, {s.expid: true_columns(parts[s.expid], objects, s.fid) for s in shots}


def invented_truth(settings: Settings, night: ObservingNight, *, visits=3, count=900, field=4, camera="mini"):
    """Write the truth of an invented sky; the same returns as `simulated_truth`, in a tenth of its time."""
    model = load_camera(camera, settings.include)
    start = mjd(dt.datetime.combine(night.date, dt.time(4), tzinfo=dt.UTC))
    shots = [
        Shot(
            int(start % 1000 * 10**5) + 40 * n, str(night), start + JD_OF_MJD_ZERO + n / 1500, 30.0, field,
            1 + n % 3, 1, 320.0, 12.0, 1.1 + 0.01 * n, CLEAR[1 + n % 3] - 0.02 * n, 2.0, SKY_MAG[1 + n % 3],
        )
        for n in range(3 * visits)
    ]  # fmt: skip
    truths = {}
    for shot in shots:
        parts = [star_field(model, shot, quadrant, count) for quadrant in model.quadrants]
        truths[shot.expid] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    detections = [_rows(DETECTION_SCHEMA, t | {"expid": np.full(len(t["x"]), e)}) for e, t in truths.items()]
    exposures = [_exposure(shot) for shot in shots]
    tables = {
        "objects": _rows(OBJECT_SCHEMA, truths[shots[0].expid]),
        "exposures": pa.Table.from_pylist(exposures, schema=EXPOSURE_SCHEMA),
        "detections": pa.concat_tables(detections),
        "artefacts": pa.Table.from_pylist([], schema=ARTEFACT_SCHEMA),
        "recipe": recipe_table(camera, 3, ()),
    }
    write_truth(settings.truth_folder, night, tables)
    return shots, truths


def _rows(schema: pa.Schema, columns) -> pa.Table:
    """Return rows of a truth table: what is given, zeros or nulls elsewhere."""
    count = len(columns["x"])
    given = columns | {"kind": np.where(columns["is_star"], "star", "galaxy")}
    arrays = [
        pa.array(given[f.name]).cast(f.type)
        if f.name in given
        else pa.nulls(count, f.type)
        if f.nullable
        else pa.array(np.zeros(count)).cast(f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _exposure(shot: Shot) -> dict:
    # The simulator's seeing is before the pixel: taken off in quadrature.
    seeing = np.sqrt((shot.seeing / 1.03 / 1.012) ** 2 - FWHM_OF_SIGMA**2 * (1 / 12 + 0.09)) * 1.012
    known = {
        "expid": shot.expid, "nid": shot.expid // 100_000, "fid": shot.fid, "field": shot.field,
        "zero_point": shot.zero_point, "seeing_fwhm_arcsec": float(seeing),
        "sky_mag_per_arcsec2": shot.sky_mag, "nominal_gain": shot.nominal_gain, "imgtypecode": "o",
        "is_sky": True, "is_science": True, "programid": 1, "led": None,
    }  # fmt: skip
    return {f.name: known.get(f.name, 0) for f in EXPOSURE_SCHEMA}


def true_columns(detections: pa.Table, objects: pa.Table, fid: int) -> dict[str, np.ndarray]:
    columns = {name: detections[name].to_numpy(zero_copy_only=False) for name in detections.column_names}
    of = {name: objects[name].to_numpy(zero_copy_only=False) for name in ("object_id", "g", "r", "i")}
    order = np.argsort(of["object_id"])
    row = order[np.searchsorted(of["object_id"], columns["object_id"], sorter=order).clip(max=len(order) - 1)]
    blue, red = COLOURS[NAMES[fid]]
    known = of["object_id"][row] == columns["object_id"]
    colour = np.where(known, of[blue][row] - of[red][row], np.nan)
    kind = columns["kind"]
    return columns | {"colour": colour, "is_star": kind == "star", "is_galaxy": kind == "galaxy"}


def star_field(camera: Camera, shot: Shot, quadrant: Quadrant, count: int) -> dict[str, np.ndarray]:
    """An invented sky, the same in every exposure of a field: a turn-off, red dwarfs and galaxies."""
    rng = np.random.default_rng([shot.field, quadrant.rcid])
    scale, (sx, sy) = camera.mosaic.pixel_scale_arcsec / 3600, camera.axis_signs
    x, y = rng.uniform(1, camera.quadrant.nx, count), rng.uniform(1, camera.quadrant.ny, count)
    r = 22.3 - rng.exponential(2.0, count) % 9.0
    is_galaxy = rng.random(count) < np.interp(r, [17, 21], [0.02, 0.4])
    blue = rng.random(count) < np.interp(r, [14, 21], [0.8, 0.25])
    colour = np.where(blue, rng.normal(0.45, 0.1, count), rng.normal(1.42, 0.08, count))
    colour[is_galaxy] = rng.normal(0.8, 0.25, int(is_galaxy.sum()))
    bands = {1: r + colour, 2: r, 3: r - 0.4 * colour}
    mag = bands[shot.fid]
    tint = 0.4 * colour if shot.fid == 3 else colour
    north = shot.dec + (quadrant.centre_north_arcsec / 3600) + sy * scale * (y - camera.quadrant.ny / 2)
    east = quadrant.centre_east_arcsec / 3600 + sx * scale * (x - camera.quadrant.nx / 2)
    return {
        "object_id": np.arange(count) + 10**6 * quadrant.rcid, "rcid": np.full(count, quadrant.rcid),
        "x": x, "y": y, "ra": (shot.ra + east / np.cos(np.radians(north))) % 360, "dec": north, "mag": mag,
        "colour": tint, "is_star": ~is_galaxy, "is_galaxy": is_galaxy,
        "flux_dn": true_flux(shot, quadrant, mag, tint), "g": bands[1], "r": bands[2], "i": bands[3],
    }  # fmt: skip


def zero_point_of(shot: Shot, quadrant: Quadrant) -> float:
    return shot.zero_point + 2.5 * np.log10(shot.nominal_gain / quadrant.detector.gain)


def true_flux(shot: Shot, quadrant: Quadrant, mag, colour):
    natural = mag - COEFFICIENTS[shot.fid] * np.nan_to_num(colour)
    return 10 ** (-0.4 * (natural - zero_point_of(shot, quadrant)))


def noise_of(shot: Shot, quadrant: Quadrant, scale: float) -> tuple[float, float]:
    """Sky level and noise of a pixel, DN."""
    gain = quadrant.detector.gain
    sky = shot.nominal_gain * 10 ** (-0.4 * (shot.sky_mag - shot.zero_point)) * scale**2
    return sky / gain, np.sqrt(sky + quadrant.detector.read_noise**2) / gain


def image_rows(
    camera: Camera, shot: Shot, quadrant: Quadrant, rng, errors=Errors(), *, failed="", infobits=0
):
    """Return the rows of science_images and image_quality of one channel, failed ones with their nulls."""
    scale = camera.mosaic.pixel_scale_arcsec
    sky, noise = noise_of(shot, quadrant, scale)
    u, v = (
        c / h
        for c, h in zip(
            (quadrant.centre_east_arcsec, quadrant.centre_north_arcsec), camera.half_size_arcsec, strict=True
        )
    )
    seeing = shot.seeing * (1 + 0.05 * u - 0.03 * v + 0.05 * (u * u + v * v)) * errors.seeing
    fwhm = seeing / scale
    n_eff = 4 * np.pi * (fwhm / FWHM_OF_SIGMA) ** 2
    # Vignetting shows in zero points of quadrants far out.
    magzp = zero_point_of(shot, quadrant) + rng.normal(0, errors.zero_point)
    maglimit = magzp - 2.5 * np.log10(5 * noise * np.sqrt(n_eff)) + errors.limit
    ra = (shot.ra + quadrant.centre_east_arcsec / 3600 / np.cos(np.radians(shot.dec))) % 360
    dec = shot.dec + quadrant.centre_north_arcsec / 3600
    half = scale / 3600 * camera.quadrant.nx / 2
    cells = rng.normal(0, 0.006, (4, 4, 2)) + 0.012 * np.array([u, v])
    cells[0, 3] = np.nan
    zp_cells = 0.012 * (u * u + v * v) + rng.normal(0, 0.003, (4, 4)) + 0.004 * np.linspace(-1, 1, 4)
    common = {
        "expid": shot.expid, "rcid": quadrant.rcid, "night": shot.night, "obsjd": shot.obsjd, "fid": shot.fid,
        "ra": ra, "dec": dec, "status": 0 if failed else 1, "infobits": infobits,
        "processing_version": VERSION,
    }  # fmt: skip
    name = f"sci/{shot.night[:4]}/{shot.night[4:]}/{shot.expid}/ztf_{shot.expid}_c{quadrant.ccdid:02d}_o"
    image = common | {
        "pid": (shot.expid * 100 + quadrant.rcid) * 100 + 15, "ccdid": quadrant.ccdid, "qid": quadrant.qid,
        "nid": shot.expid // 100_000, "exptime": shot.exptime, "field": shot.field,
        "filtercode": f"z{NAMES[shot.fid]}", "programid": shot.programid, "ipac_gid": shot.programid,
        "ipac_pub_date": None, "stage": "astrometry" if failed else "done", "reason": failed,
        "airmass": shot.airmass, "moonillf": 0.3, "seeing": seeing, "magzp": magzp, "magzpunc": 1e-4,
        "magzprms": 0.02, "clrcoeff": COEFFICIENTS[shot.fid] + rng.normal(0, 0.001), "clrcounc": 1e-3,
        "nmatches": 300, "maglimit": maglimit, "saturate": quadrant.detector.saturation,
        "crpix1": (camera.quadrant.nx + 1) / 2, "crpix2": (camera.quadrant.ny + 1) / 2, "crval1": ra,
        "crval2": dec, "cd11": -scale / 3600, "cd12": 0.0, "cd21": 0.0, "cd22": -scale / 3600,
        **{f"ra{k}": (ra + half * (1 if k in (1, 4) else -1)) % 360 for k in range(1, 5)},
        **{f"dec{k}": dec + half * (1 if k < 3 else -1) for k in range(1, 5)},
        "path": f"{name}_q{quadrant.qid}_sciimg.fits.fz",
        "products": [f"{'0' * 64} sciimg.fits.fz", f"{'1' * 64} mskimg.fits.fz"], "raw_sha256": "a" * 64,
        "masters": ["bias 20251012 0", "hifreqflat 20251012 1"],
    }  # fmt: skip
    quality = common | {
        "sky": sky * rng.normal(1, 0.01), "sky_gradient": 0.03 * sky, "noise": noise, "noise_ratio": 1.0,
        "fwhm": fwhm, "fwhm_range": 0.1, "elongation": 1.08, "elongation_angle": 30.0, "n_psf_stars": 80,
        "psf_chi": 1.0, "n_sources": int(rng.normal(9000, 300) * 10 ** (0.3 * (maglimit - 21))),
        "n_aperture_sources": 4000, "astrometry_rung": "prior", "n_astrometry": 250, "rms_east": 0.05,
        "rms_north": 0.05, "rms_bright": 0.012 + abs(rng.normal(0, 0.002)), "pointing_offset": 12.0,
        "rotation_offset": 0.01, "astrometry_cells": cells.ravel().tolist(),
        "zp30": magzp - 2.5 * np.log10(shot.exptime / 30) - 0.05 * (u * u + v * v),
        "zp_cells": zp_cells.ravel().tolist(), "zp_spatial_rms": 0.004, "phot_pull": 1.0,
        "apcor": [-0.5, -0.2, -0.1, -0.05, -0.02, -0.01], "masked_fraction": 0.01, "n_spikes": 60,
        "n_saturated": 120, "n_tracks": int(rng.random() < 0.05), "n_ghosts": 0, "n_halos": 1,
        "core_seconds": 1.6 + 1.0e-4 * 9000 * rng.normal(1, 0.08),
    }  # fmt: skip
    if failed:
        kept = {"sky", "noise", "core_seconds", "sky_gradient"}
        _forget(image, "science_images", set())
        _forget(quality, "image_quality", kept)
        image["products"] = []
    return image, quality


def _forget(row: dict, table: str, kept: set[str]) -> None:
    for column in load_table(table).columns:
        if column.nullable and column.name not in kept and column.name not in ("airmass", "moonillf"):
            row[column.name] = None


def source_table(truth, shot: Shot, quadrant: Quadrant, image: dict, rng, errors=Errors()) -> pa.Table:
    """Return the sources of one image: what is brighter than five sigma, blends and bogus ones included."""
    here = truth["rcid"] == quadrant.rcid
    t = {name: values[here] for name, values in truth.items()}
    scale = 1.012
    _, noise = noise_of(shot, quadrant, scale)
    fwhm = image["seeing"] / errors.seeing / scale
    n_eff = 4 * np.pi * (fwhm / FWHM_OF_SIGMA) ** 2
    flux = true_flux(shot, quadrant, t["mag"], t["colour"]) * np.where(t["is_galaxy"], 0.75, 1.0)
    sigma = np.sqrt(n_eff * noise**2 + np.maximum(flux, 0) / quadrant.detector.gain)
    flux = flux * 10 ** (-0.4 * errors.bright_bias * (flux / sigma > 60)) + sigma * rng.normal(size=len(flux))
    keep = (flux / sigma > 5) & (rng.random(len(flux)) >= errors.lost) & ~_drowned(t, fwhm)
    t = {name: values[keep] for name, values in t.items()}
    n, m = int(keep.sum()), errors.bogus
    flux, sigma = flux[keep], sigma[keep]
    place = np.hypot(
        fwhm / FWHM_OF_SIGMA * scale * sigma / np.maximum(flux, sigma), errors.position_mas / 1000
    )
    ra = (t["ra"] + place * rng.normal(size=n) / 3600 / np.cos(np.radians(t["dec"]))) % 360
    dec = t["dec"] + place * rng.normal(size=n) / 3600
    x, y = t["x"] + rng.normal(size=n) * place / scale, t["y"] + rng.normal(size=n) * place / scale
    class_star = np.clip(np.where(t["is_galaxy"], 0.15, 0.9) + rng.normal(0, errors.class_scatter, n), 0, 1)
    saturated = 0.66 * flux / fwhm**2 > quadrant.detector.saturation
    nx, ny = 768.0, 770.0
    false_flux = np.full(m, 12 * noise * np.sqrt(n_eff)) * rng.uniform(0.5, 1.5, m)
    flux = np.concatenate([flux, false_flux])
    sigma = np.concatenate([sigma, np.full(m, noise * np.sqrt(n_eff))]) / errors.sigma_factor
    columns: dict[str, Any] = {
        "xpos": np.concatenate([x, rng.uniform(1, nx, m)]),
        "ypos": np.concatenate([y, rng.uniform(1, ny, m)]),
        "ra": np.concatenate([ra, np.full(m, image["ra"])]),
        "dec": np.concatenate([dec, np.full(m, image["dec"])]),
        "sigpos": np.concatenate([place, np.full(m, 0.1)]), "flux": flux, "sigflux": sigma,
        "flags": np.concatenate([np.where(saturated, 256, 0), np.zeros(m)]),
        "class_star": np.concatenate([class_star, np.full(m, 0.3)]),
    }  # fmt: skip
    return _whole_rows(columns, shot, quadrant, image, n + m)


def _drowned(t, fwhm) -> np.ndarray:
    """Sources with a brighter one within 0.8 FWHM."""
    from scipy.spatial import cKDTree

    lost = np.zeros(len(t["x"]), bool)
    for a, b in cKDTree(np.column_stack([t["x"], t["y"]])).query_pairs(0.8 * fwhm):
        lost[a if t["mag"][a] > t["mag"][b] else b] = True
    return lost


def _whole_rows(columns, shot: Shot, quadrant: Quadrant, image: dict, n: int) -> pa.Table:
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = -2.5 * np.log10(columns["flux"]) + image["magzp"]
    sigmag = 1.0857 * columns["sigflux"] / np.abs(columns["flux"])
    columns |= {
        "mag": mag, "sigmag": sigmag, "snr": columns["flux"] / columns["sigflux"], "chi": np.ones(n),
        "sharp": np.zeros(n), "zpcorr": np.zeros(n), "clrcoeff": np.full(n, image["clrcoeff"]),
        "pid": np.full(n, image["pid"]), "sourceid": np.arange(n), "expid": np.full(n, shot.expid),
        "rcid": np.full(n, quadrant.rcid), "field": np.full(n, shot.field), "fid": np.full(n, shot.fid),
        "obsmjd": np.full(n, shot.obsjd - JD_OF_MJD_ZERO), "programid": np.full(n, shot.programid),
        "infobits": np.full(n, image["infobits"]), "mag_auto": mag - 0.02, "sigmag_auto": sigmag,
        "fwhm": np.full(n, image["seeing"]), "elongation": np.full(n, 1.1), "theta": np.full(n, 10.0),
        "flux_radius": np.full(n, 1.5), "sexflags": np.zeros(n), "night": [shot.night] * n,
        "mag_aper": [None] * n, "sigmag_aper": [None] * n,
    }  # fmt: skip
    schema = arrow_schema(load_table("sources"))
    fields = [f for f in schema if f.name in columns]
    arrays = [
        pa.array(columns[f.name], f.type)
        if isinstance(columns[f.name], list)
        else pa.array(columns[f.name], from_pandas=True).cast(f.type, safe=False)
        for f in fields
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def observed(settings: Settings, shots, truths, errors=Errors(), *, seed=1, camera="mini", skip=()):
    """Return rows of the three tables for shots with their true sources; `skip`: (expid, rcid) failed."""
    model = load_camera(camera, settings.include)
    images, qualities, sources = [], [], []
    for shot in shots:
        for quadrant in model.quadrants:
            rng = np.random.default_rng([seed, shot.expid, quadrant.rcid])
            failed = "12 matches: <20> are too few" if (shot.expid, quadrant.rcid) in skip else ""
            image, quality = image_rows(model, shot, quadrant, rng, errors, failed=failed)
            if not failed:
                rows = source_table(truths[shot.expid], shot, quadrant, image, rng, errors)
                sources.append(rows)
                quality["n_sources"] = len(rows)
            images.append(image)
            qualities.append(quality)
    return {"science_images": images, "image_quality": qualities, "sources": pa.concat_tables(sources)}


def write_products(lakehouse, camera: Camera, image: dict, truth, rng, artefacts=()) -> np.ndarray:
    """Write a calibrated image with its stars, and a mask with (bit, rows, columns), ...; return it."""
    ny, nx = camera.quadrant.ny, camera.quadrant.nx
    pixels = rng.normal(300, 5, (ny, nx)).astype(np.float32)
    here = np.flatnonzero((truth["rcid"] == image["rcid"]) & (truth["flux_dn"] > 800))
    y, x = np.mgrid[-9:10, -9:10]
    for n in here:
        cx, cy = int(truth["x"][n]) - 1, int(truth["y"][n]) - 1
        if 9 <= cx < nx - 9 and 9 <= cy < ny - 9:
            stamp = np.exp(-(x * x + y * y) / 1.6) / (1.6 * np.pi)
            pixels[cy - 9 : cy + 10, cx - 9 : cx + 10] += (truth["flux_dn"][n] * stamp).astype(np.float32)
    mask = np.where(pixels > 50000, MaskBit.SATURATED.flag, 0).astype(np.uint16)
    for bit, rows, columns in artefacts:
        mask[rows, columns] |= np.uint16(bit.flag)
    stem = image["path"].removesuffix("sciimg.fits.fz")
    for name, data in (("sciimg", pixels), ("mskimg", mask)):
        content = encode_image(data, [], name=name.upper())
        lakehouse.storage.put_bytes_atomically(content, f"{stem}{name}.fits.fz")
    image["products"] = [
        f"{hashlib.sha256(n.encode()).hexdigest()} {n}.fits.fz" for n in ("sciimg", "mskimg")
    ]
    return mask


def with_clouds(shots, depth: float, first: int, last: int):
    """Return shots with clouds over some of them."""
    return [
        dataclasses.replace(shot, zero_point=shot.zero_point - depth) if first <= n < last else shot
        for n, shot in enumerate(shots)
    ]
