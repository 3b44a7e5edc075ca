"""A small lake of light curves with known periods: RR Lyrae, eclipsing and constant stars in two fields.

Rows are written by the declared schemas, no image is made. The fields overlap, so a star has up to four light
curves: two filters, two fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from zsds_tasks.lakehouse import open_lakehouse
from zsds_tasks.lakehouse.catalogs import write_catalog
from zsds_tasks.products.tables import load_table
from zsds_tasks.settings import Settings
from zsds_tasks.survey.identifiers import ObjectId

CENTRES = {1: (2.0, 1.2), 1001: (2.11, 1.31)}
HALF = 0.25
FILTERS = (1, 2)
EPOCHS = {1: 45, 2: 90}
"""Epochs of a light curve in each release."""
RCID, CCDID, QID = 20, 6, 1
SIGMA = 0.02
WHEN = datetime(2025, 10, 14, tzinfo=UTC)


@dataclass(frozen=True)
class Star:
    """One star: its shape is `rrlyrae`, `eclipsing` or `constant`."""

    number: int
    kind: str
    ra: float
    dec: float
    mag: float
    period: float
    amplitude: float

    def magnitude(self, hmjd: np.ndarray, fid: int) -> np.ndarray:
        """Return its magnitude without noise."""
        phase = (hmjd / self.period) % 1.0
        change = np.zeros(len(hmjd))
        if self.kind == "rrlyrae":  # a steep rise, a slow fall
            change = self.amplitude * (np.where(phase < 0.12, 1 - phase / 0.12, (phase - 0.12) / 0.88) - 0.5)
        elif self.kind == "eclipsing":
            for middle, depth in ((0.25, 1.0), (0.75, 0.55)):
                change += self.amplitude * depth * np.exp(-0.5 * ((phase - middle) / 0.03) ** 2)
        return self.mag + 0.4 * (fid == 1) + change * (1.0 if fid == 2 else 1.15)


def make_stars(seed: int = 5, constants: int = 40, rrlyrae: int = 5, eclipsing: int = 3) -> list[Star]:
    """Draw stars over both fields, at least 20 arcsec apart."""
    random = np.random.default_rng(seed)
    kinds = ["rrlyrae"] * rrlyrae + ["eclipsing"] * eclipsing + ["constant"] * constants
    places: list[tuple[float, float]] = []
    while len(places) < len(kinds):
        # Variables where both fields look.
        reach = 0.15 if len(places) < rrlyrae + eclipsing else 0.3
        at = (2.055 + random.uniform(-reach, reach), 1.255 + random.uniform(-reach, reach))
        if all(np.hypot(at[0] - ra, at[1] - dec) > 20 / 3600 for ra, dec in places):
            places.append(at)
    periods = {"rrlyrae": (0.35, 0.75), "eclipsing": (1.1, 3.0), "constant": (1.0, 1.0)}
    return [
        Star(
            k, kind, *places[k], random.uniform(14.5, 17.5), random.uniform(*periods[kind]),
            random.uniform(0.6, 1.0) * (kind != "constant"),
        )
        for k, kind in enumerate(kinds)
    ]  # fmt: skip


def light_curve_rows(stars: list[Star], epochs: int, seed: int = 6) -> list[dict]:
    """Return rows of table ``lightcurves``; a longer one begins with the epochs of a shorter one."""
    rows = []
    for field, (ra0, dec0) in CENTRES.items():
        for fid in FILTERS:
            for star in stars:
                if max(abs(star.ra - ra0), abs(star.dec - dec0)) > HALF:
                    continue
                random = np.random.default_rng([seed, field, fid, star.number])
                most = max(EPOCHS.values())
                hmjd = 60_600.0 + np.cumsum(random.uniform(0.05, 7.0, most))
                mag = star.magnitude(hmjd, fid) + random.normal(0, SIGMA, most)
                flags = np.where(random.random(most) < 0.03, 32768, 0)
                mag += np.where(flags > 0, random.normal(0, 1.0, most), 0.0)
                cells = {
                    "hmjd": hmjd, "mag": mag, "magerr": np.full(most, SIGMA),
                    "clrcoeff": np.full(most, -0.05), "catflags": flags,
                }  # fmt: skip
                shift = random.normal(0, 0.04 / 3600, 2)
                rows.append({
                    "objectid": int(ObjectId(field, fid, CCDID, QID, star.number)), "filterid": fid,
                    "fieldid": field, "rcid": RCID, "nepochs": epochs,
                    "objra": star.ra + shift[0], "objdec": star.dec + shift[1],
                    "lightcurve": {name: values[:epochs].tolist() for name, values in cells.items()},
                })  # fmt: skip
    return rows


def object_rows(stars: list[Star], curves: list[dict]) -> list[dict]:
    """Return rows of table ``objects``: what is not told is null, 0, false or empty."""
    blank = {}
    for column in load_table("objects").columns:
        zero = {"bool": False, "string": ""}.get(column.type, 0)
        blank[column.name] = None if column.nullable else zero
    rows = []
    for star in stars:
        members = [row for row in curves if row["objectid"] % 10**8 == star.number]
        if not members:
            continue
        leader = min(members, key=lambda row: row["objectid"])
        row = blank | {
            "objectid": leader["objectid"], "ra": star.ra, "dec": star.dec, "mjd0": 60_600.0, "pixel": 4,
            "nmembers": len(members), "nobs": sum(m["nepochs"] for m in members),
            "is_candidate": star.kind != "constant",
        }  # fmt: skip
        for name, fid in (("g", 1), ("r", 2)):
            of = [m["lightcurve"] for m in members if m["filterid"] == fid]
            mag = np.concatenate([np.array(c["mag"])[np.array(c["catflags"]) == 0] for c in of])
            row |= {
                f"{name}_nobs": sum(len(c["mag"]) for c in of), f"{name}_ngoodobs": len(mag),
                f"{name}_meanmag": float(mag.mean()), f"{name}_magrms": float(mag.std(ddof=1)),
                f"{name}_amplitude": float(np.subtract(*np.percentile(mag, [95, 5]))),
            }  # fmt: skip
        row["ngoodobs"] = row["g_ngoodobs"] + row["r_ngoodobs"]
        if star.kind != "constant":
            row |= {"period": star.period, "period_amplitude": star.amplitude, "period_shape": 1}
        row["members"] = {
            "objectid": [m["objectid"] for m in members], "filterid": [m["filterid"] for m in members],
            "fieldid": [m["fieldid"] for m in members], "rcid": [RCID for _ in members],
            "separation": [0.0 for _ in members], "nepochs": [m["nepochs"] for m in members],
        }  # fmt: skip
        rows.append(row)
    return rows


def write_gaia(stars: list[Star], settings: Settings) -> str:
    """Write a Gaia-like catalogue of the stars, 0.1 arcsec off, and of twice as many others."""
    random = np.random.default_rng(9)
    n = len(stars)
    ra = np.concatenate([[s.ra for s in stars], 2.055 + random.uniform(-0.3, 0.3, 2 * n)])
    dec = np.concatenate([[s.dec + 0.1 / 3600 for s in stars], 1.255 + random.uniform(-0.3, 0.3, 2 * n)])
    mag = np.concatenate([[s.mag for s in stars], random.uniform(14, 20, 2 * n)])
    table = pa.table({"source_id": np.arange(3 * n), "ra": ra, "dec": dec, "phot_g_mean_mag": mag})
    return write_catalog(
        "gaia",
        table,
        f"{settings.catalogs_uri}/gaia",
        description="invented",
        created=WHEN,
        settings=settings,
    )


def fill(settings: Settings, stars: list[Star], epochs: int) -> None:
    """Bring the tables of a lake to a state of the survey."""
    lakehouse = open_lakehouse(settings)
    curves = light_curve_rows(stars, epochs)
    lakehouse.table("lightcurves").merge(curves)
    lakehouse.table("objects").merge(object_rows(stars, curves))
