"""Provisional: point sources until helper A's psf_sources lands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.peaks import PeaksConfig, detect_peaks, estimate_fwhm
from zsds_tasks.pixels.psf_build import build_psf
from zsds_tasks.pixels.psf_config import PsfPhotometryConfig
from zsds_tasks.pixels.psf_photometry import isolated_stamps, measure_sources
from zsds_tasks.pixels.psf_stars import PsfBuildConfig
from zsds_tasks.products.masks import UNUSABLE


class PointSourcesConfig(Declaration):
    peaks: PeaksConfig = PeaksConfig()
    build: PsfBuildConfig = PsfBuildConfig()
    photometry: PsfPhotometryConfig = PsfPhotometryConfig()


@dataclass(frozen=True)
class PointSources:
    x: object
    y: object
    flux: object
    x_error: object
    y_error: object
    flux_error: object
    chi: object
    sharp: object
    n_pixels: object
    psf: object

    def __len__(self):
        return len(self.x)


def measure_point_sources(image, mask, noise, gain, config):
    fwhm = estimate_fwhm(image, mask, UNUSABLE, noise, gain, config.peaks)
    peaks = detect_peaks(image, mask, UNUSABLE, noise, gain, fwhm, config.peaks)
    psf = build_psf(
        image,
        mask,
        UNUSABLE,
        noise,
        gain,
        peaks,
        fwhm,
        config.build,
        isolated_stamps(image, mask, UNUSABLE, noise, gain, peaks, config.photometry),
    )
    peaks = detect_peaks(image, mask, UNUSABLE, noise, gain, psf.fwhm, config.peaks)
    f = measure_sources(
        image, mask, UNUSABLE, noise, gain, psf, peaks, config.peaks, config.photometry
    ).sources
    return PointSources(
        f.x + 1, f.y + 1, f.flux, f.x_error, f.y_error, f.flux_error, f.chi, f.sharp, f.n_pixels, psf
    )


def box_flags(mask, x, y, half=2):
    ny, nx = mask.shape
    c = np.rint(x).astype(int) - 1
    r = np.rint(y).astype(int) - 1
    out = np.zeros(len(x), np.int32)
    inside = (c >= half) & (r >= half) & (c < nx - half) & (r < ny - half)
    for i in range(-half, half + 1):
        for j in range(-half, half + 1):
            out[inside] |= mask[r[inside] + i, c[inside] + j]
    out[~inside] = -1
    return out
