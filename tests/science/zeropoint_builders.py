"""Calibrators, sources and catalogues of a field whose zero point is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zsds_tasks.science.photometry.calibrators import Calibrators, CatalogStars, MeasuredSources

SHAPE = (3080, 3072)
SCALE = 1.012 / 3600


@dataclass(frozen=True)
class PlantedField:
    """What a field is like; magnitudes, pixels, DN."""

    n: int = 300
    zero_point: float = 26.2
    coefficient: float = 0.11
    scatter: float = 0.01
    outliers: float = 0.0
    outlier_range: tuple[float, float] = (-1.0, 1.0)
    gradient: tuple[float, float] = (0.0, 0.0)  # mag from edge to edge along x and y
    bowl: float = 0.0  # mag from the middle to a corner
    sky_flux_error: float = 40.0
    gain: float = 6.2
    colour_mean: float = 0.65
    colour_spread: float = 0.35
    faint: float = 19.5
    shape: tuple[int, int] = SHAPE

    def term(self, x, y):
        u = (x - (self.shape[1] + 1) / 2) / (self.shape[1] / 2)
        v = (y - (self.shape[0] + 1) / 2) / (self.shape[0] / 2)
        bowl = self.bowl * ((u * u + v * v) / 2 - 1 / 3)
        return self.gradient[0] * u / 2 + self.gradient[1] * v / 2 + bowl


def draw(random, field):
    """Return x, y, magnitude, colour, flux, flux error, catalogue error, and which are outliers."""
    ny, nx = field.shape
    x, y = random.uniform(0.5, nx + 0.5, field.n), random.uniform(0.5, ny + 0.5, field.n)
    # Numbers grow by 10^0.3 per magnitude, as of stars at such brightness.
    share = random.uniform(0, 1, field.n)
    mag = 14.0 + np.log10(1 + share * (10 ** (0.3 * (field.faint - 14.0)) - 1)) / 0.3
    colour = np.clip(random.normal(field.colour_mean, field.colour_spread, field.n), -0.2, 1.5)
    offset = random.normal(0.0, field.scatter, field.n) if field.scatter else np.zeros(field.n)
    bad = random.uniform(size=field.n) < field.outliers
    offset[bad] += random.uniform(*field.outlier_range, np.count_nonzero(bad))
    natural = mag - field.coefficient * colour - field.term(x, y) - field.zero_point + offset
    true = 10 ** (-0.4 * natural)
    error = np.sqrt(field.sky_flux_error**2 + true / field.gain)
    flux = true + error * random.normal(size=field.n)
    error = np.sqrt(field.sky_flux_error**2 + np.maximum(flux, 0) / field.gain)
    mag_error = np.hypot(0.004, 0.08 * 10 ** (0.4 * (mag - 21.8)))
    measured = mag + mag_error * random.normal(size=field.n)
    return x, y, measured, colour, flux, error, mag_error, bad


def make_calibrators(seed, field=None, **changes):
    """Pairs as `choose_calibrators` would return them, with noise of flux and catalogue."""
    field = field or PlantedField(**changes)
    x, y, mag, colour, flux, error, mag_error, _ = draw(np.random.default_rng(seed), field)
    keep = flux > 0
    rows = np.flatnonzero(keep)
    return Calibrators(
        source=rows, star=rows, x=x[keep], y=y[keep], flux=flux[keep], flux_error=error[keep],
        mag=mag[keep], colour=colour[keep], mag_error=mag_error[keep], n_sources=field.n, n_matched=field.n,
    )  # fmt: skip


def make_tables(seed, n_sources=2000, n_rows=4000, n_stars=400, centre=(150.0, 20.0), **changes):
    """Sources of an image and rows of a catalogue around it; the first `n_stars` of both are the same stars.

    The other sources and rows are unrelated; a fifth of the rows are galaxies.
    """
    random = np.random.default_rng(seed)
    field = PlantedField(n=n_stars, **changes)
    x, y, mag, colour, flux, error, mag_error, _ = draw(random, field)
    ny, nx = field.shape
    cos = np.cos(np.radians(centre[1]))

    def sky(px, py):
        return (centre[0] - (px - nx / 2) * SCALE / cos) % 360.0, centre[1] - (py - ny / 2) * SCALE

    more = n_sources - n_stars
    xs = np.concatenate([x, random.uniform(0.5, nx + 0.5, more)])
    ys = np.concatenate([y, random.uniform(0.5, ny + 0.5, more)])
    jitter = random.normal(0, 0.08 / 3600, (2, n_sources))
    ra, dec = sky(xs, ys)
    sources = MeasuredSources(
        x=xs, y=ys, ra=ra + jitter[0] / cos, dec=dec + jitter[1],
        flux=np.concatenate([flux, random.uniform(200, 2000, more)]),
        flux_error=np.concatenate([error, np.full(more, field.sky_flux_error)]),
        flags=np.zeros(n_sources, np.int64), chi=random.normal(1.0, 0.1, n_sources),
    )  # fmt: skip
    other = n_rows - n_stars
    ra, dec = sky(
        np.concatenate([x, random.uniform(-100, nx + 100, other)]),
        np.concatenate([y, random.uniform(-100, ny + 100, other)]),
    )
    r = np.concatenate([mag, random.uniform(20.0, 22.0, other)])
    g_r = np.concatenate([colour, random.uniform(0, 1.4, other)])
    error = np.concatenate([mag_error, np.full(other, 0.05)])
    score = np.ones(n_rows)
    score[n_stars:][random.uniform(size=other) < 0.2] = 0.0
    stars = CatalogStars(
        ra=ra, dec=dec, mag={"g": r + g_r, "r": r, "i": r - 0.4 * g_r},
        mag_error={"g": error, "r": error, "i": error}, star_score=score,
    )  # fmt: skip
    return sources, stars, field
