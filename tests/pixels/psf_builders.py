"""Images of stars with a known PSF that varies over the image: two elliptical Gaussians at pixels."""

from dataclasses import dataclass

import numpy as np

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.peaks import PeaksConfig, detect_peaks
from zsds_tasks.pixels.psf_model import PsfModel, fitting_oversampling
from zsds_tasks.pixels.psf_nodes import node_grid

BAD = 256
GAIN = 6.2
NOISE = 5.0
HALF = 20


@dataclass(frozen=True)
class Optics:
    """A PSF: FWHM of its core in the middle (px), relative slope of it along x and y, and ellipticity."""

    fwhm: float = 2.2
    slope: float = 0.04
    ellipticity: float = 0.08

    def at(self, x, y, shape, dx, dy):
        """Light at offsets from a star at (x, y) of an image; sum about 1."""
        u, v = (2 * x + 1) / shape[1] - 1, (2 * y + 1) / shape[0] - 1
        sigma = self.fwhm / 2.3548 * (1 + self.slope * (u - 0.5 * v))
        total = 0.0
        for weight, factor in ((0.8, 1.0), (0.2, 2.0)):
            a, b = (
                (factor * sigma) ** 2 * (1 + self.ellipticity),
                (factor * sigma) ** 2 * (1 - self.ellipticity),
            )
            c, s = np.cos(0.5), np.sin(0.5)
            p, q = c * dx + s * dy, -s * dx + c * dy
            total = total + weight * np.exp(-0.5 * (p * p / a + q * q / b)) / (2 * np.pi * np.sqrt(a * b))
        return total

    def stamp(self, x, y, shape, half=12, shift=(0.0, 0.0)):
        k = np.arange(-half, half + 1.0)
        return self.at(x, y, shape, k[None, :] - shift[0], k[:, None] - shift[1])


@dataclass(frozen=True)
class Field:
    """An image and what is in it."""

    image: np.ndarray
    mask: np.ndarray
    noise: Mesh
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    optics: Optics

    @property
    def pixels(self):
        """First arguments of most functions."""
        return self.image, self.mask, BAD, self.noise, GAIN

    def peaks(self, **settings):
        return detect_peaks(*self.pixels, 1.05 * self.optics.fwhm, PeaksConfig(**settings))


def draw(shape, x, y, flux, optics):
    """Light of stars, without noise."""
    image = np.zeros((shape[0] + 2 * HALF, shape[1] + 2 * HALF))
    for sx, sy, f in zip(x, y, flux, strict=True):
        i, j = round(sy), round(sx)
        stamp = f * optics.stamp(sx, sy, shape, HALF, (sx - j, sy - i))
        image[i : i + 2 * HALF + 1, j : j + 2 * HALF + 1] += stamp
    return image[HALF:-HALF, HALF:-HALF]


def observe(light, seed, noise=NOISE):
    """Add photon and sky noise."""
    rng = np.random.default_rng(seed)
    photons = rng.poisson(np.maximum(light, 0) * GAIN) / GAIN
    return (photons + noise * rng.standard_normal(light.shape)).astype(np.float32)


def star_field(seed, n=250, shape=(520, 601), optics=None, flux=(500.0, 60_000.0), spacing=0.0, noise=NOISE):
    """Stars at random places, log-uniform in flux; `spacing` keeps them apart (px)."""
    optics = optics or Optics()
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(5, shape[1] - 6, 20 * n), rng.uniform(5, shape[0] - 6, 20 * n)
    kept = []
    for k in range(len(x)):
        if len(kept) == n:
            break
        if not spacing or all(np.hypot(x[k] - x[m], y[k] - y[m]) > spacing for m in kept):
            kept.append(k)
    x, y = x[kept], y[kept]
    fluxes = np.exp(rng.uniform(np.log(flux[0]), np.log(flux[1]), len(x)))
    image = observe(draw(shape, x, y, fluxes, optics), seed + 1, noise)
    return Field(image, np.zeros(shape, np.uint16), Mesh.constant(noise, shape, 64), x, y, fluxes, optics)


def true_model(optics, shape, half=12):
    """The PSF of an optics that does not vary, as a model."""
    s = fitting_oversampling(optics.fwhm, 8.0)
    dx, dy = node_grid(half, s)
    nodes = optics.at((shape[1] - 1) / 2, (shape[0] - 1) / 2, shape, dx, dy)[None]
    return PsfModel.from_nodes(nodes, 0, shape, half, s)


def nearest(x, y, of_x, of_y):
    """Index of the nearest of some places, and its distance."""
    from scipy.spatial import cKDTree

    distance, index = cKDTree(np.column_stack([of_x, of_y])).query(np.column_stack([x, y]))
    return index, distance


def robust_width(values):
    return 1.4826 * np.median(np.abs(values - np.median(values)))
