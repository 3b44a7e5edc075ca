"""Differences made again from the science and reference stamps of issued alerts, beside the issued ones.

What is beyond 63 x 63 px is missing, and so are PSFs, flux scale and noise maps that ZTF used. Here PSFs are
round Gaussians: the science image's as wide as that of the difference, the reference's as its own source
at the place, if one is bright. The scale comes from zero points, the reference's being the fixed one of its
filter; the sky of a stamp is its median. Away from stars fluxes agree to percents, on stars not at all.
"""

from __future__ import annotations

import numpy as np
from difference_builders import TruePsf
from real_alerts import HALF, SIDE, RealAlert, noise_of, start_of

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.moments import unwindowed, windowed_centre
from zsds_tasks.pixels.zogy import Frame, ZogyConfig, subtract_frames
from zsds_tasks.products.masks import UNUSABLE

REFERENCE_ZERO_POINT = {1: 26.325, 2: 26.275, 3: 25.660}
GAIN, FRAMES = 6.2, 15
USUAL_FWHM_PX = 2.1


def remade(alert: RealAlert) -> np.ndarray:
    """Return D (63, 63) of the alert's sign, DN of the science image."""
    science, reference = (_without_sky(alert.stamps[name]) for name in ("science", "reference"))
    record = alert.record
    factor = 10 ** (0.4 * (record["magzpsci"] - REFERENCE_ZERO_POINT[record["fid"]]))
    mask = np.where(np.isfinite(science) & np.isfinite(reference), 0, UNUSABLE).astype(np.uint16)
    widths = alert.psf_fwhm, min(_width(reference, alert), alert.psf_fwhm)
    frames = []
    for image, width, scale, gain in zip(
        (science, reference), widths, (1.0, factor), (GAIN, GAIN * FRAMES), strict=True
    ):
        psf = TruePsf(width, (SIDE, SIDE), slope=0.0, ellipticity=0.0, wing=0.0)
        noise = Mesh.constant(max(noise_of(image), 0.1), (SIDE, SIDE), 64)
        frames.append(Frame(image, noise, gain, psf, scale=(scale, 0.0, 0.0)))
    made = subtract_frames(*frames, mask, UNUSABLE, (0.1, 0.1), ZogyConfig(tile_px=128))
    sign = 1.0 if record["isdiffpos"] in ("t", "1") else -1.0
    return sign * made.difference


def agreement(alert: RealAlert) -> tuple[float, float, float]:
    """Correlation of pixels within 6 px, ratio of apertures of 10 px, scatter elsewhere over theirs."""
    ours, theirs = remade(alert), alert.stamps["difference"]
    x, y = start_of(alert)
    v, u = np.mgrid[:SIDE, :SIDE]
    away = np.hypot(u - x, v - y)
    known = np.isfinite(ours) & np.isfinite(theirs)
    near, inside, far = known & (away < 6), known & (away < 5), known & (away > 12)
    if not near.sum() > 50 or not far.sum() > 500:
        return np.nan, np.nan, np.nan
    level = np.median(ours[far]) - np.median(theirs[far])
    mad = [np.median(np.abs(d[far] - np.median(d[far]))) for d in (ours, theirs)]
    return (
        float(np.corrcoef(ours[near], theirs[near])[0, 1]),
        float((ours[inside] - level).sum() / theirs[inside].sum()),
        float(mad[0] / mad[1]) if mad[1] > 0 else np.nan,
    )


def _without_sky(stamp: np.ndarray) -> np.ndarray:
    return (stamp - np.nanmedian(stamp)).astype(np.float32)


def _width(reference: np.ndarray, alert: RealAlert) -> float:
    """FWHM of the reference's source at the place, px; the usual one where there is none that is bright."""
    x, y = start_of(alert)
    box = np.ascontiguousarray(
        np.nan_to_num(reference[HALF - 12 : HALF + 13, HALF - 12 : HALF + 13]), np.float32
    )
    weight, sums, sigma = np.empty(25), np.empty(6), 1.0
    if not box[9:16, 9:16].max() > 20 * noise_of(reference):
        return USUAL_FWHM_PX
    for _ in range(5):
        windowed_centre(box, x - HALF + 12, y - HALF + 12, sigma, 1.5, weight, sums)
        xx, yy, _ = unwindowed(sums, sigma)
        sigma = float(np.clip(np.sqrt((xx + yy) / 2), 0.6, 2.0))
    return 2.3548 * sigma
