"""Small skies of Gaussian sources with everything known, for tests of background, detection, apertures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FWHM_OF_SIGMA = 2.3548200450309493
NOISE = 5.0
GAIN = 6.0


@dataclass(frozen=True)
class RoundPsf:
    """A round Gaussian sampled at pixel centres, the same everywhere."""

    sigma: float = 1.0

    @property
    def fwhm(self):
        return self.sigma * FWHM_OF_SIGMA

    def stamp(self, x, y, size=25, shift=(0.0, 0.0)):  # noqa: ARG002 - the same anywhere
        offset = np.arange(size) - size // 2
        along_x, along_y = (np.exp(-0.5 * ((offset - s) / self.sigma) ** 2) for s in shift)
        stamp = along_y[:, None] * along_x
        return (stamp / (2 * np.pi * self.sigma**2)).astype(np.float32)


def add_gaussians(image, x, y, flux, xx, yy=None, xy=0.0):
    """Add Gaussians of these covariances at 0-based places, out to 6 sigma."""
    yy = xx if yy is None else yy
    det = xx * yy - xy * xy
    reach = int(np.ceil(6 * np.sqrt(max(xx, yy))))
    for x0, y0, light in zip(x, y, flux, strict=True):
        rows = np.arange(max(round(y0) - reach, 0), min(round(y0) + reach + 1, image.shape[0]))
        columns = np.arange(max(round(x0) - reach, 0), min(round(x0) + reach + 1, image.shape[1]))
        dy, dx = (rows - y0)[:, None], columns - x0
        power = (yy * dx * dx - 2 * xy * dx * dy + xx * dy * dy) / det
        image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += (
            light / (2 * np.pi * np.sqrt(det)) * np.exp(-0.5 * power)
        ).astype(np.float32)


def spread_places(rng, n, shape, apart, margin=15):
    """Return n places (x, y) at least `apart` px from one another."""
    found = np.empty((0, 2))
    while len(found) < n:
        place = rng.uniform([margin, margin], [shape[1] - 1 - margin, shape[0] - 1 - margin])
        if not len(found) or np.min(np.hypot(*(found - place).T)) >= apart:
            found = np.vstack([found, place])
    return found[:, 0], found[:, 1]


def add_noise(image, rng, noise=NOISE, gain=GAIN):
    """Add noise of sky and light in place."""
    sigma = np.sqrt(noise**2 + np.maximum(image, 0) / gain)
    image += (sigma * rng.standard_normal(image.shape)).astype(np.float32)
    return image
