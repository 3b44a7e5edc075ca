"""A small sky whose stars are known, as rows of the tables that light curves end in: no image is made.

Two overlapping fields in two filters about a corner where four HEALPix pixels meet, stars that are constant
but for some sine waves, epochs in portions called nights.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.products.tables import load_table, row_schema
from zsds_tasks.sky import healpix
from zsds_tasks.sky.healpix import Pixel
from zsds_tasks.sky.tangent import deproject
from zsds_tasks.survey.identifiers import ObjectId

NIGHTS = ("20251012", "20251013", "20251014")
CORNER = healpix.outline(Pixel(6, 12345), 1)
CENTRE = (float(CORNER[0][0]), float(CORNER[1][0]))
RCID, CCDID, QID = 5, 2, 2
FIRST_MJD = 60_960.0
FLAGGED, FLAGGED_MAG = 2, 9.0
"""The third epoch of every light curve is flagged, and far off: whoever uses it is found out."""
MAGERR = 0.02
AMPLITUDE = {
    1: 0.45,
    2: 0.33,
}  # of variables, as stars that pulsate: were all filters alike, binaries would be meant


@dataclass(frozen=True)
class Field:
    """Where a field looks from the corner, degrees, and how its zero point is off by filter, mag."""

    number: int
    east: float
    half: float = 0.1
    nights: tuple[str, ...] = NIGHTS
    zero: dict[int, float] = field(default_factory=dict)
    north: float = 0.0


@dataclass(frozen=True)
class PlantedSky:
    """What the sky holds."""

    fields: tuple[Field, ...] = (Field(5, -0.06), Field(6, 0.06))
    fids: tuple[int, ...] = (1, 2)
    stars: int = 160
    variables: int = 3
    epochs: int = 16  # of a night, in each filter
    seed: int = 71
    proper_motion: float = 0.0  # mas/yr, known
    epoch_mjd: float = 60_900.0
    founded: float = 0.1  # share of stars that no reference has
    unseen: float = 0.1  # share of stars that only the reference has


class Truth:
    """Stars, and the rows they give."""

    def __init__(self, plan: PlantedSky | None = None) -> None:
        self.plan = plan = plan or PlantedSky()
        random = np.random.default_rng(plan.seed)
        n = plan.stars
        east, north = (max(abs(getattr(f, name)) + f.half for f in plan.fields) for name in ("east", "north"))
        self.east, self.north = random.uniform(-east, east, n), random.uniform(-north, north, n)
        self.ra, self.dec = deproject(3600 * self.east, 3600 * self.north, CENTRE)
        self.mag = random.uniform(15.0, 17.5, n)
        self.period = np.where(np.arange(n) < plan.variables, random.uniform(0.3, 0.8, n), np.nan)
        self.phase = random.uniform(0, 2 * np.pi, n)
        angle = random.uniform(0, 2 * np.pi, n)
        self.pmra, self.pmdec = plan.proper_motion * np.cos(angle), plan.proper_motion * np.sin(angle)
        rest = random.permutation(np.arange(plan.variables, n))
        self.founded = np.isin(np.arange(n), rest[: round(plan.founded * n)])
        self.unseen = np.isin(np.arange(n), rest[n - round(plan.unseen * n) - plan.variables :])
        self.units = {(f.number, fid): self._unit(f, fid) for f in plan.fields for fid in plan.fids}

    def _unit(self, place: Field, fid: int) -> dict[str, NDArray]:
        """Return the seeds of a unit and their epochs: arrays (s) and (s, e)."""
        plan, random = self.plan, np.random.default_rng([self.plan.seed, place.number, fid])
        inside = (np.abs(self.east - place.east) < place.half) & (
            np.abs(self.north - place.north) < place.half
        )
        star = np.flatnonzero(inside)
        sequence = np.arange(len(star)) + np.where(self.founded[star], 50_000_000, 0)
        first = int(ObjectId(place.number, fid, CCDID, QID, 0))
        mjd0 = plan.epoch_mjd + 100.0 * fid
        noise = random.normal(0, 0.05 / 3600, (2, len(star)))
        lapse = (mjd0 - plan.epoch_mjd) / 365.25 / 3.6e6
        ra = self.ra[star] + (self.pmra[star] * lapse + noise[0]) / np.cos(np.radians(self.dec[star]))
        night = np.repeat(np.arange(len(NIGHTS)), plan.epochs)
        hmjd = FIRST_MJD + 9.0 * night + random.uniform(0, 8.5, len(night))
        keep = np.isin(np.array(NIGHTS)[night], place.nights)
        night, hmjd = night[keep], hmjd[keep]
        wave = AMPLITUDE[fid] * np.sin(
            2 * np.pi * hmjd / self.period[star][:, None] + self.phase[star][:, None]
        )
        mag = self.mag[star][:, None] + 0.5 * (fid == 1) + place.zero.get(fid, 0.0) + np.nan_to_num(wave)
        mag = mag + random.normal(0, MAGERR, mag.shape)
        return {
            "star": star, "objectid": first + sequence, "ra": ra % 360.0,
            "dec": self.dec[star] + self.pmdec[star] * lapse + noise[1], "mjd0": np.full(len(star), mjd0),
            "night": night, "hmjd": hmjd, "mag": mag,
        }  # fmt: skip

    def star_of(self) -> dict[int, int]:
        """Return the true star of every seed."""
        pairs = (zip(u["objectid"].tolist(), u["star"].tolist(), strict=True) for u in self.units.values())
        return dict(pair for unit in pairs for pair in unit)

    def deliver(self, lakehouse, nights: tuple[str, ...]) -> None:
        """Write what the tables of light curves hold when exactly some nights have been observed."""
        for (number, fid), unit in self.units.items():
            key = {"field": number, "fid": fid, "rcid": RCID}
            use = np.isin(np.array(NIGHTS)[unit["night"]], nights)
            if not use.any():
                continue
            rows = self._rows(key, unit, np.flatnonzero(use))
            curve_key = {"fieldid": number, "filterid": fid, "rcid": RCID}
            lakehouse.table("seeds").replace(rows["seeds"], key)
            lakehouse.table("lightcurves").replace(rows["lightcurves"], curve_key)
            known = sorted({NIGHTS[k] for k in unit["night"][use].tolist()})
            state = hashlib.sha256(repr((key, known, self.plan)).encode()).hexdigest()[:12]
            row = key | {
                "rfid": 1, "rfversion": 1, "images": int(use.sum()), "stars": rows["seeds"].num_rows,
                "founded": 0, "epochs": int(pa.compute.sum(rows["lightcurves"]["nepochs"]).as_py()),
                "night": known[-1], "state": state,
            }  # fmt: skip
            lakehouse.table("matched_units").merge([row])

    def _rows(self, key: dict[str, int], unit: dict[str, NDArray], epochs: NDArray) -> dict[str, pa.Table]:
        star = unit["star"]
        shown = np.flatnonzero(~self.unseen[star])
        seeds = {
            **{name: np.full(len(star), value) for name, value in key.items()},
            **{name: unit[name] for name in ("objectid", "ra", "dec", "mjd0")},
            "pmra": self.pmra[star], "pmdec": self.pmdec[star], "sigpos": np.full(len(star), 0.05),
            "origin": self.founded[star].astype(int), "refmag": self.mag[star],
            "rfid": np.ones(len(star), int), "rfversion": np.ones(len(star), int),
        }  # fmt: skip
        order = epochs[np.argsort(unit["hmjd"][epochs], kind="stable")]
        schema = row_schema(load_table("lightcurves"))
        count = len(shown)
        flags = np.where(np.arange(len(order)) == FLAGGED, 32768, 0)
        mag = np.where(flags == 0, unit["mag"][:, order], FLAGGED_MAG)
        cells = [
            {"hmjd": unit["hmjd"][order], "mag": mag[k], "magerr": np.full(len(order), MAGERR),
             "clrcoeff": np.zeros(len(order)), "catflags": flags}
            for k in shown
        ]  # fmt: skip
        curves = {
            "objectid": unit["objectid"][shown], "filterid": np.full(count, key["fid"]),
            "fieldid": np.full(count, key["field"]), "rcid": np.full(count, key["rcid"]),
            "objra": unit["ra"][shown], "objdec": unit["dec"][shown],
            "nepochs": np.full(count, len(order)), "lightcurve": cells,
        }  # fmt: skip
        seeds_schema = row_schema(load_table("seeds"))
        return {
            "seeds": pa.table([pa.array(seeds[f.name], f.type) for f in seeds_schema], schema=seeds_schema),
            "lightcurves": pa.table([pa.array(curves[f.name], f.type) for f in schema], schema=schema),
        }
