"""A sky and an instrument of our own making: stars, and what a distorted, misaligned quadrant sees of them.

The truth is analytic: cubic radial distortion about the boresight, decentring, a plate scale that is off,
differential refraction, and a CCD that sits a little beside and turned from its drawn place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from zsds_tasks.science.astrometry import (
    DetectedSources,
    DistortionModel,
    Pointing,
    QuadrantView,
    ReferenceStars,
    model_of_plane,
    nominal_model,
    pixel_grid,
)
from zsds_tasks.settings import REPOSITORY
from zsds_tasks.sky import tangent
from zsds_tasks.survey.camera import Camera, load_camera

MJD = 60_960.25
EPOCH_YR = 2016.0
YEARS = (MJD - 51_544.5) / 365.25 + 2000.0 - EPOCH_YR
ZERO_POINT = 26.3
SKY_ELECTRONS = 300.0


@lru_cache(maxsize=4)
def camera_of(name: str = "ztf") -> Camera:
    return load_camera(name, REPOSITORY / "include")


@dataclass(frozen=True)
class Instrument:
    """The true mapping from the camera frame to pixels of one readout channel."""

    rcid: int = 0
    camera: Camera = field(default_factory=camera_of)
    scale_error: float = 4e-4
    cubic_arcsec: float = 4.0
    decentring_arcsec: float = 0.5
    refraction: float = 5e-4
    ccd_shift_arcsec: tuple[float, float] = (1.1, -0.8)
    ccd_turn_deg: float = 0.03

    @property
    def nominal(self) -> DistortionModel:
        return nominal_model(self.camera, self.rcid)

    def pixels(self, east, north):
        """FITS pixels of places in the camera frame, arcsec."""
        radius = np.hypot(*self.camera.half_size_arcsec)
        u, v = east / radius, north / radius
        r2 = u * u + v * v
        stretch = self.scale_error * radius + self.cubic_arcsec * r2
        e = east + u * stretch + self.decentring_arcsec * (r2 + 2 * u * u) - self.refraction * east / 3
        n = north + v * stretch + self.decentring_arcsec * 2 * u * v - self.refraction * north
        quadrant = self.camera.quadrants[self.rcid]
        ce, cn = quadrant.centre_east_arcsec, quadrant.centre_north_arcsec
        de, dn = tangent.turn(e - ce, n - cn, self.ccd_turn_deg)
        shift_e, shift_n = self.ccd_shift_arcsec
        return self.camera.pixel(self.rcid, de + ce + shift_e, dn + cn + shift_n)

    def true_model(self, degree: int = 4) -> DistortionModel:
        """The inverse mapping as a model, fitted on a dense grid: what a perfect prior would say."""
        shape, nominal = self.camera.quadrant, self.nominal
        east, north = nominal.camera_frame(*pixel_grid(shape.nx + 60, shape.ny + 60))
        x, y = self.pixels(east, north)
        return model_of_plane(x, y, np.stack([east, north], axis=1), shape.nx, shape.ny, degree)


@dataclass(frozen=True)
class Case:
    """What the solver is given, and the truth it must find."""

    sources: DetectedSources
    stars: ReferenceStars
    view: QuadrantView
    instrument: Instrument
    true_pointing: Pointing

    def truth(self, n: int = 15):
        """Pixels on a grid over the whole image and their true places: x, y, ra, dec, each (n, n)."""
        model = self.instrument.nominal
        grid = np.meshgrid(np.linspace(5, model.nx - 4, n), np.linspace(5, model.ny - 4, n))
        east, north = model.camera_frame(*grid)
        pointing = self.true_pointing
        sky = tangent.deproject(east, north, pointing.centre, pointing.rotation_deg)
        return *self.instrument.pixels(east, north), *sky

    def errors(self, wcs):
        """Distance (arcsec) of a solution from the truth on that grid."""
        x, y, ra, dec = self.truth()
        return tangent.separation_deg(*wcs.pixel_to_sky(x, y), ra, dec) * 3600


@dataclass(frozen=True)
class Sky:
    """How many stars of which brightness; number counts rise as 10^(0.3 mag)."""

    n_stars: int = 5000
    brightest: float = 13.0
    faintest: float = 20.5


def make_case(
    seed: int,
    *,
    instrument: Instrument | None = None,
    sky: Sky | None = None,
    ra: float = 150.0,
    dec: float = 30.0,
    rotation_deg: float = 0.0,
    pointing_error_arcsec: tuple[float, float] = (14.0, -9.0),
    rotation_error_deg: float = 0.03,
    false_fraction: float = 0.1,
    catalog_fraction: float = 0.9,
    cloud_mag: float = 0.0,
    prior: DistortionModel | None = None,
) -> Case:
    """Observe a random sky with one quadrant.

    `n_stars` is the number inside the quadrant; `false_fraction` of the detections are no stars; the
    catalogue holds `catalog_fraction` of the stars. Clouds dim, and the faint stars go undetected.
    """
    random = np.random.default_rng(seed)
    instrument, sky = instrument or Instrument(), sky or Sky()
    truth = Pointing(ra, dec, rotation_deg)
    mag, sky_ra, sky_dec = _stars(random, instrument, sky, truth)
    pm = random.normal(scale=12.0, size=(2, len(mag)))
    east, north = tangent.project(sky_ra, sky_dec, truth.centre, rotation_deg)
    x, y = instrument.pixels(east, north)
    model = instrument.nominal
    inside = (x > 0.5) & (x < model.nx + 0.5) & (y > 0.5) & (y < model.ny + 0.5)
    sources = _detections(random, x[inside], y[inside], mag[inside] + cloud_mag, false_fraction, model)
    listed = random.random(len(mag)) < catalog_fraction
    error_mas = 0.3
    stars = ReferenceStars(
        ra=(sky_ra - pm[0] * YEARS / 3.6e6 / np.cos(np.radians(sky_dec)))[listed],
        dec=(sky_dec - pm[1] * YEARS / 3.6e6 + random.normal(size=len(mag)) * error_mas / 3.6e6)[listed],
        pmra=pm[0][listed],
        pmdec=pm[1][listed],
        mag=mag[listed],
        epoch_yr=EPOCH_YR,
    )
    off = tangent.deproject(*(-np.array(pointing_error_arcsec)), truth.centre, rotation_deg)
    header = Pointing(float(off[0]), float(off[1]), rotation_deg - rotation_error_deg)
    view = QuadrantView(f"seed{seed}.fits", header, MJD, model, prior)
    return Case(sources, stars, view, instrument, truth)


def _stars(random, instrument, sky, truth):
    """Magnitudes and places of stars over three quadrants' widths, as dense as asked for inside."""
    model = instrument.nominal
    ce, cn = model.camera_frame(*model.middle)
    scale = instrument.camera.mosaic.pixel_scale_arcsec
    half = max(model.nx, model.ny) * scale / 2 * np.sqrt(2) + 1300.0
    n = int(sky.n_stars * (2 * half) ** 2 / (model.nx * model.ny * scale**2))
    u = random.random(n)
    low, high = 10 ** (0.3 * sky.brightest), 10 ** (0.3 * sky.faintest)
    mag = np.log10(low + u * (high - low)) / 0.3
    east, north = random.uniform(-half, half, (2, n))
    return mag, *tangent.deproject(ce + east, cn + north, truth.centre, truth.rotation_deg)


def _detections(random, x, y, mag, false_fraction, model):
    n_false = int(len(x) * false_fraction / (1 - false_fraction))
    x = np.concatenate([x, random.uniform(0.5, model.nx + 0.5, n_false)])
    y = np.concatenate([y, random.uniform(0.5, model.ny + 0.5, n_false)])
    mag = np.concatenate([mag, random.choice(mag, n_false)])
    flux = 10 ** (0.4 * (ZERO_POINT - mag)) * 6.2
    flux_error = np.sqrt(flux + SKY_ELECTRONS * 40)
    seen = flux / flux_error > 4.0
    x, y, flux, flux_error = x[seen], y[seen], flux[seen], flux_error[seen]
    error = np.hypot(0.85 * flux_error / flux, 0.003)
    noise = random.normal(size=(2, len(x))) * error
    order = random.permutation(len(x))
    return DetectedSources(
        x=(x + noise[0])[order],
        y=(y + noise[1])[order],
        x_error=error[order],
        y_error=error[order],
        flux=flux[order],
        flux_error=flux_error[order],
        flags=np.zeros(len(x), np.int64),
    )
